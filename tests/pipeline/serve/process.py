"""`cpp-pipe serve` in a process of its own, and its memory."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import httpx

from ...forked import Forked, fork

WORDS = ["serve", "--port", "0", "--no-make"]


@dataclass
class ServerProcess:
    """A server that has printed its address, and a client that sends its token."""

    process: subprocess.Popen[str] | Forked
    printed: str
    """The line on stdout."""
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = [(b"authorization", f"Bearer {self.token}".encode())] if self.token else []
        self.client = httpx.Client(base_url=self.base, headers=headers, timeout=60)

    @property
    def base(self) -> str:
        """The address without the token."""
        return self.printed.partition("?")[0]

    @property
    def token(self) -> str:
        """Empty if none is required."""
        return unquote(self.printed.partition("?token=")[2])

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.base.rpartition(":")[2].strip("/"))

    def resident_mib(self) -> float:
        """The memory that the process does not share, in MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return sum(int(kib) for kib in re.findall(r"RssAnon:\s+(\d+)", text)) / 1024

    def stop(self, signum: int) -> tuple[int, str, str]:
        """Sends a signal; returns the exit code, and the rest of stdout and of stderr."""
        assert isinstance(self.process, subprocess.Popen)
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextlib.contextmanager
def start(
    store: Path, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A server over a run of a store, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cpp_pipe", *WORDS, "--store", str(store), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None
        printed = process.stdout.readline().strip()
        if not printed:
            process.wait(timeout=60)
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        server = ServerProcess(process, printed)
        with server.client:
            yield server
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def fork_server(store: Path, *flags: str) -> Iterator[ServerProcess]:
    """The same, without the seconds in which a process loads its libraries."""
    with fork(*WORDS, "--store", store, *flags) as process:
        printed = process.stdout.readline().strip()
        assert printed, process.stderr.read()
        server = ServerProcess(process, printed)
        with server.client:
            yield server
