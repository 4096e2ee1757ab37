"""Commands in the pages, run while the site is built, so that it shows what they really print."""

import contextlib
import os
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import app

_BLOCK = re.compile(r"^```console run\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "


class CommandFailed(RuntimeError):
    """A command of a page failed."""


class Console:
    """A folder in which commands of cpp-pipe run, in this process, one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._printed: dict[str, str] = {}

    def run(self, line: str) -> str:
        """What a command prints, with its errors; CommandFailed unless it exits with 0.

        A command runs once: the second time, its first output is returned.
        """
        if line not in self._printed:
            self._printed[line] = self._run(line)
        return self._printed[line]

    def _run(self, line: str) -> str:
        name, *words = shlex.split(line)
        if name != "cpp-pipe":
            raise CommandFailed(f"{line!r} must be a command of cpp-pipe: pages run no other")
        # What the pages make must not go into the store of the caller.
        with contextlib.chdir(self.folder):
            done = CliRunner(env={"CPP_PIPE_STORE": None}).invoke(app, words)
        if done.exit_code != 0:
            raise CommandFailed(f"{line!r} ended with {done.exit_code}: {done.output}") from (
                done.exception
            )
        return done.output.replace(f"{self.folder.resolve()}{os.sep}", "")

    def fill(self, markdown: str) -> str:
        """Markdown in which each block `console run` shows its commands and their output."""
        return _BLOCK.sub(lambda block: self._block(block["lines"]), markdown)

    def _block(self, lines: str) -> str:
        shown = []
        for line in lines.splitlines():
            if not line.startswith(_PROMPT):
                raise CommandFailed(f"{line!r} must begin with {_PROMPT!r}")
            shown += [line, self.run(line.removeprefix(_PROMPT)).rstrip("\n")]
        return "\n".join(["```console", *(text for text in shown if text), "```"])
