"""Clusters by several views of each image: a guide of words, and a second model.

    python -m benchmarks.views                  # sets and vocabularies in ../shared, 2 seeds
    python -m benchmarks.views --seeds 1 --sets oxford_pets

Both are options, off by default. ACC and NMI are at the true k with default settings; only they use
labels. Guides are real CLIP embeddings of two vocabularies: `imagenet` has the names of many breeds
of dogs and cats, `lvis` has none. The second model is ../shared/models/mnv2-clip on the photographs
of Caltech-101, which the benchmark embeds first.
"""

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
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.spectrum import Spectrum
from cpp_pipe.stages.views import join_views
from cpp_pipe.store import Store

from .measure import argument_parser, machine, parse_arguments
from .ours import SETS, SHARED, Features, Fitted, features_of, load

GUIDES = ("imagenet", "lvis")
GUIDE_SHARES = (0.3,)


TINY_SHARD, TINY_GUIDES = "00008.tar", ("imagenet",)
"""A shard of Caltech-101, whose images are all rows with `--tiny`, and its guides."""


def embed(shards: str, model: Path) -> tuple[list[str], ndarray]:
    """Keys, and embeddings by a local model, of the images of shards."""
    settings = Settings.from_tables(
        {
            "data": {"shards": [shards]},
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
        embeddings = plan.make("embeddings")
        return embeddings.column("key"), gather(embeddings).astype(np.float32)


def features(x: ndarray, views: Sequence[View], seed: int) -> Features:
    """Features of heads that start from several views of each row."""
    trainer = Trainer(torch.from_numpy(x), TrainingConfig(seed=seed), "cpu", views)
    return features_of(x[:, : views[0].size], trainer, "")


def guided(x: ndarray, share: float, vocabulary: str) -> tuple[ndarray, list[View]]:
    """Rows joined with their guide by a vocabulary, and both views."""
    with np.load(SHARED / f"text_{vocabulary}.npz", allow_pickle=False) as file:
        words = torch.nn.functional.normalize(torch.from_numpy(file["t"].astype(np.float32)))
    rows = join_views(x, [], words, "cpu").astype(np.float32)
    return rows, [View(x.shape[1], 1 - share), View(x.shape[1], share)]


def settings_of(
    path: Path, guides: Sequence[str], shard: str
) -> Iterator[tuple[str, ndarray, ndarray, list[View]]]:
    """Name, rows, labels and views of each setting on a set.

    `shard` is the pattern of the shards that the second model embeds; if it names one shard, all
    settings have only the rows of that shard.
    """
    x, y = load(path)
    shards, model = SHARED.parent / path.stem, SHARED.parents[1] / "models" / "mnv2-clip"
    other: ndarray | None = None
    if shards.is_dir() and model.is_dir():
        keys, other = embed(f"{shards}/{shard}", model)
        with np.load(path, allow_pickle=False) as file:
            place = {key: row for row, key in enumerate(keys)}
            places = [place.get(key, -1) for key in file["key"].tolist()]
        rows = np.flatnonzero(np.array(places) >= 0)
        x, y, other = x[rows], np.unique(y[rows], return_inverse=True)[1], other[places][rows]
    yield "no guide", x, y, [View(x.shape[1], 1.0)]
    for vocabulary in guides:
        for share in GUIDE_SHARES:
            joined, views = guided(x, share, vocabulary)
            yield f"{vocabulary}, {share:g}", joined, y, views
    if other is not None:
        yield f"{model.name} alone", other, y, [View(other.shape[1], 1.0)]
        both = join_views(x, [other], None, "cpu").astype(np.float32)
        yield f"beside {model.name}", both, y, [View(x.shape[1], 0.5), View(other.shape[1], 0.5)]


def main() -> None:
    """Prints a row for each set and setting, and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sets", nargs="*", default=[path.stem for path in SETS])
    arguments = parse_arguments(parser, seeds=1, sets=["caltech101"])
    guides, shard = (TINY_GUIDES, TINY_SHARD) if arguments.tiny else (GUIDES, "*.tar")
    began = time.monotonic()
    print(f"views, true k, {arguments.seeds} seed(s)\n{machine()}")
    print(f"{'set':<14}{'views':<22}{'ACC':>7}{'spread':>8}{'NMI':>7}")
    table: dict[str, Any] = {}
    for path in (path for path in SETS if path.stem in arguments.sets):
        for name, x, y, views in settings_of(path, guides, shard):
            k, scores = int(y.max()) + 1, []
            for seed in range(arguments.seeds):
                labels = Fitted.of(features(x, views, seed), Spectrum(seed=seed), k).labels(k)
                scores.append((accuracy(y, labels), normalized_mutual_info_score(y, labels)))
            acc, nmi = np.mean(scores, axis=0).tolist()
            spread = float(np.ptp([score[0] for score in scores]))
            print(f"{path.stem:<14}{name:<22}{acc:>7.3f}{spread:>8.3f}{nmi:>7.3f}", flush=True)
            row = {"acc": round(acc, 4), "nmi": round(nmi, 4)}
            table.setdefault(path.stem, {})[name] = row
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"benchmark": "views", "sets": table, "seconds": seconds}))


if __name__ == "__main__":
    main()
