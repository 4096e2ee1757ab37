"""A command takes its own tables of a config, and keeps no setting for later commands."""

from typing import Any

import pytest

from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.config import Settings, find_config, read_tables

from .cli import embed

FLOW = ("views", "train", "spectrum", "select_k", "merge", "assign", "caption", "index")
OTHERS = {
    "train": {"views"},
    "spectrum": {"views", "train"},
    "select_k": {"views", "train", "spectrum"},
    "merge": {"views", "train", "spectrum"},
    "assign": {"views", "train", "spectrum", "select_k", "merge"},
    "caption": {"views", "train", "spectrum", "select_k", "merge", "assign"},
    "index": {"views", "train"},
}
"""The tables of each command's flags, and those of what it needs."""


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards):
    store = tmp_path_factory.mktemp("configs") / "artifacts"
    embed(store, digit_shards)
    return store


@pytest.mark.parametrize("table", OTHERS)
@pytest.mark.parametrize("config", ["reference", "cifar100", "digits"])
def test_a_command_takes_its_own_tables_and_those_of_what_it_needs(store, table, config):
    flags: dict[str, Any] = {table: {}}
    plan = open_plan(Common(store=str(store), config=config), **flags)
    before = Settings.from_tables(plan.store.runs.read("default").settings, "the run")
    wanted = Settings.from_tables(read_tables(find_config(config)), config)
    for name in ("data", "embed", *FLOW):
        source = wanted if name in OTHERS[table] | {table} else before
        assert getattr(plan.settings, name) == getattr(source, name), name


def test_training_by_the_paper_does_not_choose_a_number_of_clusters(store):
    plan = open_plan(Common(store=str(store), config="reference"), train={}, views={})
    assert plan.settings.train.start == "random" and plan.settings.assign.k == "auto"


def test_the_reference_is_the_paper_in_every_step():
    settings = Settings.from_tables(read_tables(find_config("reference")), "reference")
    assert settings.train.start == "random" and settings.train.sinkhorn == "reference"
    assert settings.spectrum.affinity == "membership"
    assert settings.spectrum.eta == settings.train.eta
    assert settings.select_k.rule == "code" and settings.assign.method == "spectral"
    assert (settings.caption.rule, settings.caption.top) == ("vote", 5)
