"""A small store that an earlier version of the program made: its inputs and its digests.

`python -m tests.store.old_store` makes it and records it in `old_store.json`.
"""

import io
import json
import struct
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.pipeline.making.sources import model_files
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.copies import Copies
from cpp_pipe.stages.duplicates import Duplicates
from cpp_pipe.stages.edits.edit import Edit
from cpp_pipe.stages.import_embeddings import Import
from cpp_pipe.stages.map import Map
from cpp_pipe.stages.score_by_head import HEAD, ScoreByHead
from cpp_pipe.stages.score_by_text import ScoreByText
from cpp_pipe.stages.seal import Seal
from cpp_pipe.stages.sources.embeddings.files import find_embeddings
from cpp_pipe.stages.sources.linear_head import digest_head
from cpp_pipe.store import Store

RECORDED = Path(__file__).with_name("old_store.json")

RUNS: Mapping[str, tuple[str, ...]] = {
    "imported": ("embeddings", "duplicates"),
    "default": (
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
        "duplicates",
        "projection",
        "edits/final",
        "fingerprints",
        "sprites",
        "duplicates/copies",
        "scores/image",
        "scores/squares",
        "scores/liked",
    ),
    "levels": ("assignments", "captions"),
    "lists": ("quantizer/features", "lists/features", "index/features"),
    "views": ("views", "heads", "features"),
}
"""The slots of each run, in the order in which they are made."""

SLOTS = tuple((run, slot) for run, names in RUNS.items() for slot in names)

IMAGES, SHARDS = 60, 2
WORDS = ("a dark square", "a light square", "noise", "stripes")


def settings_of(run: str, folder: Path) -> Settings:
    """The defaults wherever they suit a small store, so that they are recorded too."""
    words = str(folder / "words.txt")
    tables: dict[str, dict[str, Any]] = {
        "data": {"shards": [str(folder / "shards" / "*.tar")]},
        "embed": {"model": "digits-clip", "pretrained": "shipped"},
        "caption": {"vocabulary": words},
    }
    more: dict[str, dict[str, dict[str, Any]]] = {
        "levels": {"assign": {"method": "hierarchy", "k": [3, 2]}},
        "lists": {"index": {"factory": "IVF2,SQ8"}},
        "views": {"views": {"guide": words, "beside": ["imported"]}},
    }
    return Settings.from_tables({**tables, **more.get(run, {})}, "tests")


# Its inputs: bytes that follow from formulas.


def write_inputs(folder: Path) -> None:
    """Two shards of images, a file of embeddings, and a vocabulary."""
    (folder / "shards").mkdir(parents=True)
    per_shard = IMAGES // SHARDS
    for shard in range(SHARDS):
        rows = range(shard * per_shard, (shard + 1) * per_shard)
        (folder / "shards" / f"{shard}.tar").write_bytes(_tar(rows))
    with (folder / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, vectors(), version=(1, 0))
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    save_file({"weight": np.arange(32, dtype=np.float32)}, _head(folder))


def vectors() -> np.ndarray:
    """Rows whose lengths are whole numbers, so that any processor scales them to the same bytes."""
    x = np.zeros((IMAGES, 8), np.float32)
    for row in range(IMAGES):
        first, second = row % 8, (row + 1 + row // 8 % 7) % 8
        x[row, first], x[row, second] = 3, 4 * (-1) ** (row // 3)
    return x


def _tar(rows: range) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            image = _bmp(row)
            entry = tarfile.TarInfo(f"{row:02d}.bmp")
            entry.size = len(image)
            tar.addfile(entry, io.BytesIO(image))
    return written.getvalue()


def _bmp(row: int, side: int = 16) -> bytes:
    """An image of 24 bits a pixel: a square that grows with the row, on stripes."""
    pixels = bytearray()
    for y in range(side):
        for x in range(side):
            is_inside = max(abs(x - 8), abs(y - 8)) < 1 + row % 7
            value = (row * 40) % 256 if is_inside else (x * (1 + row % 3) * 29) % 256
            pixels += bytes([value, (value + row) % 256, value])
    size = 54 + len(pixels)
    header = struct.pack("<2sIHHI", b"BM", size, 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0) + pixels


# Making it.


def plan_of(store: Store, run: str, folder: Path) -> Plan:
    """The plan that makes the artifacts of a run."""
    runtime = Runtime(device="cpu", batch_size=32)
    return Plan(store, run, settings_of(run, folder), runtime, lambda line: None)


def job_of(plan: Plan, slot: str, folder: Path) -> Job:
    """The job that makes a slot; missing inputs are made first."""
    if plan.run == "imported" and slot == "embeddings":
        sources = {part.part_name: part for part in find_embeddings(folder / "x.npy")}
        stage = Import(model="ViT-B-32", pretrained="openai")
        runtime = replace(plan.runtime, sources=sources)
        return Job(slot=slot, stage=stage, inputs={}, runtime=runtime)
    by_hand = {
        "duplicates": Duplicates,
        "duplicates/copies": Copies,
        "projection": Map,
        "edits/final": lambda: _seal(plan),
        "scores/squares": lambda: ScoreByText(score="squares", text=WORDS[0], unlike=WORDS[1]),
        "scores/liked": lambda: ScoreByHead(score="liked", head_sha256=digest_head(_head(folder))),
    }
    if slot not in by_hand:
        return plan.job(slot)
    stage = by_hand[slot]()
    inputs = {need: plan.make(need, asked_by=slot) for need in stage.needs}
    files = {**model_files(plan.settings.embed), HEAD: _head(folder)}
    runtime = replace(plan.runtime, files=files)
    return Job(slot=slot, stage=stage, inputs=inputs, runtime=runtime)


def _head(folder: Path) -> Path:
    return folder / "liked.safetensors"


def _seal(plan: Plan) -> Seal:
    """A name and an exclusion, decided on the run's clusters."""
    assignments = plan.make("assignments", asked_by="edits/final")
    on = {"assignments": assignments.version, "k": int(assignments.facts["k"])}
    who = {"by": "x", "at": "2026-01-01T00:00:00+00:00"}
    return Seal(
        edits=(
            Edit(id="1", number=1, op="name", clusters=(0,), value="squares", **who, **on),
            Edit(id="2", number=2, op="exclude", images=("0.tar:03",), **who, **on),
        )
    )


def record(folder: Path) -> dict[str, Any]:
    """Makes all runs; returns their versions, and the manifests without what differs by machine."""
    store = Store(folder / "store")
    write_inputs(folder)
    for run, slots in RUNS.items():
        plan = plan_of(store, run, folder)
        for slot in slots:
            find_or_make(job_of(plan, slot, folder), store, run, {}, lambda line: None)
    manifests = [artifact.manifest.to_json() for artifact in store.artifacts()]
    for manifest in manifests:
        del manifest["made_by"]
    versions = {run: dict(store.runs.read(run).versions) for run in RUNS}
    return {"pyarrow": pa.__version__, "runs": versions, "artifacts": manifests}


# Restoring it.


def restore(store: Store, recorded: Mapping[str, Any]) -> None:
    """Writes the recorded manifests and runs into a store, without the files of artifacts."""
    for value in recorded["artifacts"]:
        name = f"{value['kind']}/{value['version']}/manifest.json"
        store.write(name, json.dumps({**value, "made_by": {}}).encode())
    for run, versions in recorded["runs"].items():
        store.runs.update(run, versions=versions)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        made = record(Path(name))
    RECORDED.write_text(f"{json.dumps(made, indent=1)}\n")
