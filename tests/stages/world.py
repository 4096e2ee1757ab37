"""A small real run: digits in tar shards, through every stage, made once for all tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.contract import Runtime, Stage
from cpp_pipe.stages.copies import Copies
from cpp_pipe.stages.draw_sprites import DrawSprites
from cpp_pipe.stages.duplicates import Duplicates
from cpp_pipe.stages.edits.edit import Edit
from cpp_pipe.stages.fingerprint import Fingerprint
from cpp_pipe.stages.fit_quantizer import FitQuantizer
from cpp_pipe.stages.import_embeddings import Import
from cpp_pipe.stages.index import Index
from cpp_pipe.stages.map import Map
from cpp_pipe.stages.measure import Measure
from cpp_pipe.stages.quantize import Quantize
from cpp_pipe.stages.score_by_head import HEAD, ScoreByHead
from cpp_pipe.stages.score_by_text import ScoreByText
from cpp_pipe.stages.seal import Seal
from cpp_pipe.stages.sources.embeddings.files import find_embeddings
from cpp_pipe.stages.sources.linear_head import digest_head
from cpp_pipe.stages.views import Views
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
"""Everything small: the contract is tested, not the quality."""


def plan_of(
    store: Store, shards: Path, settings: Settings = SETTINGS, run: str = "test", **runtime
) -> Plan:
    """A plan over some shards that prints nothing."""
    settings = settings.override("data", shards=(str(shards),))
    how = {"device": "cpu", "batch_size": 32, **runtime}
    return Plan(store, run, settings, Runtime(**how), lambda line: None)


@dataclass(frozen=True)
class Made:
    """A stage with its inputs, and the artifact that it made."""

    job: Job
    artifact: Artifact
    settings: Settings


PLANNED_SLOTS = (
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


OTHER_SLOTS = (
    "embeddings/imported",
    "views",
    "projection",
    "duplicates",
    "quantizer/embeddings",
    "lists/embeddings",
    "index/merged",
    "edits/final",
    "fingerprints",
    "sprites",
    "duplicates/copies",
    "scores/image",
    "scores/round",
    "scores/liked",
)
"""Slots that no plan makes by default."""

SLOTS = (*PLANNED_SLOTS, *OTHER_SLOTS)


def make_world(plan: Plan) -> dict[str, Made]:
    """Runs the stages that a plan makes by default."""
    return {
        slot: Made(artifact=plan.make(slot), job=plan.job(slot), settings=plan.settings)
        for slot in PLANNED_SLOTS
    }


def make_whole_world(plan: Plan, folder: Path) -> Mapping[str, Made]:
    """Runs every stage; `folder` gets a file of embeddings to import."""
    world = make_world(plan)
    artifacts = {slot: made.artifact for slot, made in world.items()}
    artifacts["words/guide"] = artifacts["words"]
    file = folder / "vectors.npz"
    np.savez(file, x=np.eye(12, 8, dtype=np.float32), key=[f"{row}" for row in range(8, 20)])
    sources = {part.part_name: part for part in find_embeddings(file)}
    head = write_head(folder / "liked.safetensors", artifacts["embeddings"])
    factory = "IVF2,SQ8"
    stages: dict[str, Stage] = {
        "embeddings/imported": Import(model="ViT-B-32", pretrained="openai"),
        "views": Views(guide_share=0.5),
        "projection": Map(method="pca", rows=40),
        "duplicates": Duplicates(threshold=0.99),
        "quantizer/embeddings": FitQuantizer(space="embeddings", factory=factory),
        "lists/embeddings": Quantize(space="embeddings"),
        "index/merged": Index(space="embeddings", factory=factory),
        "edits/final": Seal(edits=decisions_on(artifacts["assignments"])),
        "fingerprints": Fingerprint(),
        "sprites": DrawSprites(),
        "duplicates/copies": Copies(),
        "scores/image": Measure(),
        "scores/round": ScoreByText(score="round", text="a zero", unlike="a one"),
        "scores/liked": ScoreByHead(score="liked", head_sha256=digest_head(head)),
    }
    settings = world["embeddings"].settings
    for slot, stage in stages.items():
        images = world["embeddings"].job.runtime.sources
        own = sources if isinstance(stage, Import) else images if stage.reads_images else {}
        files = {**world["embeddings"].job.runtime.files, HEAD: head}
        runtime = Runtime(device="cpu", max_skipped=0.5, sources=own, files=files)
        inputs = {need: artifacts[need] for need in stage.needs}
        job = Job(slot=slot, stage=stage, inputs=inputs, runtime=runtime)
        artifacts[slot] = find_or_make(
            job, plan.store, plan.run, settings.tables(), lambda line: None
        )
        world[slot] = Made(artifact=artifacts[slot], job=job, settings=settings)
    return world


def write_head(path: Path, embeddings: Artifact) -> Path:
    """A linear head for some embeddings."""
    size = embeddings.facts["model"]["embedding_size"]
    weight = np.linspace(-1, 1, size, dtype=np.float32)[None]
    save_file({"weight": weight, "bias": np.array([0.5], np.float32)}, path)
    return path


def decisions_on(assignments: Artifact) -> tuple[Edit, ...]:
    """A name, and an excluded image that no longer exists."""
    common = {
        "by": "x",
        "at": "2026-01-01T00:00:00+00:00",
        "assignments": assignments.version,
        "k": assignments.facts["k"],
    }
    return (
        Edit(id="1", number=1, op="name", clusters=(0,), value="rings", **common),
        Edit(id="2", number=2, op="exclude", images=("nowhere:nothing",), **common),
    )
