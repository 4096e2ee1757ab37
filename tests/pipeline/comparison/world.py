"""Runs of rows around a few axes, whose groups are known."""

from pathlib import Path

import numpy as np

from ..cli import succeed

GROUPS = 4
SIZE = 24


def rows(count: int, seed: int, noise: float = 0.35) -> np.ndarray:
    """Unit rows around the axes in turn."""
    generator = np.random.default_rng(seed)
    x = 3 * np.eye(GROUPS, SIZE)[np.arange(count) % GROUPS]
    x += noise * generator.standard_normal((count, SIZE))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def write(path: Path, chosen: np.ndarray, *, has_labels: bool = True) -> Path:
    """Some of 160 rows as a file of embeddings; a row has the same key in every file."""
    arrays = {"x": rows(160, 0)[chosen], "key": np.array([f"image-{n:03d}" for n in chosen])}
    labels = {"y": chosen % GROUPS} if has_labels else {}
    np.savez(path, **arrays, **labels)  # pyright: ignore[reportArgumentType]
    return path


def import_run(store: Path, run: str, file: Path) -> None:
    """A run of the embeddings of a file."""
    succeed(store, "import", file, "--model", "ViT-B-32", "--run", run)


def make_runs(folder: Path) -> Path:
    """A store with the run `all` of 160 rows in clusters, and the run `half` of every second."""
    store = folder / "artifacts"
    import_run(store, "all", write(folder / "all.npz", np.arange(160)))
    import_run(store, "half", write(folder / "half.npz", np.arange(0, 160, 2)))
    for run, k in (("all", "4"), ("half", "2")):
        succeed(store, "train", "--run", run, "--features", "16")
        succeed(store, "assign", "--run", run, "--k", k)
    return store
