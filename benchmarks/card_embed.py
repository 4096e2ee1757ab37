"""A part of `benchmarks.gpu`: images a second, of the slower of encoder and decoding."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from cpp_pipe.stages.encoding.models.bf16_products import bf16_of_processor

from .card import Figure, Setup
from .embed import MOBILE, limit_of, steps
from .embed_ways import Bench, command, random_weights
from .made_photographs import write_shards
from .measure import result_and_peak

SIDE = 256
IMAGES = 1000
"""In a shard."""
SHARDS = 24
SECONDS = 8
"""How long the command should embed, at the limit."""
OF_LIMIT = 0.95
"""Bar: of the limit that the command reaches."""
FED_BY_ONE = 1500
"""Images a second that a process which feeds a GPU certainly reads and moves; docs/at-scale.md."""
DIGITS = Path(__file__).resolve().parent.parent / "configs" / "digits-clip.json"
"""A shipped model that is small enough for tiny sizes."""
WHY = "from a fifth of the images to nine tenths"


class _Model(NamedTuple):
    name: str
    config: Path | None
    precision: str


def embed(setup: Setup) -> Iterator[Figure]:
    """Each model over the same made shards: its encoder alone, decoding alone, the command."""
    mobile = setup.models / MOBILE.name / f"{MOBILE.name}.json"
    models = [
        _Model(MOBILE.name, mobile, "fp32"),
        _Model("ViT-B-32", None, "bf16"),
        _Model("ViT-L-14", None, "bf16"),
    ]
    shards, images = (2, 8) if setup.is_tiny else (SHARDS, IMAGES)
    paths = write_shards(setup.folder / "shards", SIDE, shards, images)
    if setup.is_tiny:
        precision = "bf16" if setup.is_gpu or bf16_of_processor() else "fp32"
        models = [_Model(DIGITS.stem, DIGITS, precision)]
    for model in models:
        if model.config is not None and not model.config.is_file():
            yield Figure(name=model.name, note="left out: its files are not here")
            continue
        yield from _measure(model, paths, images, setup)


def _measure(model: _Model, paths: list[Path], images: int, setup: Setup) -> Iterator[Figure]:
    cores = torch.get_num_threads()
    bench = Bench(
        model=model.name,
        files=_files(model, setup.folder),
        device=setup.device,
        batch=8 if setup.is_tiny else 256,
        encoding_seconds=0.1 if setup.is_tiny else 2.0,
        settings={} if model.precision == "fp32" else {"precision": model.precision},
    )
    seconds, _ = result_and_peak(steps, bench, paths[0], cores)
    limit = limit_of(bench, seconds, cores).per_second
    what = f"{model.name} {model.precision}"
    yield Figure(name=f"{what}, encoder", value=1 / seconds["encode"], unit="images/s")
    decoding = cores / seconds["decode"]
    yield Figure(
        name=f"{what}, decoding",
        value=decoding,
        unit="images/s",
        note=f"processes or threads: {cores}",
    )
    some = paths[: max(2, math.ceil(limit * SECONDS / images))]
    best = 0.0
    for workers in sorted({1, max(1, min(cores // 2, round(limit / FED_BY_ONE)))}):
        measured, _ = result_and_peak(command, bench, some, workers)
        best = max(best, measured["steady_per_second"])
        yield Figure(
            name=f"{what}, {workers} process(es)",
            value=measured["steady_per_second"],
            unit="images/s",
            note=f"{WHY}; {measured['per_second']:,.0f} over all {measured['images']:,}",
        )
    yield Figure(name=f"{what}, of the limit", value=best / limit, bar=OF_LIMIT)


def _files(model: _Model, folder: Path) -> dict[str, Path]:
    """Weights, and the description of a model that open_clip does not have."""
    if model.config is None:
        return {"weights": random_weights(model.name, folder)}
    return {"weights": model.config.with_suffix(".safetensors"), "model_config": model.config}
