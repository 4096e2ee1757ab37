"""Faults of buckets: clocks that differ, lost leases, truncated downloads."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar
from urllib.parse import urlsplit

import fsspec
import pytest

from cpp_pipe.store import Artifact, Draft, PartRecord, Store, StoreError, leases
from cpp_pipe.store.upkeep import collect, verify

from ..buckets import below
from .stores import parts_folder, publish, recipe, write_full

# Clocks.


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of this process's leases by seconds."""

    def move(seconds: float) -> None:
        clock = SimpleNamespace(time=lambda: time.time() + seconds, sleep=time.sleep)
        monkeypatch.setattr(leases, "time", clock)

    return move


def make(draft: Draft, number: int) -> PartRecord:
    """Makes a part whose files hold only one number."""
    return draft.make_part("a-00", lambda scratch: write_full(scratch, number))


@pytest.mark.parametrize("seconds", [-600, -30, 30, 600])
def test_clocks_that_differ_leave_a_lease_to_its_owner(bucket, set_clock, seconds):
    draft = Store(bucket).draft(recipe(parts=("a-00",)))
    with draft.claim("a-00", wait=False) as is_held:
        assert is_held
        set_clock(seconds)
        with draft.claim("a-00", wait=False) as is_held:
            assert not is_held


def test_gc_waits_for_a_writer_whose_clock_is_behind(bucket, set_clock):
    """It removed what the writer had not finished, because the lease had expired by its clock."""
    store = Store(bucket)
    with store.writing():
        draft = store.draft(recipe(parts=("a-00", "b-01")))
        make(draft, 1)
        set_clock(600)
        with pytest.raises(StoreError, match="another command is writing"):
            collect(store)
        assert list(draft.finished()) == ["a-00"]


@pytest.mark.parametrize("is_owner_first", [True, False])
def test_writers_that_hold_one_lease_never_mix_their_files(bucket, monkeypatch, is_owner_first):
    store = Store(bucket)
    draft = store.draft(recipe(parts=("a-00",)))
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    with draft.claim("a-00", wait=False) as is_held:
        assert is_held
        time.sleep(1.1)  # as if suspended; the bucket dates objects by whole seconds
        with draft.claim("a-00", wait=False) as is_held:
            assert is_held
            records = [make(draft, number) for number in ((1, 2) if is_owner_first else (2,))]
        if not is_owner_first:
            records.append(make(draft, 1))
    assert records[0] == records[1]
    made = draft.publish({}, {})
    number = 1 if is_owner_first else 2
    assert (
        made.array("a-00", "z").tolist() == made.array("a-00", "c").tolist() == [[number] * 2] * 3
    )
    assert list(verify(made)) == []
    # Two files and the small file: those of the slower writer are gone.
    assert len(below(parts_folder(store, draft))) == 3


def test_a_deleted_lease_mixes_no_files(bucket):
    store = Store(bucket)
    draft = store.draft(recipe(parts=("a-00",)))
    with draft.claim("a-00", wait=False):
        for path in below(draft.folder / "locks"):
            path.unlink()
        with draft.claim("a-00", wait=False) as is_held:
            assert is_held
            theirs = make(draft, 2)
        assert make(draft, 1) == theirs
    assert list(verify(draft.publish({}, {}))) == []
    assert not below(draft.folder / "locks")


# Truncated downloads.


class _CuttingProxy(BaseHTTPRequestHandler):
    """Forwards GET and HEAD requests to a server, and truncates some of its answers."""

    protocol_version = "HTTP/1.1"
    server_address: ClassVar[str]
    """The host and port of the server."""
    cuts_left: ClassVar[int] = 0
    """How many more requests for a NumPy file get half an answer."""
    is_declared: ClassVar[bool]
    """Whether half an answer declares its own length, so that nothing seems to be missing."""

    def do_GET(self) -> None:
        """Answers with the bytes of the server, or with their first half."""
        connection = http.client.HTTPConnection(self.server_address)
        connection.request(self.command, self.path, headers=dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        whole = int(answer.getheader("Content-Length") or len(content))
        is_file = urlsplit(self.path).path.endswith(".npy") and self.command == "GET"
        is_cut = is_file and self.cuts_left > 0
        type(self).cuts_left -= is_cut
        sent = content[: len(content) // 2] if is_cut else content
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent) if is_cut and self.is_declared else whole))
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = is_cut

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002
        """Prints nothing."""


@pytest.fixture
def cut(
    bucket: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int, bool], Artifact]]:
    """Opens an artifact whose next downloads are truncated: how many, and how declared."""
    folder = publish(Store(bucket)).folder
    _CuttingProxy.server_address = urlsplit(server).netloc
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _CuttingProxy)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "_cache", {})

    def open_cut(count: int, is_declared: bool) -> Artifact:
        _CuttingProxy.cuts_left, _CuttingProxy.is_declared = count, is_declared
        return next(made for made in Store(bucket).artifacts() if made.folder == folder)

    yield open_cut
    proxy.shutdown()
    proxy.server_close()
    thread.join()


@pytest.mark.parametrize("is_declared", [False, True])
def test_a_truncated_download_is_never_taken_for_the_file(cut, is_declared, tmp_path, monkeypatch):
    # Another machine, with an empty cache.
    monkeypatch.setenv("CPP_PIPE_CACHE", str(tmp_path / "other"))
    artifact = cut(1000, is_declared)
    with pytest.raises(StoreError, match=r"00\.[0-9a-f]{16}\.z\.npy.*run"):
        artifact.array("a-00", "z")
    assert [path for path in (tmp_path / "other" / "files").rglob("*") if path.is_file()] == []
    # The same file is read once the server answers in full.
    assert cut(0, is_declared).array("a-00", "z").tolist() == [[1, 1]] * 3
