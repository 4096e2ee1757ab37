"""Small files that users name: lists, keys, words, images of queries."""

import errno
import io
import stat
from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """All bytes of a file or a pipe; OSError if it cannot be read, or is a device.

    A device such as /dev/zero may never end. Pipes such as `<(cut -f1 rows.tsv)` are read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise OSError(errno.EINVAL, "it is a device", str(path))
        return path.read_bytes()
    except ValueError as error:  # a zero byte, or another character that no file name can hold
        raise OSError(errno.EINVAL, f"no such name: {error}", repr(str(path))) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a file of UTF-8, with or without a byte order mark, as text files are read.

    A line ends at a line feed, a carriage return, or both. `str.splitlines` cuts captions of the
    web into several: it also ends lines at separators, such as U+2028, that stand within text.
    OSError if it cannot be read; UnicodeDecodeError if it is not text.
    """
    text = read_bytes(path).decode("utf-8-sig")
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]
