"""The contract of every stage: idle when done, resumable, independent of workers, atomic."""

import importlib
import json
import os
import pkgutil
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cpp_pipe import stages
from cpp_pipe.pipeline.making.engines.local import make_parts
from cpp_pipe.pipeline.making.jobs import find_or_make
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.pipeline.threads import set_threads
from cpp_pipe.stages.contract import Stage
from cpp_pipe.stages.map import Map
from cpp_pipe.stages.merge import Merge
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.stages.spectrum import Spectrum
from cpp_pipe.store import ConfigError, Product, Scratch, Store, StoreError
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.upkeep import find_garbage, verify

from ..small_disk import no_file_may_grow_above
from .world import PLANNED_SLOTS, SETTINGS, SLOTS, Made, make_whole_world, plan_of


def silent(line: str) -> None:
    """Prints nothing."""


@pytest.fixture(scope="module")
def world(tmp_path_factory, digit_shards) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("files")
    plan = plan_of(Store(tmp_path_factory.mktemp("store")), digit_shards)
    return dict(make_whole_world(plan, folder))


def stage_names() -> set[str]:
    """The names of all stages in the package."""
    for module in pkgutil.iter_modules(stages.__path__):
        importlib.import_module(f"{stages.__name__}.{module.name}")
    found, classes = set(), list(Stage.__subclasses__())
    while classes:
        stage = classes.pop()
        classes += stage.__subclasses__()
        if stage.__module__.startswith(f"{stages.__name__}."):
            found.add(stage.name)
    return found


@pytest.mark.parametrize(
    ("stage", "setting", "message"),
    [
        (Spectrum, {"landmarks": 1}, "spectrum.landmarks must be at least 2, got 1"),
        (Spectrum, {"k_max": -1}, "spectrum.k_max must be at least 0, got -1"),
        (Spectrum, {"seed": -1}, "spectrum.seed must be at least 0, got -1"),
        (SelectK, {"seed": -1}, "select_k.seed must be at least 0, got -1"),
        (SelectK, {"eps_sq": 0.0}, "select_k.eps_sq must be from 1e-07 to 1e+06, got 0"),
        (Merge, {"seed": -1}, "merge.seed must be at least 0, got -1"),
        (Merge, {"eps_sq": -0.1}, "merge.eps_sq must be from 1e-07 to 1e+06, got -0.1"),
        (Map, {"seed": -1}, "map.seed must be at least 0, got -1"),
    ],
)
def test_invalid_settings_are_refused_by_name(stage, setting, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        stage(**setting)


def test_every_stage_is_tested_here(world):
    """Add a new stage to `make_whole_world`, so that the tests below cover it."""
    assert {made.job.stage.name for made in world.values()} == stage_names()


def again(made: Made, store: Store):
    """Makes the same artifact in another store."""
    return find_or_make(made.job, store, "test", made.settings.tables(), silent)


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and modification time."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("slot", SLOTS)
def test_a_second_run_is_idle(world, slot):
    root = world[slot].artifact.folder.parents[1]
    before = snapshot(root)
    found = again(world[slot], Store(root))
    assert found.version == world[slot].artifact.version
    assert snapshot(root) == before


@pytest.mark.parametrize("slot", SLOTS)
def test_the_same_work_elsewhere_gives_the_same_bytes(world, slot, tmp_path):
    made = again(world[slot], Store(tmp_path))
    assert made.version == world[slot].artifact.version
    assert made.content == world[slot].artifact.content


@pytest.mark.parametrize(
    "workers", [pytest.param(1, id="one worker"), pytest.param(2, marks=pytest.mark.slow)]
)
def test_a_recipe_has_one_content_however_it_was_made(world, digit_shards, tmp_path, workers):
    """Issue 16: the facts of an index named a version, so another run gave other bytes."""
    shutil.copytree(digit_shards, tmp_path / "moved")
    store = Store(tmp_path / "another store")
    # The digits are PNGs, so that this setting changes the version of their rows, but no byte.
    settings = SETTINGS.override("embed", scaled_jpeg=True)
    alone = tmp_path / "moved" / "001.tar"
    plan_of(store, alone, settings, run="alone").make("embeddings")
    plan = plan_of(
        store, tmp_path / "moved", settings, run="another", batch_size=7, workers=workers
    )
    for slot in reversed(PLANNED_SLOTS):
        plan.make(slot)
    made = make_whole_world(plan, tmp_path)
    versions = {slot: (world[slot].artifact.version, made[slot].artifact.version) for slot in SLOTS}
    assert [slot for slot, pair in versions.items() if pair[0] != pair[1]] == ["embeddings"]
    contents = {slot: (world[slot].artifact.content, made[slot].artifact.content) for slot in SLOTS}
    assert [slot for slot, pair in contents.items() if pair[0] != pair[1]] == []


@pytest.mark.parametrize(
    "slot", ["embeddings", "features", "assignments", "views", "lists/embeddings"]
)
@pytest.mark.parametrize("finished", [1, 2, 3])
def test_killed_after_any_part_and_resumed_gives_the_same_bytes(world, slot, finished, tmp_path):
    job, store = world[slot].job, Store(tmp_path)
    parts = job.stage.parts(job.inputs, job.runtime)
    draft = store.draft(job.stage.recipe(parts))
    make_parts(job.stage, draft, parts[:finished], job.inputs, job.runtime)
    assert store.find(job.stage.kind, draft.recipe.version) is None
    # A process killed in the middle of a part leaves this.
    leftover = draft.folder / "parts" / f".tmp-{parts[-1].name}"
    leftover.mkdir()
    (leftover / "half").write_bytes(b"half a file")
    made = again(world[slot], store)
    assert made.content == world[slot].artifact.content
    assert find_garbage(store) == [] or finished == len(parts)


@pytest.mark.slow
@pytest.mark.parametrize("slot", ["embeddings", "assignments", "views", "lists/embeddings"])
def test_the_number_of_workers_changes_nothing(world, slot, tmp_path):
    job, store = world[slot].job, Store(tmp_path)
    parts = job.stage.parts(job.inputs, job.runtime)
    draft = store.draft(job.stage.recipe(parts))
    make_parts(job.stage, draft, parts, job.inputs, replace(job.runtime, workers=2))
    assert draft.publish(job.inputs, {}).content == world[slot].artifact.content


@pytest.mark.parametrize("slot", SLOTS)
def test_a_full_disk_is_one_error_whichever_file_does_not_fit(world, slot, tmp_path):
    """NumPy, safetensors, Arrow, FAISS and Matplotlib each raise an error of their own."""
    job, record = world[slot].job, world[slot].artifact.parts[0]
    prepared = job.stage.prepare(job.inputs, job.runtime)
    parts = job.stage.parts(job.inputs, job.runtime)
    draft = Store(tmp_path).draft(job.stage.recipe(parts))

    def make(scratch: Scratch) -> Product:
        with no_file_may_grow_above(max(1, sizes[-1] - 1)):
            return job.stage.make(parts[0], prepared, job.inputs, job.runtime, scratch)

    sizes = sorted({file.bytes for file in record.files.values()})
    while sizes:
        with pytest.raises(StoreError, match="no space left while writing"):
            draft.make_part(parts[0].name, make)
        sizes.pop()
    assert draft.finished() == {}


@pytest.mark.parametrize("slot", [slot for slot in SLOTS if slot not in ("embeddings", "words")])
def test_a_stage_runs_on_the_cpu_if_the_gpu_lacks_float64(world, slot, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    job = replace(world[slot].job, runtime=replace(world[slot].job.runtime, device="mps"))
    made = find_or_make(job, Store(tmp_path), "test", world[slot].settings.tables(), silent)
    assert made.manifest.made_by["device"] == "cpu"
    assert made.content == world[slot].artifact.content


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_no_byte(world, slot, threads, tmp_path):
    """A stage always uses one number of threads, or gives the same with any number."""
    job, record = world[slot].job, world[slot].artifact.parts[0]
    set_threads(threads)
    try:
        if not job.stage.is_thread_invariant:
            os.environ["OMP_NUM_THREADS"] = "1"
            assert again(world[slot], Store(tmp_path)).content == world[slot].artifact.content
            return
        prepared = job.stage.prepare(job.inputs, job.runtime)
        (part,) = [p for p in job.stage.parts(job.inputs, job.runtime) if p.name == record.name]
        made = (
            Store(tmp_path)
            .draft(job.stage.recipe([part]))
            .make_part(
                part.name,
                lambda scratch: job.stage.make(part, prepared, job.inputs, job.runtime, scratch),
            )
        )
        assert made.content == record.content
    finally:
        set_threads(1)


@pytest.mark.parametrize("slot", SLOTS)
def test_every_artifact_is_sound(world, slot):
    assert list(verify(world[slot].artifact)) == []


def test_lineage_leads_back_to_the_embeddings(world):
    store = Store(world["captions"].artifact.folder.parents[1])

    def ancestors(artifact) -> set[str]:
        kinds = {artifact.kind.name}
        for used in artifact.manifest.inputs.values():
            kinds |= ancestors(store.open(KINDS[used.kind], used.version))
        return kinds

    assert ancestors(world["captions"].artifact) == set(KINDS) - {
        "hierarchy",
        "views",
        "projection",
        "duplicates",
        "quantizer",
        "lists",
        "index",
        "edits",
        "fingerprints",
        "sprites",
        "scores",
    }


def test_shards_that_were_moved_are_not_embedded_again(world, digit_shards, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(digit_shards, moved)
    job = world["embeddings"].job
    settings = SETTINGS.override("data", shards=(str(moved),))
    plan = Plan(Store(tmp_path / "s"), "test", settings, job.runtime, silent)
    other = plan.job("embeddings")
    recipe = other.stage.recipe(other.stage.parts({}, other.runtime))
    assert recipe.version == world["embeddings"].artifact.version


def test_every_sample_is_accounted_for(world):
    for part in world["embeddings"].artifact.parts:
        facts = part.facts
        assert facts["seen"] == facts["embedded"] + sum(facts["skipped"].values()) == 20
        assert part.rows == facts["embedded"]


def test_embeddings_are_unit_rows_and_point_at_their_images(world, digit_shards):
    artifact = world["embeddings"].artifact
    name = artifact.parts[0].name
    rows = artifact.embeddings(name).astype(np.float32)
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 2e-3
    first = artifact.table(name).slice(0, 1).to_pylist()[0]
    data = (digit_shards / first["shard"]).read_bytes()
    assert data[first["offset"] :][:8] == b"\x89PNG\r\n\x1a\n"
    assert first["label"] is not None and first["caption"].startswith("a scan")
    assert json.loads(first["extra"]) == {"parity": int(first["label"]) % 2}


def test_no_part_depends_on_the_others(world, digit_shards, tmp_path):
    """A shard embedded alone gives the same part as with others, and is then linked."""
    store = Store(tmp_path)
    job = world["embeddings"].job
    alone = SETTINGS.override("data", shards=(str(digit_shards / "001.tar"),))
    single = Plan(store, "single", alone, job.runtime, silent).make("embeddings")
    whole = again(world["embeddings"], store)
    name = single.parts[0].name
    assert whole.part_names[name].content == single.parts[0].content
    assert os.path.samefile(single.path(name, "rows"), whole.path(name, "rows"))
