"""Takes from this process what Windows lacks, imports the package, and works on a small store.

Run by `tests/test_other_systems.py` in a process of its own. Libraries are imported before anything
is taken away: on Windows they have versions of their own.
"""

import errno
import importlib
import os
import pkgutil
import re
import shutil
import signal
import sys
import warnings
from pathlib import Path

LIBRARIES = (
    "anyio.to_thread",
    "asyncio",
    "braceexpand",
    "faiss",
    "fsspec.implementations.local",
    "matplotlib.figure",
    "multiprocessing.context",
    "open_clip",
    "PIL.Image",
    "portalocker",
    "psutil",
    "pyarrow.parquet",
    "safetensors.numpy",
    "safetensors.torch",
    "scipy.sparse.linalg",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.neighbors",
    "starlette.applications",
    "threadpoolctl",
    "torch",
    "torch.distributed",
    "torchvision",
    "typer.testing",
    "upath",
    "uvicorn",
    "webdataset.writer",
)

MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
"""Modules that Windows has not."""

SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGXFSZ")

OS_NAMES = re.compile(
    r"O_(?!RDONLY|RDWR|WRONLY|CREAT|EXCL|TRUNC|APPEND).*"
    r"|(get|set)(e|re|res)?[ug]id|(get|set)pgid|[gs]etpriority|setsid|getpgrp|getloadavg"
    r"|f?chown|lchown|fchmod|chroot|fork(pty)?|killpg|nice|uname|sysconf.*"
    r"|f?statvfs|mkfifo|mknod|p(read|write)v?|readv|writev|posix_.*|sched_.*|sync|wait[34]|waitid"
    r"|register_at_fork|sendfile|fdatasync|fchdir|lockf|[a-z]*xattr|openpty|ttyname|W[A-Z]+"
)
"""Names of the module os that Windows has not, except O_BINARY and the like, which it has more."""


def refuse(path: object, code: int) -> PermissionError:
    """What Windows says: 5 where access is denied, 32 where a file is open."""
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    error.winerror = code  # pyright: ignore[reportAttributeAccessIssue]
    return error


def is_open(path: Path) -> bool:
    """Whether this process has a file open, or has mapped it; of a folder, any file in it."""
    target = os.path.realpath(path)
    inside = f"{target}/"
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        names = [line.split(maxsplit=5)[-1].strip() for line in maps]
    for handle in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{handle}"))
        except FileNotFoundError:
            continue
    return any(name == target or name.startswith(inside) for name in names)


def take_away() -> None:
    """Leaves the modules, the names and the rights that Windows has."""
    import fcntl

    flags_of = fcntl.fcntl
    get_flags, access = fcntl.F_GETFL, os.O_ACCMODE
    real = {name: getattr(os, name) for name in ("open", "fsync", "replace", "rename", "unlink")}
    real["rmdir"] = os.rmdir

    def open_handle(path, flags, mode=0o777, **more):
        if os.path.isdir(path):
            raise refuse(path, 5)
        return real["open"](path, flags, mode, **more)

    def fsync(handle):
        if flags_of(handle, get_flags) & access == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return real["fsync"](handle)

    def replace(source, target):
        for path in (source, target):
            if is_open(Path(path)):
                raise refuse(path, 32)
        return real["replace"](source, target)

    def rename(source, target):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        return replace(source, target)

    def unlink(path, **more):
        if is_open(Path(path)):
            raise refuse(path, 32)
        return real["unlink"](path, **more)

    def rmdir(path, **more):
        if is_open(Path(path)):
            raise refuse(path, 32)
        return real["rmdir"](path, **more)

    for name in MODULES:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]
    for name in SIGNALS:
        delattr(signal, name)
    for name in list(vars(os)):
        if OS_NAMES.fullmatch(name):
            delattr(os, name)
    os.open, os.fsync, os.replace, os.rename = open_handle, fsync, replace, rename
    os.unlink = os.remove = unlink
    os.rmdir = rmdir
    # shutil chose its ways by the system when it was imported.
    shutil.__dict__.update(
        _use_fd_functions=False, _USE_CP_SENDFILE=False, _copyxattr=lambda *_, **__: None
    )
    warnings.filterwarnings("error", category=EncodingWarning, module=r"cpp_pipe\.")


def import_all() -> int:
    """Imports every module of the package; how many there are."""
    package = importlib.import_module("cpp_pipe")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "cpp_pipe.")]
    for name in names:
        importlib.import_module(name)
    return len(names)


def run(*words: str) -> str:
    """What a command prints; its errors are raised here."""
    from typer.testing import CliRunner

    from cpp_pipe.pipeline.commands.app import app

    result = CliRunner().invoke(app, words)
    if result.exit_code != 0:
        raise SystemExit(f"{words}: {result.output}") from result.exception
    return result.output


def work(folder: Path) -> None:
    """The commands that write to a store and tidy it."""
    store = ("--store", str(folder / "store"))
    images = str(folder / "images")
    model = ("--model", "digits-clip", "--pretrained", "shipped")
    run("embed", "--images", images, *model, *store)
    run("select-k", "--set", "spectrum.landmarks=60", "--set", "spectrum.k_max=8", *store)
    run("assign", "--k", "4", *store)
    run("assign", "--k", "5", *store)
    run("caption", "--vocabulary", "digits-words.txt", *store)
    run("index", *store)
    run("index", "--set", "index.factory=IVF4,SQ8", *store)
    run("search", "--text", "the number three", "-n", "3", *store)
    run("train", "--epochs", "1", "--set", "train.hidden=16", *store)
    run("pack", images, str(folder / "packed"))
    run("embed", "--shards", str(folder / "packed"), *model, "--run", "packed", *store)
    run("export", "parquet", "--out", str(folder / "images.parquet"), *store)
    run("report", "--out", str(folder / "report.html"), *store)
    run("status", *store)
    run("verify", *store)
    run("gc", "--yes", *store)


def main() -> None:
    """Prints how many modules were imported, once all is done."""
    for name in LIBRARIES:
        importlib.import_module(name)
    take_away()
    count = import_all()
    folder = Path(sys.argv[1])
    work(folder)
    left = [str(path) for path in folder.rglob(".tmp-*")]
    if left:
        raise SystemExit(f"left behind: {left}")
    print(f"{count} modules")


if __name__ == "__main__":
    main()
