"""Every command with hostile values of every flag ends, and without a traceback."""

import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import COMMANDS, app

from ..rights import file_modes_hold
from ..stages.shards import digit_sample
from .hostile_values import flags_of, hostile_files, values_for, words_of
from .whole_store import MODEL, copy_of, make_whole_store

SECONDS = 60
"""In which a command must end, on a busy machine."""


@dataclass(frozen=True)
class Place:
    """A folder with a whole store, inputs and hostile files."""

    root: Path
    store: Path
    shards: Path
    files: list[str]
    port: int
    """Taken, so that a server ends."""

    def values(self, command: str, store: Path) -> Mapping[str, list[str]]:
        """Values by flag with which a command works or ends soon."""
        out = str(store.parent / "out")
        values: Mapping[str, dict[str, list[str]]] = {
            "run": {"shards": [str(self.shards)], "run": ["default"], **MODEL,
                    "vocabulary": ["digits-words.txt"]},
            "embed": {"shards": [str(self.shards)], **MODEL},
            "import": {"paths": [str(self.root / "rows.npz")], "model": ["ViT-B-32"],
                       "run": ["imported"]},
            "pack": {"folder": [str(self.root / "images")], "out": [out]},
            "reproduce": {"names": ["cifar10"], "embeddings": [str(self.root / "rows.npz")]},
            "search": {"text": ["seven"]},
            "serve": {"port": [str(self.port)]},
            "curate": {"out": [out]},
            "export": {"form": ["parquet"], "out": [f"{out}.parquet"]},
            "lineage": {"slot": ["embeddings"]},
            "duplicates": {"above": ["0.9"]},
            "map": {"method": ["pca"]},
            "demo": {"device": ["cuda:99"]},
        }  # fmt: skip
        has_store = any(flag.name == "store" for flag in flags_of(command))
        return {**values.get(command, {}), **({"store": [str(store)]} if has_store else {})}


@pytest.fixture(scope="module")
def place(tmp_path_factory, digit_shards) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("hostile")
    store = make_whole_store(root / "template" / "artifacts", digit_shards)
    (root / "images").mkdir()
    for row in range(12):
        (root / "images" / f"{row}.png").write_bytes(digit_sample(row)["png"])
    rows = np.random.default_rng(0).normal(size=(30, 64)).astype(np.float32)
    np.savez(root / "rows.npz", x=rows)
    files = hostile_files(root / "files")
    with socket.socket() as taken, pytest.MonkeyPatch.context() as patch:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        patch.chdir(root)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield Place(root, store, digit_shards, files, taken.getsockname()[1])
    (root / "files" / "pipe").unlink()


SECONDS_OF_A_SERVER = 6
"""After which a server that has not failed is taken to serve."""


class TooLong(BaseException):
    """A command did not end in time."""


def end(number: int, frame: object) -> None:
    raise TooLong


def try_command(place: Place, command: str, changed: Mapping[str, list[str]]) -> None:
    """Runs a command on a store of its own; its exit code must be documented."""
    work = place.root / "work"
    shutil.rmtree(work, ignore_errors=True)
    store = copy_of(place.store, work)
    words = words_of(command, {**place.values(command, store), **changed})
    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS_OF_A_SERVER if command == "serve" else SECONDS)
    try:
        with file_modes_hold():
            result = CliRunner().invoke(app, words)
    except TooLong:
        if command == "serve":
            return  # it serves, e.g. at another address than the one that is taken
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(
            "".join(traceback.format_exception(result.exception)[-6:])
        ) from result.exception
    assert result.exit_code in ((0, 1, 2) if command == "doctor" else (0, 2)), result.output
    if result.exit_code == 2:
        last = result.stderr.strip().splitlines()[-1]
        assert last.startswith(("cpp-pipe: ", "Error: ")) and len(last) < 200_000, last
    assert "Traceback" not in result.stderr


def test_a_command_without_odd_values_works_or_is_refused(place):
    """Otherwise the commands below would fail before they read the values."""
    for command in COMMANDS:
        if command != "demo":
            try_command(place, command, {})


@pytest.mark.parametrize(
    "examples", [pytest.param(6, id="few"), pytest.param(24, id="many", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "doctor"])
def test_no_value_of_a_flag_gives_a_traceback(place, command, examples):
    flags = flags_of(command)

    @settings(
        derandomize=True, max_examples=examples, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        report_multiple_bugs=False,
    )  # fmt: skip
    @given(st.data())
    def try_values(data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(flags), min_size=1, max_size=2, unique=True))
        changed = {
            str(flag.name): [data.draw(st.sampled_from(values_for(flag, place.files)))]
            for flag in chosen
        }
        try_command(place, command, changed)

    try_values()


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        pytest.param(("clusters", "--json"), marks=pytest.mark.slow),
        pytest.param(("search", "--text", "x"), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("streams", [">/dev/full", ">&-", "2>/dev/full", "2>&-", "<&-"])
def test_streams_that_are_full_or_closed_give_no_traceback(place, words, streams, tmp_path):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "cpp_pipe", *words,
              "--store", str(copy_of(place.store, tmp_path))],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)
