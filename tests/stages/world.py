"""A small real run: digits in tar shards, through every stage, made once for all tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.jobs import Job
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.store import Artifact, Store

SETTINGS = Settings.from_tables(
    {
        "embed": {"model": "digits-clip", "pretrained": "shipped"},
        "train": {"hidden": 32, "features": 16, "batch": 64, "epochs": 3},
        "spectrum": {"landmarks": 200, "k_max": 20},
        "select_k": {"grid": [2, 5, 10], "resamples": 2},
        "merge": {"finest": 6},
        "assign": {"k": "auto"},
        "caption": {"vocabulary": "digits-words.txt"},
    },
    "tests",
)
"""Everything small: what is tested is the contract, not the quality."""


def plan_of(store: Store, shards: Path, settings: Settings = SETTINGS, **runtime) -> Plan:
    """A plan over some shards that says nothing."""
    settings = settings.override("data", shards=(str(shards),))
    how = {"device": "cpu", "batch_size": 32, **runtime}
    return Plan(store, "test", settings, Runtime(**how), lambda line: None)


@dataclass(frozen=True)
class Made:
    """A stage with what it needs, and what it made."""

    job: Job
    artifact: Artifact
    settings: Settings


SLOTS = (
    "embeddings",
    "heads",
    "features",
    "spectrum",
    "k_curve",
    "hierarchy",
    "assignments",
    "words",
    "captions",
    "index/features",
    "index/embeddings",
)


def make_world(store: Store, shards: Path) -> Mapping[str, Made]:
    """Runs every stage once."""
    plan = plan_of(store, shards)
    return {
        slot: Made(artifact=plan.make(slot), job=plan.job(slot), settings=plan.settings)
        for slot in SLOTS
    }
