"""Commands in processes of their own that need not load libraries again.

Each is forked from a process that has loaded them, which saves seconds at a start. How the program
starts and ends is for tests that run `python -m cpp_pipe`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO

from benchmarks.chaos import PRELOADED


def preload() -> None:
    """Says what is loaded before the first fork; nothing is loaded until then."""
    serving = ("uvicorn", "cpp_pipe.pipeline.serve.app", "cpp_pipe.stages.encoding.encoder")
    get_context("forkserver").set_forkserver_preload([*PRELOADED, *serving])


@dataclass(frozen=True)
class Forked:
    """A command that has begun, and what it prints."""

    process: ForkServerProcess
    stdout: IO[str]
    stderr: IO[str]

    @property
    def pid(self) -> int:
        """The number of its process, which leads a session of its own."""
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.exitcode

    def finish(self, seconds: float = 120) -> tuple[int, str, str]:
        """Waits for its end; the exit code, and what is left on stdout and stderr."""
        out, err = self.stdout.read(), self.stderr.read()
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"the command runs after {seconds:g} seconds"
        return self.process.exitcode, out, err

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self.stdout.close()
        self.stderr.close()


def fork(
    *words: str | Path, env: Mapping[str, str] | None = None, absent: Sequence[str] = ()
) -> Forked:
    """Begins a command, with variables of the environment, and without some modules."""
    (out, err), theirs = zip(*(Pipe(duplex=False) for _ in range(2)), strict=True)
    process = _begin(words, env, absent, dict(enumerate(theirs, 1)))
    return Forked(process, *(os.fdopen(_take(end)) for end in (out, err)))


def fork_on(
    terminal: int, *words: str | Path, env: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Begins a command on a terminal, which it reads and writes."""
    return _begin(words, env, (), {number: Connection(os.dup(terminal)) for number in range(3)})


def _begin(
    words: Sequence[str | Path],
    env: Mapping[str, str] | None,
    absent: Sequence[str],
    files: Mapping[int, Connection],
) -> ForkServerProcess:
    environment = dict(os.environ if env is None else env)
    arguments = ([str(word) for word in words], environment, absent, files)
    process = get_context("forkserver").Process(target=_run, args=arguments)
    process.start()
    for file in files.values():
        file.close()
    return process


def _take(end: Connection) -> int:
    """The descriptor of a pipe, which is closed with the file that is made of it."""
    with end:
        return os.dup(end.fileno())


def _run(
    words: list[str],
    environment: Mapping[str, str],
    absent: Sequence[str],
    files: Mapping[int, Connection],
) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for number, file in files.items():
        os.dup2(file.fileno(), number)
        file.close()
    # Those of the process it was forked from remember what their files were.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    sys.argv = ["cpp-pipe", *words]
    from cpp_pipe.__main__ import main

    main()
