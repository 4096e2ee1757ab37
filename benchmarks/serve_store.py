"""A store to serve: planted rows in clusters and a hierarchy, with images in tars."""

import io
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

from cpp_pipe.pipeline.config import IndexSettings
from cpp_pipe.pipeline.making.index_stages import make_index
from cpp_pipe.pipeline.serve.tree import LEVELS, Tree
from cpp_pipe.stages.algorithms.clustering.hierarchy import cut
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.draw_sprites import A_SHEET, COLUMNS, SIDE
from cpp_pipe.stages.sources.tar.shards import TarShard
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store
from cpp_pipe.store.kinds import (
    ASSIGNMENTS,
    CAPTIONS,
    EMBEDDINGS,
    FEATURES,
    HIERARCHY,
    PROJECTION,
    SPRITES,
    Kind,
)

from .planted import planted

RUN = "served"
PART_ROWS = 10_000
CONFIGS: dict[str, dict[str, Any]] = {ASSIGNMENTS.name: {"k": "auto", "method": "spectral"}}
LEAVES, CLUSTERS = 200, 100
IMAGES = 1_000
"""Random images in a tar; the rows of its part share them."""


def make_store(
    folder: Path,
    rows: int,
    p: int = 128,
    images: Sequence[tuple[bytes, int, int]] = (),
    *,
    has_map: bool = False,
) -> None:
    """Writes a run with everything that is served; its features are its embeddings.

    Images are encoded photographs with their width and height, or else smooth random ones. They are
    used again and again where there are fewer than rows. A map places the clusters of the finest
    level on a circle.
    """
    x, leaf = planted(LEAVES, rows, p=p, noise=0.3)
    store = Store(folder / "store")
    names, tars, sources = {}, {}, {}
    for number, start in enumerate(range(0, rows, PART_ROWS)):
        chosen = images[start % max(1, len(images)) :][:PART_ROWS]
        path = folder / f"part-{number:05d}.tar"
        places = _make_tar(path, chosen or _random_images(number))
        # A row is read only where its shard is the one that became its part.
        name = TarShard.of(path).part_name
        names[name], tars[name], sources[name] = start, places, str(path)
    made: dict[str, Artifact] = {}

    def make(
        slot: str,
        kind: Kind,
        inputs: tuple[str, ...],
        write: Callable[..., Product],
        config: dict[str, Any] | None = None,
    ) -> None:
        whole = kind in (HIERARCHY, CAPTIONS, PROJECTION)
        parts = {kind.name: 0} if whole else names
        if kind is SPRITES:
            parts = {f"sheet-{first:06d}": first for first in range(0, rows, A_SHEET)}
        draft = store.draft(
            Recipe(
                kind=kind.name,
                format=kind.format,
                stage="benchmark",
                revision=1,
                config={**CONFIGS.get(kind.name, {}), **(config or {"slot": slot})},
                parts={name: {"planted": name} for name in parts},
            )
        )
        for name, start in parts.items():
            block = slice(start, min(rows, start + PART_ROWS))
            draft.make_part(name, partial(_write_part, write, name, block))
        made[slot] = draft.publish({name: made[name] for name in inputs}, {"device": "cpu"})

    left, right = _mergings()
    levels = Tree(left, right).kept_levels
    confidence = np.random.default_rng(1).beta(5, 1.5, rows).astype(np.float32)

    def assignments(scratch: Scratch, block: slice, ks: tuple[int, ...]) -> Product:
        clusters = [cut(np.array(left), np.array(right), k)[leaf[block]] for k in ks]
        return _write_assignments(scratch, block, ks, clusters, confidence[block])

    def embeddings(scratch: Scratch, name: str, block: slice) -> Product:
        return _write_embeddings(scratch, name, x[block].astype(np.float16), tars[name])

    def features(scratch: Scratch, _: str, block: slice) -> Product:
        return _write_features(scratch, x[block])

    make("embeddings", EMBEDDINGS, (), embeddings)
    make("features", FEATURES, ("embeddings",), features)
    make(
        "hierarchy",
        HIERARCHY,
        ("features",),
        lambda scratch, *_: _write_hierarchy(scratch, left, right),
    )
    make(
        "assignments",
        ASSIGNMENTS,
        ("embeddings", "features"),
        lambda scratch, _, block: assignments(scratch, block, (CLUSTERS,)),
    )
    make(
        LEVELS,
        ASSIGNMENTS,
        ("embeddings", "features", "hierarchy"),
        lambda scratch, _, block: assignments(scratch, block, levels),
    )
    make(
        "captions",
        CAPTIONS,
        ("embeddings", "assignments"),
        lambda scratch, *_: _write_captions(scratch),
    )
    if has_map:
        config = {"method": "planted", "space": "features"}
        make(
            "projection",
            PROJECTION,
            ("features",),
            lambda scratch, *_: _write_map(scratch, leaf),
            config,
        )
        squares = [square for name in names for square in _draw_squares(sources[name])]
        sizes = [len(tars[name]) for name in names]

        def sprites(scratch: Scratch, _: str, block: slice) -> Product:
            shown = range(block.start, min(rows, block.start + A_SHEET))
            return _write_sheet(scratch, shown, squares, sizes)

        make("sprites", SPRITES, ("embeddings",), sprites)
    versions = {slot: artifact.version for slot, artifact in made.items()}
    store.runs.update(RUN, versions=versions, sources=sources)
    for space in ("features", "embeddings"):
        make_index(
            made[space],
            store=store,
            run=RUN,
            settings=IndexSettings(),
            runtime=Runtime(device="cpu"),
            say=lambda line: None,
        )


def _write_part(
    write: Callable[..., Product], name: str, block: slice, scratch: Scratch
) -> Product:
    return write(scratch, name, block)


def _random_images(seed: int) -> list[tuple[bytes, int, int]]:
    """Smooth random images of 320 x 240, encoded."""
    generator, images = np.random.default_rng(seed), []
    for _ in range(IMAGES):
        small = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
        images.append((buffer.getvalue(), 320, 240))
    return images


class Place(NamedTuple):
    """Where an image lies in its tar, and its pixels."""

    offset: int
    size: int
    width: int
    height: int


def _make_tar(path: Path, images: Sequence[tuple[bytes, int, int]]) -> list[Place]:
    """Writes images into a tar; the place of each."""
    with tarfile.open(path, "w") as tar:
        for number, (encoded, _, _) in enumerate(images):
            entry = tarfile.TarInfo(f"{number:06d}.jpg")
            entry.size = len(encoded)
            tar.addfile(entry, io.BytesIO(encoded))
    with tarfile.open(path) as tar:
        return [
            Place(entry.offset_data, entry.size, width, height)
            for entry, (_, width, height) in zip(tar, images, strict=True)
        ]


def _mergings() -> tuple[list[int], list[int]]:
    """Left and right clusters of random mergings of the leaves."""
    generator = np.random.default_rng(2)
    alive, left, right = list(range(LEAVES)), [], []
    for parent in range(LEAVES, 2 * LEAVES - 1):
        first, second = sorted(generator.choice(len(alive), 2, replace=False).tolist())
        pair = sorted((alive[first], alive[second]))
        left.append(pair[0])
        right.append(pair[1])
        alive = [cluster for cluster in alive if cluster not in pair] + [parent]
    return left, right


def _write_embeddings(scratch: Scratch, name: str, x: np.ndarray, tar: Sequence[Place]) -> Product:
    places = [tar[row % len(tar)] for row in range(len(x))]
    columns = {
        "key": [f"{name}-{row:06d}" for row in range(len(x))],
        "shard": [f"{name}.tar"] * len(x),
        "offset": [place.offset for place in places],
        "size": [place.size for place in places],
        "width": [place.width for place in places],
        "height": [place.height for place in places],
        "caption": [
            f"a caption of image {row} of {name}, of usual length" for row in range(len(x))
        ],
        "url": [f"https://example.com/{name}/{row:06d}.jpg" for row in range(len(x))],
        "extra": ['{"punsafe": 0.01, "similarity": 0.3}'] * len(x),
        "embedding": x,
    }
    scratch.write_table("rows", columns)
    scratch.write_table("skipped", [])
    facts = {
        "shard": f"{name}.tar",
        "seen": len(x),
        "embedded": len(x),
        "skipped": {},
        "source": "tar",
    }
    return Product(rows=len(x), facts=facts, shared={"model": _model(x.shape[1])})


def _model(size: int) -> dict[str, Any]:
    return {"model": "planted", "pretrained": "none", "embedding_size": size}


def _write_features(scratch: Scratch, x: np.ndarray) -> Product:
    halves = np.split((2**0.5 * x).astype(np.float16), 2, axis=1)
    for role, half in zip(FEATURES.files, halves, strict=True):
        np.save(scratch.path(role), half)
    shared = {"feature_size": halves[0].shape[1], "model": _model(x.shape[1])}
    return Product(rows=len(x), shared=shared)


def _write_hierarchy(scratch: Scratch, left: list[int], right: list[int]) -> Product:
    levels = list(range(LEAVES, 0, -1))
    columns = {
        "level": levels,
        "parent": [None, *range(LEAVES, 2 * LEAVES - 1)],
        "left": [None, *left],
        "right": [None, *right],
        "coding_length_nats": [1e6 + (level - 30) ** 2 for level in levels],
    }
    scratch.write_table("rows", columns)
    save_file(
        {"centroids": np.zeros((LEAVES, 2), np.float32), "pieces": np.arange(LEAVES)},
        scratch.path("leaves"),
    )
    return Product(rows=LEAVES, shared={"finest": LEAVES, "shortest": 30})


def _write_assignments(
    scratch: Scratch,
    block: slice,
    ks: tuple[int, ...],
    clusters: list[np.ndarray],
    confidence: np.ndarray,
) -> Product:
    columns = {
        "key": [str(row) for row in range(block.start, block.stop)],
        "cluster": clusters[0],
        "confidence": confidence,
        "novelty": np.zeros(len(confidence), np.float32),
    }
    for k, labels in zip(ks[1:], clusters[1:], strict=True):
        columns |= {f"cluster_{k}": labels, f"confidence_{k}": confidence}
    scratch.write_table("rows", columns, numbers=ks[1:])
    return Product(rows=len(confidence), shared={"k": ks[0], "clusters": {str(k): k for k in ks}})


def _write_map(scratch: Scratch, leaf: np.ndarray) -> Product:
    """The rows of each leaf around a place of its own."""
    generator = np.random.default_rng(3)
    middles = generator.uniform(-0.9, 0.9, (LEAVES, 2))
    places = middles[leaf] + generator.normal(0, 0.02, (len(leaf), 2))
    x, y = np.clip(places, -1, 1).astype(np.float32).T
    scratch.write_table("rows", {"x": x, "y": y})
    return Product(rows=len(leaf), shared={"fitted": len(leaf)})


def _draw_squares(path: str) -> list[Image.Image]:
    """A small square of each image of a tar."""
    squares = []
    with tarfile.open(path) as tar:
        for entry in tar:
            file = tar.extractfile(entry)
            assert file is not None, "a regular file"
            image = Image.open(file)
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            squares.append(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)))
    return squares


def _write_sheet(
    scratch: Scratch, rows: range, squares: Sequence[Image.Image], sizes: Sequence[int]
) -> Product:
    """One sheet of squares; `sizes` are the numbers of images in each tar."""
    sheet = Image.new("RGB", (COLUMNS * SIDE, COLUMNS * SIDE))
    for place, row in enumerate(rows):
        part, inside = divmod(row, PART_ROWS)
        square = squares[sum(sizes[:part]) + inside % sizes[part]]
        sheet.paste(square, (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
    sheet.save(scratch.path("sheet"), "JPEG", quality=85)
    scratch.write_table("rows", {"row": list(rows)})
    shared = {"side": SIDE, "columns": COLUMNS}
    return Product(rows=len(rows), facts={"unreadable": 0}, shared=shared)


def _write_captions(scratch: Scratch) -> Product:
    rows = [
        {
            "cluster": cluster,
            "rank": rank,
            "caption": f"word {cluster} {rank}",
            "score": 0.5 / rank,
            "votes": 1,
        }
        for cluster in range(CLUSTERS)
        for rank in range(1, 6)
    ]
    scratch.write_table("rows", rows)
    scratch.write_table("levels", [])
    return Product(rows=len(rows), shared={"k": CLUSTERS, "rule": "planted"})
