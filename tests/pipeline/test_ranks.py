"""The rank of a process is used only if torchrun, or another launcher, has set it."""

import os
import subprocess
import sys

import pytest

from cpp_pipe.pipeline.making.engines import torchrun
from cpp_pipe.store import ConfigError, Store

from .cli import call, fail

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE")


@pytest.fixture(autouse=True)
def _without_torchrun(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("rank", ["", "3", "x"])
def test_a_rank_without_torchrun_changes_nothing(monkeypatch, tmp_path, rank):
    expected = call(tmp_path / "store", "status")
    monkeypatch.setenv("RANK", rank)
    assert call(tmp_path / "store", "status") == expected
    assert (torchrun.rank(), torchrun.size()) == (0, 1)


@pytest.mark.parametrize(
    "given", [{"TORCHELASTIC_RUN_ID": "none"}, {"MASTER_ADDR": "localhost"}], ids=" ".join
)
def test_a_rank_set_by_torchrun_is_used(monkeypatch, given):
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", **given}.items():
        monkeypatch.setenv(name, value)
    assert (torchrun.rank(), torchrun.size()) == (3, 4)
    assert torchrun.is_on_one_machine()
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(ConfigError, match="RANK in the environment must be a whole number, got"):
        torchrun.rank()


@pytest.mark.parametrize("words", [["status"], ["gc", "--log-file", "log.txt"]])
@pytest.mark.parametrize("rank", ["", "x"])
def test_a_rank_that_is_no_number_is_one_line_of_error(monkeypatch, tmp_path, words, rank):
    """Showing the error read the same variable, and ended in a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_text('{"format": 1}')
    Store("store").runs.update("mine", sources={"part": "place"})
    for name, value in {"RANK": rank, "WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    assert fail("store", *words) == (
        f"cpp-pipe: RANK in the environment must be a whole number, got {rank!r}: unset it, or "
        "start the command by torchrun"
    )


@pytest.mark.parametrize(("size", "code"), [("2", 2), ("1", -6), ("x", -6)])
def test_what_libraries_do_at_the_end_of_python_is_left_out_in_a_process_of_torchrun(
    tmp_path, size, code
):
    """A thread of gloo aborted a process there that was told to stop."""
    aborting = "import atexit, os; atexit.register(os.abort); "
    command = "import sys; sys.argv = ['cpp-pipe', 'lineage', 'nothing']; "
    done = subprocess.run(
        [sys.executable, "-c", aborting + command + "from cpp_pipe.__main__ import main; main()"],
        env=os.environ | {"WORLD_SIZE": size, "MASTER_ADDR": "localhost", "RANK": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
