"""A store on disks without locks."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from cpp_pipe.store import StoreError
from cpp_pipe.store.files import lock


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_one_line_that_says_what_to_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, mode: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"has no locks .* --store"), lock(tmp_path / "lock"):
        pass
