"""The output of every command for a terminal, a pipe and a monitor: widths, JSON, log files."""

import json
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Sequence
from fcntl import ioctl
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import COMMANDS, app
from cpp_pipe.pipeline.making.progress import MODES

from ..forked import fork_on
from ..stages.sources.image_files import png
from .cli import SMALL, call, embed, open_whole, succeed

SHORT = {"status", "skipped", "lineage", "doctor"}
"""Commands that only read a few small files."""

QUICK = ("--set", "select_k.grid=[2,3,4]", "--set", "select_k.resamples=1")

CALLS: dict[str, Sequence[str]] = {
    "demo": (),
    "run": ("--images", "IMAGES", "--model", "digits-clip", "--pretrained", "shipped", *QUICK),
    "embed": ("--images", "IMAGES", "--model", "digits-clip", "--pretrained", "shipped"),
    "import": ("ROWS.npy", "--model", "ViT-B-32", "--run", "imported"),
    "pack": ("IMAGES", "NEW"),
    "fetch": (),
    "reproduce": (
        "cifar10", "--embeddings", "LABELLED.npz", "--seeds", "1",
        "--set", "train.hidden=16", "--set", "train.features=4",
    ),
    "train": ("--seed", "1"),
    "select-k": ("--grid", "2,3,4", "--resamples", "2"),
    "assign": ("--k", "3"),
    "hierarchy": ("--finest", "4"),
    "caption": ("--vocabulary", "digits-words.txt"),
    "clusters": (),
    "eval": ("--label", "folder"),
    "search": ("--text", "seven"),
    "sweep": ("--seeds", "2", "--k", "2"),
    "compare": ("default",),
    "figures": ("--out", "NEW", "--format", "png"),
    "report": ("--out", "NEW.html"),
    "duplicates": ("--above", "0.9"),
    "outliers": (),
    "score": (),
    "edit": ("name", "0", "rings"),
    "sample": ("-n", "5"),
    "curate": ("--out", "NEW"),
    "export": ("parquet", "--out", "NEW.parquet"),
    "status": (),
    "skipped": (),
    "lineage": ("captions",),
    "verify": (),
    "gc": (),
    "doctor": (),
    "project": (),
    "spectrum": (),
    "index": (),
    "map": ("--method", "pca"),
}  # fmt: skip
"""A call of every command; words in capitals stand for paths of the test. `serve` never ends."""

LONG = [name for name in CALLS if name not in SHORT]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with images, rows of embeddings, and a store with captions."""
    import numpy as np

    folder = tmp_path_factory.mktemp("terminal")
    for number in range(24):
        path = folder / "images" / f"set {number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (folder / "images" / "broken.png").write_bytes(b"no image")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32))
    y = np.arange(60) % 10
    x = np.random.default_rng(1).normal(size=(10, 8))[y] + np.random.default_rng(2).normal(
        size=(60, 8)
    )
    np.savez(folder / "labelled.npz", x=x.astype(np.float32), y=y)
    store = folder / "artifacts"
    embed(store, more=("--images", str(folder / "images")))
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "3")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    return folder


def words_of(name: str, world: Path, new: Path) -> list[str]:
    """The words of a call, with the paths of a test."""
    paths = {
        "IMAGES": world / "images",
        "ROWS.npy": world / "rows.npy", "LABELLED.npz": world / "labelled.npz",
        "NEW": new / "new", "NEW.html": new / "new.html",
        "NEW.parquet": new / "new.parquet",
    }  # fmt: skip
    words = [str(paths.get(word, word)) for word in CALLS[name]]
    takes_store = name not in ("fetch", "pack", "doctor")
    return [name, *words, *(("--store", str(world / "artifacts")) if takes_store else ())]


def test_every_command_is_called_here():
    assert set(CALLS) == set(COMMANDS) - {"serve"}


@pytest.mark.parametrize("name", [*LONG, "serve"])
def test_every_long_command_has_the_flag_for_progress(name):
    out = " ".join(call(None, name, "--help").out.split())
    assert "--progress" in out and "--log-file" in out
    assert all(mode in out for mode in MODES)


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_command_that_reads_a_few_files_has_no_progress(name):
    assert "--progress" not in call(None, name, "--help").out


# JSON lines.

COUNT = {
    "what": str, "done": int, "total": int, "is_estimate": bool, "unit": str,
    "per_second_now": float, "per_second": float, "seconds_left": float | None, "skipped": int,
    "parts_done": int, "parts": int, "waiting_share": float | None, "note": str,
}  # fmt: skip
SUMMARY = {
    "what": str, "unit": str, "done": int, "seconds": float, "per_second": float, "shares": dict,
    "waiting_share": float | None, "skipped": dict, "limit": str,
}  # fmt: skip


def check(line: str) -> str:
    """The kind of a JSON line, which has exactly the fields of this kind."""
    value = json.loads(line)
    for kind, fields in (("message", str), ("error", str), ("summary", SUMMARY)):
        if kind in value:
            assert set(value) == {kind}
            check_fields(value[kind], fields) if isinstance(fields, dict) else None
            assert isinstance(value[kind], dict if isinstance(fields, dict) else str)
            return kind
    check_fields(value, COUNT)
    assert value["done"] >= 0 and value["total"] >= 0
    return "count"


def check_fields(value: dict, fields: dict) -> None:
    assert list(value) == list(fields)
    for name, kind in fields.items():
        assert isinstance(value[name], kind), name
        assert kind is bool or not isinstance(value[name], bool), name


@pytest.mark.parametrize("name", LONG)
def test_json_lines_of_every_long_command_follow_one_schema(world, tmp_path, name):
    log = tmp_path / "log.txt"
    done = call(None, *words_of(name, world, tmp_path), "--progress", "json", "--log-file", log)
    assert done.code == 0, done.err
    kinds = [check(line) for line in done.err.splitlines()]
    # The log has the same messages, each with the time.
    lines = log.read_text().splitlines()
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
    assert all(stamp.match(line) for line in lines)
    messages = [
        json.loads(line)["message"] for line in done.err.splitlines() if '"message"' in line
    ]
    assert [line for line in messages if line not in "\n".join(lines)] == []
    if name in ("embed", "train", "curate", "export", "verify", "pack", "report", "run"):
        assert "count" in kinds or "there already" in done.err


def test_the_error_of_a_command_is_a_json_line_too(world):
    words = ("search", "--key", "nokey", "--store", world / "artifacts", "--progress", "json")
    done = call(None, *words)
    assert done.code == 2
    assert check(done.err.splitlines()[-1]) == "error"


# Widths.


_IS_WHOLE = re.compile(r"(result: |history: )?\S+|(next: )?`?(cpp-pipe|duckdb|python) .*|\{\".*\}")
"""A line that holds one path, one command, or one JSON object."""


def too_wide(text: str, columns: int) -> list[str]:
    """Lines that are too wide, except those that hold one path or one command."""
    return [
        line
        for line in text.splitlines()
        if len(line) > columns and not _IS_WHOLE.fullmatch(line.strip())
    ]


@pytest.mark.parametrize("columns", ["80", ""])
@pytest.mark.parametrize("name", list(CALLS))
def test_no_line_of_a_command_is_wider_than_80_columns(world, tmp_path, name, columns):
    words = words_of(name, world, tmp_path)
    done = CliRunner(env={"COLUMNS": columns}).invoke(app, words)
    assert done.exit_code == 0, done.output
    assert too_wide(done.stdout, 80) == []


# A real terminal.


def begin_on_a_terminal(
    words: Sequence[str], columns: int, **variables: str
) -> tuple[ForkServerProcess, int]:
    """Begins a command on a terminal; returns its process, and the terminal's other end."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unset = ("CI", "COLUMNS", "NO_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"TERM": "xterm-256color", **variables}
    process = fork_on(follower, *words, env=environment)
    os.close(follower)
    return process, leader


def on_a_terminal(words: Sequence[str], columns: int, **variables: str) -> tuple[int, str]:
    """Runs a command on a terminal; returns its exit code and all its output."""
    process, leader = begin_on_a_terminal(words, columns, **variables)
    drawn = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 120)
        assert ready, f"nothing was printed for two minutes: {drawn!r}"
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(leader)
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode, drawn.decode()


def rows_of(drawn: str) -> list[str]:
    """All texts that were ever on a row of the screen, without colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    return [row for line in plain.split("\n") for row in line.split("\r") if row.strip()]


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_shows_one_line_that_fits_and_leaves_nothing(world, tmp_path, columns):
    words = ["embed", "--images", str(world / "images"), "--model", "digits-clip"]
    words += ["--pretrained", "shipped", "--store", str(tmp_path / "store"), "--batch-size", "4"]
    code, drawn = on_a_terminal(words, columns)
    assert code == 0, drawn
    rows = rows_of(drawn)
    assert any(row.startswith("embed ━") for row in rows)
    assert too_wide("\n".join(rows), columns) == []
    # Each row of the bar was wiped, and the cursor is there again.
    assert drawn.count("\x1b[?25h") == drawn.count("\x1b[?25l") > 0
    assert "seen 25 = embedded 24 + skipped 1" in " ".join(drawn.split())


@pytest.mark.parametrize(
    ("variables", "is_live", "has_colour"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"CI": "true"}, False, False),
    ],
)
def test_a_terminal_that_cannot_redraw_gets_lines(world, variables, is_live, has_colour):
    words = ["verify", "--store", str(world / "artifacts")]
    code, drawn = on_a_terminal(words, 80, **variables)
    assert code == 0
    assert ("\x1b[2K" in drawn) == is_live
    assert bool(re.search(r"\x1b\[[0-9;]*m", drawn)) == has_colour


@pytest.mark.parametrize("progress", ["bar", "log"])
def test_a_command_goes_on_where_its_terminal_is_closed(world, tmp_path, progress):
    """One that no signal told so, after `disown`, ended at its next line of progress."""
    words = ["embed", "--images", str(world / "images"), "--model", "digits-clip"]
    words += ["--pretrained", "shipped", "--store", str(tmp_path / "store"), "--batch-size", "4"]
    process, leader = begin_on_a_terminal([*words, "--progress", progress], 80)
    drawn = b""
    while b"listing the images" not in drawn:
        drawn += os.read(leader, 65536)
    os.close(leader)
    process.join(120)
    assert process.exitcode == 0
    assert open_whole(tmp_path / "store").rows == 24
