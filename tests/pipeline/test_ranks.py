"""The rank of a process is used only if torchrun, or another launcher, has set it."""

import pytest

from cpp_pipe.pipeline.making.engines import torchrun
from cpp_pipe.store import ConfigError

from .cli import call

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
