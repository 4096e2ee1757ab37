"""Artifacts of an earlier version of the program are found again, by version and by content."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.stages.contract import Stage
from cpp_pipe.store import Artifact, Store
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.manifest import Manifest, Recipe
from cpp_pipe.store.slots import kind_of

from .old_store import RECORDED, RUNS, SLOTS, job_of, plan_of, restore, vectors, write_inputs

OLD: Mapping[str, Any] = json.loads(RECORDED.read_text())

WHAT_TO_DO = """
Users' stores hold artifacts under the old version, and would make them again. If that is not meant,
undo the change. If it is: raise the stage's `revision` where numbers change, or the kind's `format`
where the layout of bytes does, and say so in CHANGELOG.md. Add a new stage to `RUNS` in
tests/store/old_store.py. Then record the versions: `python -m tests.store.old_store`.
"""


class World(NamedTuple):
    """A store of the old manifests, and the inputs that they were made from."""

    store: Store
    folder: Path

    def job(self, run: str, slot: str) -> Job:
        """The job that makes a slot of a run today."""
        return job_of(plan_of(self.store, run, self.folder), slot, self.folder)

    def old(self, run: str, slot: str) -> Artifact:
        """The recorded artifact of a slot."""
        return self.store.open(kind_of(slot), OLD["runs"][run][slot])


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("old")
    write_inputs(folder)
    restore(store := Store(folder / "store"), OLD)
    return World(store, folder)


def differences(old: Manifest, new: Recipe) -> list[str]:
    """The differences between the recipe of a manifest and another, a line each."""
    names = ("kind", "format", "stage", "revision")
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    for name in sorted({*old.config, *new.config}):
        before, after = (config.get(name, "absent") for config in (old.config, new.config))
        pairs.append((f"setting {name}", before, after))
    lines = [f"{name}: {before!r} before, {after!r} now" for name, before, after in pairs
             if before != after]  # fmt: skip
    before, after = [part.name for part in old.parts], list(new.parts)
    if before != after:
        lines.append(f"parts: {before} before, {after} now")
    return lines or [f"what a part is made from, now {dict(new.parts[after[0]])}, or the digest"]


def every_stage(base: type[Stage] = Stage) -> Iterator[type[Stage]]:
    """Every class of a stage in the package."""
    for child in base.__subclasses__():
        if child.__module__.startswith("cpp_pipe."):
            yield child
            yield from every_stage(child)


def test_every_stage_and_format_is_recorded():
    recorded = {value["stage"] for value in OLD["artifacts"]}
    assert {stage.name for stage in every_stage()} == recorded, WHAT_TO_DO
    formats = {value["kind"]: value["format"] for value in OLD["artifacts"]}
    assert formats == {kind.name: kind.format for kind in KINDS.values()}, WHAT_TO_DO


@pytest.mark.parametrize(("run", "slot"), SLOTS)
def test_an_old_version_is_found_again(world, run, slot):
    job = world.job(run, slot)
    recipe = job.stage.recipe(job.stage.parts(job.inputs, job.runtime))
    old = world.old(run, slot).manifest
    changes = "\n".join(differences(old, recipe))
    assert recipe.version == old.version, (
        f"{slot} of stage {job.stage.name!r} gets another version:\n{changes}\n{WHAT_TO_DO}"
    )
    made = find_or_make(job, world.store, run, {}, lambda line: None)
    assert made.version == old.version


@pytest.mark.parametrize(("run", "slot"), SLOTS)
def test_an_old_artifact_is_current_and_its_content_the_same(world, run, slot):
    found = Run.open(world.store, run).current(slot)
    assert found is not None, f"{slot} is out of date"
    (value,) = (value for value in OLD["artifacts"] if value["content"] == found.content)
    assert (value["kind"], value["version"]) == (found.kind.name, found.version)


def test_exact_numbers_are_made_again_byte_by_byte(world, tmp_path):
    """The lengths of the imported rows are whole numbers, so every processor rounds alike."""
    store = Store(tmp_path)
    plan = plan_of(store, "imported", world.folder)
    embeddings, duplicates = (
        find_or_make(job_of(plan, slot, world.folder), store, "imported", {}, lambda line: None)
        for slot in RUNS["imported"]
    )
    rows = embeddings.embeddings(embeddings.only_part)
    np.testing.assert_array_equal(rows, (vectors() / 5).astype(np.float16))
    if pa.__version__ == OLD["pyarrow"]:  # Parquet files name the version that wrote them
        assert embeddings.content == world.old("imported", "embeddings").content
        assert duplicates.content == world.old("imported", "duplicates").content
