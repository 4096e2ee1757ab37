"""Hostile values for the flags that the program lists."""

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import typer.main

from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.config import Settings

HUGE = str(10**30)

TEXTS = (
    "", " ", "a\nb", "a\0b", "\ufeffx", "~", "~nobody-of-that-name/x", "nan", "inf", "-inf", "-1",
    "0", "-", HUGE, "-" + HUGE, "1e400", "1e-300", "x" * 100_000, "é中🎉", "caf\udce9", "\ud800",
    "\x1b[2Jx", "@", "@/absent.txt", "@/dev/zero", "{a,b", "{0..999999999999}", "{a,b}" * 40, "[",
    "a[", "**", "*", "/", "..", "../../x", ",", "1,,2", "1/0", "=", "a.b=c", "train.=1",
    "http://127.0.0.1:1/x.tar", "https://127.0.0.1:1/x.jpg", "s3://nobodys-bucket/x.tar", "s3://",
    "file:///absent.tar", "://", "simplecache::http://127.0.0.1:1/x", "key:", "text:", "cuda:99",
    "cuda:x", "json", "none", "features",
)  # fmt: skip
"""Short and long, empty and binary, numbers out of range, addresses that lead nowhere."""

NUMBERS = (
    "", " ", "nan", "inf", "-inf", "-1", "0", "0.5", "1", "1e400", "1e-300", HUGE, "-" + HUGE,
    str(2**31), str(2**63), "٣", "1_000", "0x10", "x",
)  # fmt: skip

SUFFIXES = (
    "", ".txt", ".csv", ".json", ".toml", ".tar", ".parquet", ".npy", ".npz", ".safetensors",
    ".jpg", ".png", ".html", ".pt",
)  # fmt: skip

CONTENTS: Mapping[str, bytes] = {
    "empty": b"",
    "text": "no such thing, Ärger\n".encode() * 50,
    "binary": bytes(range(256)) * 20,
    "bom": b"\xef\xbb\xbfkey,label\n",
    "nested": b"[" * 200_000,
}
"""What a file holds although its suffix promises something else."""

SETTING_VALUES = (
    "nan", "inf", "-inf", "-1", "0", HUGE, '""', '"x"', "true", "[]", "[0]", "[-1]", '["x"]', "{}",
    "1e400", "1e-30", "5e-324", "0.5", "1979-05-27",
)  # fmt: skip
"""For every setting, as TOML."""

LONG = ("epochs", "resamples", "clusterings", "thumbnails", "checks")
"""Flags and settings whose large values are work that somebody may want."""


def flags_of(command: str) -> list[click.Parameter]:
    """All flags and arguments of a command, apart from --help."""
    group: Any = typer.main.get_command(app)
    return [
        flag for flag in group.get_command(click.Context(group), command).params
        if flag.name != "help"
    ]  # fmt: skip


def values_for(flag: click.Parameter, files: Sequence[str]) -> list[str]:
    """Every value that a flag is tried with; for a switch, its names."""
    if getattr(flag, "is_flag", False):
        return [*flag.opts, *flag.secondary_opts]
    if isinstance(flag.type, click.types.IntParamType | click.types.FloatParamType):
        too_long = (HUGE, str(2**31), str(2**63), "1_000") if flag.name in LONG else ()
        # A server would not end.
        served = ("0", "1") if flag.name == "port" else ()
        return [value for value in NUMBERS if value not in (*too_long, *served)]
    if flag.name == "sets":
        settings = [f"{table}.{key}" for table, values in Settings().tables().items()
                    for key in values]  # fmt: skip
        return [*TEXTS, *(f"{name}={value}" for name in settings for value in SETTING_VALUES
                          if not (name.endswith(LONG) and value == HUGE))]  # fmt: skip
    return [*TEXTS, *files]


def words_of(command: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """A command line with values for flags, by their names."""
    words, arguments = [command], []
    for flag in flags_of(command):
        for value in values.get(str(flag.name), []):
            if isinstance(flag, click.Argument):
                arguments.append(value)
            elif getattr(flag, "is_flag", False):
                words.append(value)
            else:
                # One word, so that a value may begin with a dash.
                name = flag.opts[-1]
                words.append(f"{name}={value}" if name.startswith("--") else f"{name}{value}")
    return [*words, *(["--", *arguments] if arguments else [])]


def hostile_files(folder: Path) -> list[str]:
    """Files, folders, links and devices that no flag can use."""
    folder.mkdir()
    made = ["/dev/full", "/dev/null", "/dev/zero", str(folder / "absent" / "deep.txt")]
    for suffix in SUFFIXES:
        for name, content in CONTENTS.items():
            path = folder / f"{name}{suffix}"
            path.write_bytes(content)
            made.append(str(path))
    (folder / "folder.tar").mkdir()
    (folder / "itself").symlink_to(folder / "itself")
    (folder / "loop").mkdir()
    (folder / "loop" / "again").symlink_to(folder / "loop")
    (folder / "below.txt").write_text("x")
    (folder / "closed.txt").write_text("x")
    (folder / "closed.txt").chmod(0)
    (folder / "shut").mkdir(mode=0)
    (folder / "line\nbreak.txt").write_text("x")
    np.save(folder / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.save(folder / "rows.npy", np.full((3, 4), np.inf))
    os.mkfifo(folder / "pipe")
    _feed(folder / "pipe")
    names = ("folder.tar", "itself", "loop", "below.txt/x", "closed.txt", "shut", "objects.npy",
             "rows.npy", "line\nbreak.txt", "pipe")  # fmt: skip
    return [*made, *(str(folder / name) for name in names)]


def _feed(pipe: Path) -> None:
    """Writes a few bytes to each reader of a pipe, while the pipe exists."""

    def write() -> None:
        # A test may take its folder away, or the right to enter it.
        with contextlib.suppress(OSError):
            while pipe.exists():
                with pipe.open("wb") as file:
                    file.write(b"x\n")
                time.sleep(0.05)  # a reader sees the end

    threading.Thread(target=write, daemon=True).start()
