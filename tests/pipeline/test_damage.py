"""Damage of any file of a store is named by commands, or does not affect them."""

import itertools
import random
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run

from ..rights import file_modes_hold
from .cli import call
from .whole_store import copy_of, make_whole_store, unlinked

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "status": ("status",),
    "search": ("search", "--key", "KEY", "--json"),
    "text": ("search", "--text", "seven", "--json"),
    "clusters": ("clusters", "--json"),
    "export": ("export", "parquet", "--out", "OUT"),
    "assign": ("assign", "--k", "4"),
    "project": ("project",),
    "skipped": ("skipped",),
    "lineage": ("lineage", "captions"),
    "verify": ("verify",),
}
"""KEY and OUT are replaced."""


def flip(place: float) -> Callable[[Path], None]:
    """Changes one bit, at a share of the file's length."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[min(int(place * len(content)), len(content) - 1)] ^= 4
        path.write_bytes(content)

    return change


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


DAMAGES: Mapping[str, Callable[[Path], object]] = {
    "empty": lambda path: cut(path, 0),
    "cut in half": lambda path: cut(path, path.stat().st_size // 2),
    "cut to 111 bytes": lambda path: cut(path, 111),
    "its first bit flipped": flip(0),
    "a bit flipped": flip(0.5),
    "its last bit flipped": flip(1),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a folder": make_folder,
    "a link to nothing": lambda path: link(path, Path("/absent")),
    "a link to itself": lambda path: link(path, path),
    "a link to a device": lambda path: link(path, Path("/dev/zero")),
    "gone": lambda path: path.unlink(),
    "unreadable": lambda path: path.chmod(0),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory, digit_shards) -> Path:
    """A store with an artifact of nearly every kind."""
    return make_whole_store(tmp_path_factory.mktemp("damage") / "artifacts", digit_shards)


def one_of_each(store: Path) -> Mapping[str, Path]:
    """The first file of every kind and role, by its kind and suffixes."""
    files: dict[str, Path] = {}
    for path in sorted(store.rglob("*")):
        if path.is_file() and path.name != "lock" and path.parent.name != "locks":
            suffixes = "".join(path.suffixes) or path.name
            kind = path.relative_to(store).parts[0]
            files.setdefault(f"{kind}{suffixes}", path.relative_to(store))
    return files


def run(command: str, store: Path, key: str) -> tuple[int, str, str]:
    """The exit code of a command, its output without paths, and its errors."""
    out = store.with_name("out.parquet")
    words = [{"KEY": key, "OUT": str(out)}.get(word, word) for word in COMMANDS[command]]
    with file_modes_hold():
        done = call(store, *map(str, words))
    given = done.out.replace(str(store), "STORE").replace(str(out), "OUT")
    if out.exists():
        given += str(pq.read_table(out).to_pydict())
        out.unlink()
    return done.code, given, done.err


@pytest.mark.parametrize(
    "count", [pytest.param(50, id="some"), pytest.param(150, id="many", marks=pytest.mark.slow)]
)
def test_damage_is_named_or_changes_nothing(template, tmp_path, monkeypatch, count):
    monkeypatch.setenv("CPP_PIPE_CHECK_MIB", "inf")
    key = Run.open(template).artifact("embeddings").column("key")[0]
    files = one_of_each(template)
    cases = random.Random(count).sample([*itertools.product(files, DAMAGES, COMMANDS)], count)
    expected: dict[str, tuple[int, str, str]] = {}
    wrong = []
    for name, damage, command in cases:
        if command not in expected:
            expected[command] = run(command, copy_of(template, tmp_path / command), key)
        store = copy_of(template, tmp_path / "damaged")
        DAMAGES[damage](unlinked(store / files[name]))
        try:
            outcome = run(command, store, key)
            is_same = command != "verify" and outcome[:2] == expected[command][:2]
            # Where a manifest is gone, the command that made the artifact makes it again.
            is_again = command == "assign" and "making assignments" in outcome[2]
            is_right = (
                is_same
                or (is_again and outcome[0] == 0)
                or is_named(files[name], command, *outcome)
            )
        except Exception as error:  # noqa: BLE001
            outcome, is_right = traceback.format_exception(error)[-3:], False
        if not is_right:
            wrong.append((name, damage, command, outcome))
        shutil.rmtree(tmp_path / "damaged")
    assert wrong == []


def is_named(file: Path, command: str, code: int, given: str, errors: str) -> bool:
    """Whether a command says which file, or which version, is damaged."""
    names = [file.name, file.parts[min(1, len(file.parts) - 1)]]
    lines = [line for line in errors.splitlines() if line.startswith("cpp-pipe: ")]
    if code == 2:
        return len(lines) == 1 and any(name in lines[0] for name in names)
    if command == "status":
        return "missing" in given
    return command == "verify" and code == 1 and any(name in given for name in names)
