"""Errors of usage: one line that says what is wrong, and where the help is."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cpp_pipe.pipeline.commands.app import COMMANDS, app

from .cli import call

ROOT = Path(__file__).resolve().parents[2]

LINES = {
    ("statsu",): "there is no command 'statsu'; did you mean status? See `cpp-pipe --help`",
    ("xyzzy",): "there is no command 'xyzzy'; see `cpp-pipe --help`",
    ("--nonesuch",): "there is no option --nonesuch; see `cpp-pipe --help`",
    ("status", "--stor", "x"): "there is no option --stor; did you mean --store",
    ("train", "--epoch", "3"): "there is no option --epoch; did you mean --epochs",
    ("search", "--txt", "x"): "there is no option --txt; did you mean --text",
    ("merge", "--fines", "3"): "there is no option --fines; did you mean --finest or --engine? See "
    "`cpp-pipe hierarchy --help`",
    ("export",): "FORMAT is missing: one of parquet, ",
    ("export", "parquet"): "--out is missing: a file, or a new folder, depending on FORMAT; see ",
    ("pack", "photos"): "OUT is missing: a new folder for the shards; see `cpp-pipe pack --help`",
    ("search", "--text"): "--text needs a value; see `cpp-pipe search --help`",
    ("search", "-n", "0"): "-n must be at least 1, got 0; see `cpp-pipe search --help`",
    ("search", "-n", "many"): "-n must be a whole number, got 'many'; see ",
    ("search", "--min-confidence", "2"): "--min-confidence must be from 0 to 1, got 2.0; see ",
    ("train", "--lr", "fast"): "--lr must be a number, got 'fast'; see ",
    ("serve", "--port", "99999"): "--port must be from 0 to 65535, got 99999; see ",
    ("status", "a"): "unexpected argument 'a'; see `cpp-pipe status --help`",
    ("status", "--json=3"): "option '--json' does not take a value; see ",
}


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_an_error_of_usage_is_one_line_that_names_the_help(words):
    done = call(None, *words)
    assert done.code == 2 and done.out == ""
    line = done.err.splitlines()[-1]
    assert line.startswith(f"cpp-pipe: {LINES[words]}")
    assert line.endswith("--help`")
    told_first = done.err.splitlines()[:-1]
    assert all("is now called" in line for line in told_first)


@pytest.mark.parametrize("words", [["--help"], ["status", "--help"], ["status", "--nonesuch"]])
def test_the_program_is_called_cpp_pipe_however_it_was_started(words):
    done = subprocess.run(
        [sys.executable, "-m", "cpp_pipe", *words], capture_output=True, text=True, check=False
    )
    assert "python -m" not in done.stdout + done.stderr
    assert "cpp-pipe" in done.stdout + done.stderr


def flags_in_errors() -> Iterator[tuple[str, str]]:
    """Where an error is raised, and a flag that its message names."""
    for folder in ("pipeline", "stages", "store"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            raised = (
                node for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.Raise
            )
            texts = (
                each for node in raised for each in ast.walk(node) if type(each) is ast.Constant
            )
            for text in texts:
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", str(text.value)):
                    yield f"{path.relative_to(ROOT)}:{text.lineno}", flag


def test_every_flag_that_an_error_names_is_one_of_a_command():
    """One advised --precision, which is a setting and no flag."""
    group: Any = typer.main.get_command(app)
    params = [param for name in COMMANDS for param in group.get_command(None, name).params]
    known = {flag for param in params for flag in (*param.opts, *param.secondary_opts)} | {"--help"}
    named = list(flags_in_errors())
    assert len(named) > 100
    assert [each for each in named if each[1] not in known] == []
