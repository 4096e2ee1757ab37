"""Near-duplicates: which made copies of real images are found, and what is mistaken for one.

    python -m benchmarks.duplicates     # shards of Caltech-101 and the small model in ../shared
    python -m benchmarks.duplicates --shards 'a/*.tar' --model ViT-B-32 --pretrained openai
    python -m benchmarks.duplicates --scale 200000    # time of both tiers, on made rows

A copy of each kind is made of some images, embedded with all images, and searched at several
similarities. `recall` is the share of copies in one group with their original. `precision` is the
share of dropped images whose kept image shows the same original. Similar images in the data set
itself lower it; `alike` counts those that are dropped for another. At a low similarity recall falls
again, because copies join the groups of other images. The line `same` is that tier, which compares
small grey images; there `alike` holds photographs that are twice in the data set, too. Where
imagededup is installed (`pip install imagededup`), its perceptual hash stands beside at its default
distance of 10 and at 4, by pairs of images: its recall is of copies in a pair with their original.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from webdataset.writer import TarWriter

from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.curation.near_duplicates import make_duplicates, make_tier
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.algorithms.duplicates.image_copies import find_copies
from cpp_pipe.stages.algorithms.duplicates.large_sets import near_duplicates_of_many
from cpp_pipe.stages.algorithms.duplicates.near_duplicates import NONE
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.copies import Copies
from cpp_pipe.stages.duplicates import default_threshold
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.sources.images.pixels import decode
from cpp_pipe.stages.sources.patterns import expand
from cpp_pipe.stages.sources.tar.shards import open_tar
from cpp_pipe.store import Artifact, Store

from .made_copies import CHANGES, made_images, made_rows, planted
from .measure import argument_parser, machine, parse_arguments, peak_so_far
from .ours import SETS

SHARED = SETS[0].parents[2]
SHARDS = str(SHARED / "data" / "caltech101" / "*.tar")
MODEL = SHARED / "models" / "mnv2-clip"
SIMILARITY = 0.95
"""Of made rows that are alike."""
THRESHOLDS = (0.85, 0.88, 0.9, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
"""Quantiles of the cosines that are printed."""
_PREFIX = "copy-"
"""Prefix of the key of a copy; kind and key of the original follow."""


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def reencoded(image: Image.Image, generator: np.random.Generator) -> bytes:
    """The same pixels as a JPEG of quality 50."""
    return _jpeg(image, 50)


def resized(image: Image.Image, generator: np.random.Generator) -> bytes:
    """Half the width and height."""
    size = (max(1, image.width // 2), max(1, image.height // 2))
    return _jpeg(image.resize(size, Image.Resampling.LANCZOS), 90)


def cropped(image: Image.Image, generator: np.random.Generator) -> bytes:
    """Cropped by 5 % of width and height, at a random place."""
    width, height = round(image.width * 0.95), round(image.height * 0.95)
    left = int(generator.integers(image.width - width + 1))
    top = int(generator.integers(image.height - height + 1))
    return _jpeg(image.crop((left, top, left + width, top + height)), 90)


def flipped(image: Image.Image, generator: np.random.Generator) -> bytes:
    """Mirrored left to right."""
    return _jpeg(ImageOps.mirror(image), 90)


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "reencoded": reencoded,
    "resized": resized,
    "cropped": cropped,
    "flipped": flipped,
}


def write_copies(shards: str, out: Path, images: int, seed: int) -> None:
    """Writes a tar shard for each kind of copy, of random images of the shards."""
    paths = [Path(str(path)) for path in expand([shards]).found]
    counts = []
    for path in paths:
        with open_tar(path, None) as tar:
            counts.append(len(tar.samples))
    generator = np.random.default_rng(seed)
    chosen = generator.choice(sum(counts), min(images, sum(counts)), replace=False)
    wanted, first = set(chosen.tolist()), 0
    with contextlib.ExitStack() as stack:
        writers = {
            kind: stack.enter_context(TarWriter(str(out / f"copies-{kind}.tar"))) for kind in KINDS
        }
        for path, count in zip(paths, counts, strict=True):
            with open_tar(path, None) as tar:
                for number, sample in enumerate(tar.samples):
                    if first + number not in wanted:
                        continue
                    image = decode(sample.read_image()).rgb
                    for kind, make in KINDS.items():
                        key = f"{_PREFIX}{kind}-{sample.key}"
                        writers[kind].write({"__key__": key, "jpg": make(image, generator)})
            first += count


def original(key: str) -> tuple[str | None, str]:
    """The kind of a copy and the key of its original; None and the key itself for no copy."""
    if not key.startswith(_PREFIX):
        return None, key
    kind, _, rest = key.removeprefix(_PREFIX).partition("-")
    return kind, rest


def score(duplicates: Artifact, keys: list[str]) -> dict[str, Any]:
    """Recall by kind, and precision, of the duplicates at one similarity."""
    rows = duplicates.table(duplicates.only_part).to_pylist()
    group_of = {row["key"]: row["group"] for row in rows}
    kept = {row["group"]: row["key"] for row in rows if row["kept"]}
    hits, seen = Counter(), Counter()
    for key in keys:
        kind, source = original(key)
        if kind is not None:
            seen[kind] += 1
            hits[kind] += key in group_of and group_of[key] == group_of.get(source)
    dropped = [row["key"] for row in rows if not row["kept"]]
    wrong = [key for key in dropped if original(key)[1] != original(kept[group_of[key]])[1]]
    return {
        "recall": {kind: round(hits[kind] / seen[kind], 4) for kind in KINDS},
        "precision": round(1 - len(wrong) / len(dropped), 4) if dropped else None,
        "dropped": len(dropped),
        "alike": sum(original(key)[0] is None for key in wrong),
        "largest_group": duplicates.facts["largest"],
    }


def similarities(embeddings: Artifact) -> dict[str, list[float]]:
    """Quantiles, at `SHARES`, of the cosines of copies with their originals.

    `nearest other` are those of originals with the nearest other original.
    """
    x, keys = gather(embeddings).astype(np.float32), embeddings.column("key")
    row_of = {key: row for row, key in enumerate(keys)}
    cosines: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for row, key in enumerate(keys):
        kind, source = original(key)
        if kind is not None:
            cosines[kind].append(float(x[row] @ x[row_of[source]]))
    own = x[[original(key)[0] is None for key in keys]]
    between = own @ own.T
    np.fill_diagonal(between, -1)
    cosines["nearest other"] = between.max(1).tolist()
    return {
        name: [round(float(quantile), 4) for quantile in np.quantile(values, SHARES)]
        for name, values in cosines.items()
    }


def on_images(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prints similarities, recall and precision; the figures at the model's default threshold."""
    with contextlib.ExitStack() as stack:
        folder = arguments.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        copies = folder / "copies"
        if not any(copies.glob("*.tar")):
            copies.mkdir(parents=True, exist_ok=True)
            write_copies(arguments.shards, copies, arguments.images, arguments.seed)
        embed = {"model": arguments.model, "pretrained": arguments.pretrained}
        if arguments.model_config:
            embed["model_config"] = arguments.model_config
        data = {"shards": [arguments.shards, str(copies)]}
        settings = Settings.from_tables({"embed": embed, "data": data}, "the benchmark")
        runtime = Runtime(device=arguments.device)
        plan = Plan(Store(folder / "store"), "copies", settings, runtime, print)
        embeddings = plan.make("embeddings")
        return _print(plan, embeddings)


def _print(plan: Plan, embeddings: Artifact) -> dict[str, Any]:
    spread = similarities(embeddings)
    shares = "".join(f"{f'{share:.0%}':>8}" for share in SHARES)
    print(f"\n{'cosine with the original':<26}{shares}")
    for name, quantiles in spread.items():
        print(f"{name:<26}" + "".join(f"{quantile:>8.3f}" for quantile in quantiles))
    default, keys = default_threshold(embeddings.facts["model"]), embeddings.column("key")
    print(f"\n{'above':>7}" + "".join(f"{kind:>11}" for kind in KINDS), end="")
    print(f"{'precision':>11}{'alike':>7}{'largest':>9}")
    curve: dict[float, dict[str, Any]] = {}
    for threshold in sorted({*THRESHOLDS, default}):
        duplicates = make_duplicates(plan, threshold, asked_by="the benchmark")
        row = curve[threshold] = score(duplicates, keys)
        recalls = "".join(f"{recall:>11.3f}" for recall in row["recall"].values())
        precision = "-" if row["precision"] is None else f"{row['precision']:.3f}"
        mark = " <- default" if threshold == default else ""
        rest = f"{precision:>11}{row['alike']:>7}{row['largest_group']:>9}{mark}"
        print(f"{threshold:>7.2f}{recalls}{rest}", flush=True)
    began = time.process_time()
    copies = make_tier(plan, "same", None, asked_by="the benchmark")
    seconds = time.process_time() - began
    same = score(copies, keys)
    recalls = "".join(f"{recall:>11.3f}" for recall in same["recall"].values())
    print(f"{'same':>7}{recalls}{same['precision'] or 0:>11.3f}{same['alike']:>7}", flush=True)
    print(f"the tier same took {seconds:.1f} s of a core, with reading all images again")
    return {
        "imagededup": by_imagededup([str(source) for source in plan.settings.data.shards]),
        "n": embeddings.rows,
        **same,
        "threshold": copies.facts["threshold"],
        "seconds_per_million": round(1e6 * seconds / embeddings.rows),
        "embeddings": {"threshold": default, **curve[default]},
        "similarities": spread,
        "curve": {str(threshold): row for threshold, row in curve.items()},
    }


def by_imagededup(patterns: list[str]) -> dict[str, Any]:
    """Recall and precision of imagededup's perceptual hash, by its distance; prints a line each."""
    if importlib.util.find_spec("imagededup") is None:
        return {}
    from imagededup.methods import PHash  # type: ignore[import-not-found]

    logging.getLogger("imagededup").setLevel(logging.WARNING)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for path in expand(patterns).found:
            with open_tar(Path(str(path)), None) as tar:
                for sample in tar.samples:
                    (Path(name) / sample.key).write_bytes(sample.read_image())
        began = time.perf_counter()
        hasher = PHash(verbose=False)
        hashes = hasher.encode_images(image_dir=name, num_enc_workers=0)
        encoded = time.perf_counter() - began
        for distance in (4, 10):
            found = hasher.find_duplicates(
                encoding_map=hashes, max_distance_threshold=distance, num_dist_workers=0
            )
            figures[str(distance)] = row = _score_pairs(found)
            recalls = "".join(f"{recall:>11.3f}" for recall in row["recall"].values())
            print(f"pHash {distance}{recalls}{row['precision']:>11.3f}{row['alike']:>7}")
    return {**figures, "encode_seconds": round(encoded, 1)}


def _score_pairs(found: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The same figures as `score`, of the images that each image is found to be like."""
    hits, seen = Counter(), Counter()
    for key, others in found.items():
        kind, source = original(key)
        if kind is not None:
            seen[kind] += 1
            hits[kind] += source in others
    pairs = [(one, other) for one, others in found.items() for other in others if one < other]
    wrong = [pair for pair in pairs if len({original(key)[1] for key in pair}) > 1]
    return {
        "recall": {kind: round(hits[kind] / seen[kind], 4) for kind in KINDS},
        "precision": round(1 - len(wrong) / len(pairs), 4) if pairs else 0.0,
        "pairs": len(pairs),
        "alike": sum(all(original(key)[0] is None for key in pair) for pair in wrong),
    }


def on_made(n: int, shards: str, seed: int, device: str) -> dict[str, Any]:
    """Seconds and recall of both tiers on n made rows and images, and on a fourth of them.

    `exponent` is the power of n by which time grows between the two sizes.
    """
    figures: dict[str, Any] = {"n": n}
    for tier in ("alike", "same"):
        measured = {}
        for size in (n // 4, n):
            measured[size] = figures[tier] = _on_made(tier, size, shards, seed, device)
        before, after = (max(0.1, measured[size]["cpu_seconds"]) for size in (n // 4, n))
        figures[tier]["exponent"] = round(float(np.log(after / before) / np.log(4)), 2)
        figures[tier]["seconds_per_million"] = round(1e6 * after / n)
        print(f"{tier}: {figures[tier]['seconds_per_million']} s of a core for a million rows,")
        print(f"time grows with n ^ {figures[tier]['exponent']}", flush=True)
    return figures


def _on_made(tier: str, n: int, shards: str, seed: int, device: str) -> dict[str, Any]:
    rows = made_rows(n, seed)
    images = made_images(n, shards, seed) if tier == "same" else None
    began, began_cpu = time.perf_counter(), time.process_time()
    facts = {}
    if images is not None:
        kept = find_copies(
            images,
            lambda numbers: rows[numbers],
            threshold=Copies().threshold,
            least_cosine=Copies().least_cosine,
            neighbours=Copies().neighbours,
        ).kept
    else:
        decided, recall = near_duplicates_of_many(
            lambda numbers: rows[numbers], np.arange(n), SIMILARITY, device=device
        )
        kept, facts = decided.kept, {"recall_of_pairs": recall.share, "pairs": recall.pairs}
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    first, second = planted(n, seed)
    group = np.where(kept == NONE, np.arange(n), kept)
    is_found = group[first] == group[second]
    figures = {
        "n": n,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "dropped": int((kept != NONE).sum()),
        "planted": n // 100,
        "recall": round(float(is_found.mean()), 4),
        **facts,
        "peak_mib": round(peak_so_far() / 2**20),
    }
    if tier == "same":
        recall = {name: is_found[number :: len(CHANGES)] for number, name in enumerate(CHANGES)}
        figures["recall"] = {name: round(float(is_in.mean()), 4) for name, is_in in recall.items()}
    print(f"{tier}, {n:,} rows: {seconds:.1f} s, {cpu:.1f} s of a core, {figures['dropped']:,}")
    print(f"dropped of {n // 100:,} planted, recall {figures['recall']}", flush=True)
    return figures


def main() -> None:
    """Prints the tables and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--shards", default=SHARDS)
    parser.add_argument("--model", default="mnv2-clip")
    parser.add_argument("--pretrained", default=str(MODEL / "mnv2-clip.safetensors"))
    parser.add_argument("--model-config", default=str(MODEL / "mnv2-clip.json"))
    parser.add_argument("--images", type=int, default=500, help="make copies of this many")
    parser.add_argument("--store", type=Path, help="keep the embeddings in this folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scale", type=int, default=0, help="time this many made rows instead, and a fourth"
    )
    arguments = parse_arguments(parser, shards=SHARDS.replace("*", "00008"), images=5)
    print(f"near-duplicates\n{machine()}")
    if arguments.scale:
        figures = on_made(arguments.scale, arguments.shards, arguments.seed, arguments.device)
    else:
        figures = on_images(arguments)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
