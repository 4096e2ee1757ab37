"""Disks that cannot be read, and a full folder of temporary files: the error names what failed."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpp_pipe.pipeline.commands.output import print_line
from cpp_pipe.pipeline.curation.files import whole_file
from cpp_pipe.stages.sources.tar.listing import Span
from cpp_pipe.stages.sources.tar.shard_bytes import ShardBytes
from cpp_pipe.store import ShardError, StoreError
from cpp_pipe.store.digest import digest_file
from cpp_pipe.store.files import store_errors
from cpp_pipe.store.temporary import temporary_folder

from ..small_disk import no_file_may_grow_above, small_disk
from ..stages.shards import write_shards
from .cli import DIGITS, embed, fail, succeed

NEVER_MAPPED = Path("/proc/self/mem")
"""Reading its first bytes is an error of input and output."""


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two small shards."""
    write_shards(tmp_path / "shards", shards=2, size=20)
    return tmp_path / "shards"


@contextlib.contextmanager
def unreadable_from(path: Path, start: int) -> Iterator[None]:
    """Reading an open file fails from a byte on."""
    pread, broken = os.pread, path.stat().st_ino

    def read(handle: int, size: int, offset: int) -> bytes:
        if os.fstat(handle).st_ino == broken and offset + size > start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(handle, size, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", read)
        yield


@pytest.mark.skipif(not NEVER_MAPPED.exists(), reason="only Linux has such a file")
def test_the_error_for_unreadable_bytes_names_their_shard():
    with NEVER_MAPPED.open("rb", buffering=0) as file:
        read = ShardBytes(NEVER_MAPPED, file.fileno()).read
        with pytest.raises(ShardError, match=r"shard /proc/self/mem cannot be read at byte 0 \(In"):
            read(Span(offset=0, size=10))


def test_embed_names_the_shard_that_a_disk_cannot_read(tmp_path: Path, shards: Path):
    broken, store = shards / "001.tar", tmp_path / "store"
    with unreadable_from(broken, 10_000):
        line = fail(store, "embed", "--shards", shards, *DIGITS)
    assert line.startswith(f"cpp-pipe: the shard {broken} cannot be read at byte ")
    assert "(Input/output error): check its disk" in line
    embed(store, shards)


@pytest.mark.skipif(not NEVER_MAPPED.exists(), reason="only Linux has such a file")
def test_the_error_for_an_unreadable_digest_names_the_file():
    with pytest.raises(OSError, match="Input/output error") as raised:
        digest_file(NEVER_MAPPED)
    assert raised.value.filename == str(NEVER_MAPPED)


def write_while_reading_fails(path: Path) -> None:
    """Writes a file from another one, whose disk fails."""
    with whole_file(path) as temporary:
        temporary.touch()
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/elsewhere/001.tar")


def test_an_error_while_reading_is_not_blamed_on_the_written_file(tmp_path: Path):
    with pytest.raises(OSError, match="Input/output error") as raised:
        write_while_reading_fails(tmp_path / "out")
    assert raised.value.filename == "/elsewhere/001.tar"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_only_what_is_printed_is_called_the_output(monkeypatch: pytest.MonkeyPatch):
    full = open("/dev/full", "w")  # noqa: SIM115
    monkeypatch.setattr("sys.stdout", full)
    with pytest.raises(OSError, match="No space left") as raised:
        print_line("a line")
    with contextlib.suppress(OSError):
        full.close()
    assert raised.value.filename == "the output"


def test_a_disk_that_cannot_be_written_to_is_named():
    with (
        pytest.raises(StoreError, match="Input/output error while writing /a/b: check its disk"),
        store_errors("writing /a/b"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


# The folder of temporary files.


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of its own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_a_dry_run_names_the_full_folder_of_temporary_files(tmp_path, shards, temporary):
    """A shard at an address is copied before it is read."""
    words = "embed", "--shards", f"file://{shards}/000.tar", *DIGITS, "--dry-run"
    with no_file_may_grow_above(10_000):
        line = fail(tmp_path / "store", *words)
    assert line == (
        f"cpp-pipe: no space left for temporary files in {temporary}: free some space there, or "
        "set TMPDIR to a folder on another disk, and run the same command again"
    )
    assert list(temporary.iterdir()) == []
    assert "images" in succeed(tmp_path / "store", *words).out


@pytest.fixture
def page_of_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 KiB."""
    with small_disk(tmp_path / "disk", "4k") as disk:
        yield disk


def test_an_export_writes_nothing_but_beside_its_output(
    tmp_path: Path, copy_of_run, page_of_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    """A list of annotations used to be too long for the folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(page_of_disk))
    store = copy_of_run(tmp_path / "store")
    succeed(store, "export", "coco", "--out", tmp_path / "coco")
    assert (tmp_path / "coco" / "annotations.json").stat().st_size > 8192


def fill_a_disk_elsewhere(path: Path) -> None:
    """Writes to a full disk other than that of the temporary files."""
    with temporary_folder():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_elsewhere_is_not_called_the_folder_of_temporary_files(tmp_path, temporary):
    with pytest.raises(OSError, match="No space left") as raised:
        fill_a_disk_elsewhere(tmp_path / "x")
    assert not isinstance(raised.value, StoreError)
    with pytest.raises(StoreError, match=f"no space left for temporary files in {temporary}"):
        fill_a_disk_elsewhere(temporary / "x")


def test_without_any_folder_for_temporary_files_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(StoreError, match="set TMPDIR to a folder on another disk"):
        temporary_folder().__enter__()
