"""Clusters of several views of each image: a guide of words, and a second model.

    python -m benchmarks.views                  # sets and vocabularies in ../shared, 2 seeds
    python -m benchmarks.views --seeds 1 --sets oxford_pets

Both are options, off by default. ACC and NMI are at the true k by default settings; labels serve
them alone. Guides are real CLIP embeddings of two vocabularies; `imagenet` holds the names of
many dog and cat breeds, `lvis` holds none. The second model is ../shared/models/mnv2-clip
on the photographs of Caltech-101, which the benchmark embeds first.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.metrics import normalized_mutual_info_score

from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.training import Trainer
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.algorithms.views import View
from cpp_pipe.stages.artifact_rows import gather
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.spectrum import Spectrum
from cpp_pipe.stages.views import join_views
from cpp_pipe.store import Store

from .measure import machine
from .ours import SETS, SHARED, Features, Fitted, features_of, load

GUIDES = ("imagenet", "lvis")
GUIDE_SHARES = (0.3,)


def embed(shards: Path, model: Path) -> tuple[list[str], ndarray]:
    """Keys, and embeddings by a local model, of the images of shards."""
    settings = Settings.from_tables(
        {
            "data": {"shards": [f"{shards}/*.tar"]},
            "embed": {
                "model": model.name,
                "model_config": str(model / f"{model.name}.json"),
                "pretrained": str(model / f"{model.name}.safetensors"),
            },
        },
        "benchmark",
    )
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Store(folder), "views", settings, Runtime(), lambda line: None)
        made = plan.make("embeddings")
        return made.column("key"), gather(made).astype(np.float32)


def features(x: ndarray, views: Sequence[View], seed: int) -> Features:
    """Features of heads that start at several views of each row."""
    trainer = Trainer(torch.from_numpy(x), TrainingConfig(seed=seed), "cpu", views)
    return features_of(x[:, : views[0].size], trainer, "")


def guided(x: ndarray, share: float, vocabulary: str) -> tuple[ndarray, list[View]]:
    """Rows beside what the words of a vocabulary say of them."""
    with np.load(SHARED / f"text_{vocabulary}.npz", allow_pickle=False) as file:
        words = torch.nn.functional.normalize(torch.from_numpy(file["t"].astype(np.float32)))
    rows = join_views(x, [], words, "cpu").astype(np.float32)
    return rows, [View(x.shape[1], 1 - share), View(x.shape[1], share)]


def settings_of(path: Path) -> Iterator[tuple[str, ndarray, list[View]]]:
    """What is compared on a set: a name, rows, and their views."""
    x, _ = load(path)
    yield "no guide", x, [View(x.shape[1], 1.0)]
    for vocabulary in GUIDES:
        for share in GUIDE_SHARES:
            yield f"{vocabulary}, {share:g}", *guided(x, share, vocabulary)
    shards, model = SHARED.parent / path.stem, SHARED.parents[1] / "models" / "mnv2-clip"
    if shards.is_dir() and model.is_dir():
        keys, other = embed(shards, model)
        with np.load(path, allow_pickle=False) as file:
            place = {key: row for row, key in enumerate(keys)}
            other = other[[place[key] for key in file["key"].tolist()]]
        yield f"{model.name} alone", other, [View(other.shape[1], 1.0)]
        both = join_views(x, [other], None, "cpu").astype(np.float32)
        yield f"beside {model.name}", both, [View(x.shape[1], 0.5), View(other.shape[1], 0.5)]


def main() -> None:
    """Prints a row for each set and setting, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sets", nargs="*", default=[path.stem for path in SETS])
    asked = parser.parse_args()
    began = time.monotonic()
    print(f"views, true k, {asked.seeds} seed(s)\n{machine()}")
    print(f"{'set':<14}{'views':<22}{'ACC':>7}{'spread':>8}{'NMI':>7}")
    line: dict[str, Any] = {}
    for path in (path for path in SETS if path.stem in asked.sets):
        _, y = load(path)
        k = int(y.max()) + 1
        for name, x, views in settings_of(path):
            found = []
            for seed in range(asked.seeds):
                labels = Fitted.of(features(x, views, seed), Spectrum(seed=seed), k).labels(k)
                found.append((accuracy(y, labels), normalized_mutual_info_score(y, labels)))
            acc, nmi = np.mean(found, axis=0)
            spread = float(np.ptp([one[0] for one in found]))
            print(f"{path.stem:<14}{name:<22}{acc:>7.3f}{spread:>8.3f}{nmi:>7.3f}", flush=True)
            scores = {"acc": float(acc), "nmi": float(nmi)}
            line.setdefault(path.stem, {})[name] = {x: round(one, 4) for x, one in scores.items()}
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"benchmark": "views", "sets": line, "seconds": seconds}))


if __name__ == "__main__":
    main()
