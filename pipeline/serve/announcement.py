"""The file in which a server says that it runs, so that commands of the same user can ask it.

A folder of the user's own holds one small file for each run that is served, and a socket for each
server. Nothing in it comes with a store: whoever hands out a store cannot name a server. A socket
in a folder that only its owner can enter is reached by nobody else, and, unlike a port, is not
taken over by another user's program when the server is gone.
"""

import contextlib
import importlib.metadata
import json
import os
import secrets
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...store import Store
from ...store.cache import user_folder
from ...store.digest import digest_json

_MAX_BYTES = 4096
"""Most bytes that are read of the file: it holds an address and a token."""

_BACKLOG = 128
"""Connections that wait to be accepted."""

_MAX_ADDRESS = 100
"""Bytes of the path of a socket; systems take 104 or 108."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """A server that runs, and how to send it requests."""

    address: str
    """The path of its socket."""
    token: str | None
    """The token that requests must send; None if they need none."""
    cpp_pipe: str
    """The server's version of cpp-pipe."""


@contextlib.contextmanager
def announce(store: Store, run: str, token: str | None) -> Iterator[socket.socket | None]:
    """Listens on a socket for this user's commands, and says so until the end of the block.

    Gives None if the system has no such sockets, or the user no folder of their own.
    """
    if sys.platform == "win32" or not hasattr(os, "getuid"):
        yield None
        return
    folder = _make_folder()
    address = "" if folder is None else str(folder / f"{secrets.token_hex(8)}.sock")
    if folder is None or len(os.fsencode(address)) > _MAX_ADDRESS:
        yield None
        return
    path = folder / _name_of(store, run)
    _remove_dead(folder)
    with contextlib.ExitStack() as cleaning:
        try:
            listener = cleaning.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(address)
            cleaning.callback(Path(address).unlink, missing_ok=True)
            os.chmod(address, 0o600)
            listener.listen(_BACKLOG)
            version = importlib.metadata.version("cpp-pipe")
            _write(path, Announcement(address=address, token=token, cpp_pipe=version))
        except OSError:  # such as a full disk: the server runs without an announcement
            cleaning.close()
            yield None
            return
        try:
            yield listener
        finally:
            # Another server of the same run may have begun since.
            if _address_in(path) == address:
                path.unlink(missing_ok=True)


def find_announcement(store: Store, run: str) -> Announcement | None:
    """The announcement of a server of this user and this version of cpp-pipe for the same run.

    None without one, and for a file or a folder that another user could have written.
    """
    if sys.platform == "win32" or not hasattr(os, "getuid"):
        return None
    try:
        path = _folder() / _name_of(store, run)
        if not _is_own(os.lstat(path.parent), stat.S_ISDIR):
            return None
        announcement = Announcement(**_read(path))
        names = (announcement.address, announcement.token or "", announcement.cpp_pipe)
        if not all(isinstance(name, str) and name.isprintable() for name in names):
            return None
        is_beside = Path(announcement.address).parent == path.parent
        if not is_beside or not _is_own(os.lstat(announcement.address), stat.S_ISSOCK):
            return None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    is_same = announcement.cpp_pipe == importlib.metadata.version("cpp-pipe")
    return announcement if is_same else None


def _folder() -> Path:
    """The folder of this user; it lasts for a session if the system has such folders.

    OSError for a user who has no home.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    try:
        return (Path(runtime) / "cpp-pipe" if runtime else user_folder()) / "servers"
    except RuntimeError as error:
        raise OSError("this user has no home") from error


def _make_folder() -> Path | None:
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_own(os.lstat(folder), stat.S_ISDIR) else None
    except OSError:
        return None


def _is_own(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Whether a file is of a kind, belongs to this user, and is closed to all others."""
    if sys.platform == "win32":  # Windows keeps rights elsewhere than in the mode
        return False
    is_closed = not stat.S_IMODE(status.st_mode) & 0o077
    return is_kind(status.st_mode) and is_closed and status.st_uid == os.getuid()


def _name_of(store: Store, run: str) -> str:
    """The name of the file for a run of a store."""
    root = str(store.root)
    with contextlib.suppress(OSError):
        root = root if "://" in root else os.path.realpath(root)
    return f"{digest_json([root, run])[:24]}.json"


def _remove_dead(folder: Path) -> None:
    """Removes what killed servers left behind: sockets on which nobody listens, and their files."""
    with contextlib.suppress(OSError):
        dead = {str(path) for path in folder.glob("*.sock") if not _listens(str(path))}
        for file in folder.glob("*.json"):
            if _address_in(file) in dead:
                file.unlink(missing_ok=True)
        for address in dead:
            Path(address).unlink(missing_ok=True)


def _listens(address: str) -> bool:
    if sys.platform == "win32":
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return False
        except OSError:  # a server that is busy
            return True
    return True


def _address_in(file: Path) -> str:
    """The address in a file of this folder; empty if it has none."""
    try:
        return str(_read(file)["address"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def _read(path: Path) -> Any:
    """The JSON of a file that only this user can write; OSError for any other file."""
    if sys.platform == "win32":
        raise OSError("its rights are not in its mode")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not _is_own(os.fstat(file.fileno()), stat.S_ISREG):
            raise OSError("it is not this user's own")
        return json.loads(file.read(_MAX_BYTES))


def _write(path: Path, announcement: Announcement) -> None:
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(announcement), file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
