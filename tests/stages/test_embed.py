"""Embedding as a stage: what its progress counts."""

from pathlib import Path

from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.contract import Runtime, Silent
from cpp_pipe.store import Store

from .shards import write_shards
from .sources.image_files import write_folder
from .world import SETTINGS


class Totals(Silent):
    """Progress that keeps the totals that a count of images had."""

    def __init__(self) -> None:
        self.totals: list[int] = []

    def start(self, what: str, total: int, unit: str) -> None:
        """Keeps the first total."""
        if unit == "images":
            self.totals.append(total)

    def revise(self, total: int) -> None:
        """Keeps a further total."""
        self.totals.append(total)


def totals_of_embedding(store: Path, **sources: tuple[str, ...]) -> list[int]:
    progress = Totals()
    settings = SETTINGS.override("data", **sources)
    runtime = Runtime(device="cpu", batch_size=32, progress=progress)
    Plan(Store(store), "test", settings, runtime, lambda line: None).make("embeddings")
    return progress.totals


def test_the_images_of_folders_are_counted_before_the_first_is_embedded(tmp_path):
    folder = write_folder(tmp_path / "photos", 20)
    assert totals_of_embedding(tmp_path / "store", images=(str(folder),)) == [20]


def test_only_images_of_added_folders_are_counted_when_a_run_goes_on(tmp_path):
    folder, store = write_folder(tmp_path / "photos", 20), tmp_path / "store"
    totals_of_embedding(store, images=(str(folder),))
    other = write_folder(tmp_path / "others", 7)
    assert totals_of_embedding(store, images=(str(folder), str(other))) == [7]


def test_samples_of_shards_without_counts_are_estimated_until_all_are_listed(tmp_path):
    shards = write_shards(tmp_path / "shards", shards=4, size=10)
    first, *estimates = totals_of_embedding(tmp_path / "store", shards=tuple(map(str, shards)))
    assert first == 0 and len(estimates) == 4
    assert estimates[-1] == 40
