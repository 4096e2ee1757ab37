"""A local web server of a folder, with or without range requests, that fails on demand."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Web:
    """A folder on the web."""

    url: str = ""
    supports_ranges: bool = True
    failures: dict[str, list[int]] = field(default_factory=dict)
    """The codes of the next answers by request, e.g. `GET /a.tar`; 0 breaks off half-way."""
    requests: list[str] = field(default_factory=list)
    ranges: list[int] = field(default_factory=list)
    """The sizes of the ranges that were sent."""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, web: Web, *arguments, **named) -> None:
        self.web = web
        super().__init__(*arguments, **named)

    def log_message(self, format, *arguments) -> None:  # noqa: A002
        """Logs nothing."""

    def do_GET(self) -> None:
        self.web.requests.append(f"GET {self.path}")
        codes = self.web.failures.get(f"GET {self.path}", [])
        code = codes.pop(0) if codes else None
        byte_range = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if code:
            self.send_error(code)
        elif code == 0:
            self._break_off(path.read_bytes())
        elif byte_range and self.web.supports_ranges and path.is_file():
            self._send_range(path.read_bytes(), int(byte_range[1]), byte_range[2])
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        self.web.requests.append(f"HEAD {self.path}")
        codes = self.web.failures.get(f"HEAD {self.path}", [])
        if codes:
            self.send_error(codes.pop(0))
        else:
            super().do_HEAD()

    def _send_range(self, content: bytes, start: int, last: str) -> None:
        piece = content[start : int(last) + 1 if last else None]
        self.web.ranges.append(len(piece))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        self.wfile.write(piece)

    def _break_off(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Web]:
    """Serves a folder for the duration of the block."""
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, web, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
