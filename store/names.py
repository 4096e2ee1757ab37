"""Checks of file names: whether one is a plain component of a path, and allowed on Windows."""

import os
import re
from pathlib import PureWindowsPath
from typing import TypeGuard

_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)
"""Names that open a device on Windows, in every folder and with every suffix."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
"""A colon would name a stream inside another file."""
IS_WINDOWS = os.name == "nt"


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string that can be written in UTF-8: it holds no half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    return value.isascii() or value == value.encode("utf-8", "replace").decode()


def is_windows_name(name: str) -> bool:
    """Whether a file on Windows can have this name; a last dot or space would be dropped."""
    is_changed = name != name.rstrip(". ")
    return not (is_changed or _FORBIDDEN.search(name) or _DEVICE.fullmatch(name))


def is_plain_name(name: object, *, windows: bool = IS_WINDOWS) -> TypeGuard[str]:
    """Whether a name is one component of a path, not `.` or `..`, that a file here can have."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and no disk
        return False
    return not windows or (PureWindowsPath(name).name == name and is_windows_name(name))
