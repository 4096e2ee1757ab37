"""Limits of the system: a command says what to do, blames no file, and skips no image."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

from cpp_pipe.stages.sources.images.files import fingerprint_files, read_image_file
from cpp_pipe.stages.sources.tar.shard_bytes import open_shard
from cpp_pipe.store.errors import StoreError, find_limit, is_limit
from cpp_pipe.store.files import reading
from cpp_pipe.store.integrity import parsing, require_whole
from cpp_pipe.store.manifest import FileRecord

from .cli import DIGITS, fail

ADVICE = {
    errno.EMFILE: "raise the limit (ulimit -n), or use fewer --workers",
    errno.ENFILE: "end other programs, or use fewer --workers",
    errno.EAGAIN: "raise the limit (ulimit -u, or that of the container), use fewer --workers",
    errno.ENOMEM: "use fewer --workers or a machine with more",
}


def refusing(number: int) -> Callable[..., NoReturn]:
    """A function that the system refuses, without the name of a file."""

    def refuse(*args: object, **named: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(folder / name)
    return folder


@pytest.mark.parametrize("number", ADVICE)
def test_a_limit_of_the_system_is_said_with_what_to_do(
    tmp_path: Path, digit_shards: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    monkeypatch.setattr(os, "pipe", refusing(number))
    words = ["embed", "--shards", digit_shards, *DIGITS, "--workers", "2", "--device", "cpu"]
    line = fail(tmp_path / "store", *words)
    assert ADVICE[number] in line
    assert "check the disks" not in line


def test_a_limit_of_open_files_is_not_blamed_on_a_folder(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "scandir", refusing(errno.EMFILE))
    line = fail(tmp_path / "store", "embed", "--images", images, *DIGITS)
    assert ADVICE[errno.EMFILE] in line
    assert str(images) not in line


def test_a_limit_of_open_files_makes_no_image_unreadable(
    images: Path, monkeypatch: pytest.MonkeyPatch
):
    path = images / "a.png"
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing(errno.EMFILE))
        with pytest.raises(OSError, match="Too many open files"):
            fingerprint_files([str(path)])
    monkeypatch.setattr(Path, "read_bytes", refusing(errno.EMFILE))
    with pytest.raises(OSError, match="Too many open files"):
        read_image_file(path)


def test_a_limit_of_open_files_is_no_damage_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    file = FileRecord(name="file", sha256="0" * 64, bytes=4)
    monkeypatch.setattr("cpp_pipe.store.integrity.digest_file", refusing(errno.EMFILE))
    with pytest.raises(OSError, match="Too many open files") as raised:
        require_whole(path, file, is_read_whole=True)
    assert not isinstance(raised.value, StoreError)


def test_a_limit_blames_no_shard_and_no_file_of_a_store(
    tmp_path: Path, digit_shards: Path, monkeypatch: pytest.MonkeyPatch
):
    """An error of a worker loses its cause on the way, so it must be the system's own."""
    shard = next(digit_shards.glob("*.tar"))
    with pytest.raises(OSError, match="Too many open files") as caught, reading(tmp_path / "a"):
        refusing(errno.EMFILE)()
    assert not isinstance(caught.value, StoreError) and is_limit(caught.value)
    with pytest.raises(OSError, match="Too many open files") as caught, parsing(tmp_path / "a"):
        refusing(errno.EMFILE)()
    assert not isinstance(caught.value, StoreError)
    monkeypatch.setattr(os, "open", refusing(errno.EMFILE))
    with pytest.raises(OSError, match="Too many open files"), open_shard(shard):
        pass


def test_a_full_pipe_is_no_limit_of_threads():
    error = BlockingIOError(errno.EAGAIN, "write could not complete without blocking", 0)
    assert not is_limit(error) and find_limit(error) is None
    assert is_limit(BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
