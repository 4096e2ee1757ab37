"""Names of classes whose labels are numbers: shown wherever labels are, without other scores."""

from pathlib import Path

import numpy as np
import pytest

from cpp_pipe.pipeline.run import Run
from cpp_pipe.pipeline.serve.image_facts import describe_image
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.view.evaluation import Evaluation
from cpp_pipe.pipeline.view.labels import first_rows

from ..cli import succeed

CLASSES = np.arange(60) % 3
NAMES = ("zebra", "ant", "mole")


def clustered(folder: Path, names: tuple[str, ...] | None) -> Run:
    """A run of embeddings of an .npz whose labels are numbers, with the names of these or not."""
    x = np.random.default_rng(0).normal(size=(60, 16)) / 3 + np.eye(3, 16)[CLASSES]
    arrays = {"x": x.astype(np.float32), "y": CLASSES}
    if names is not None:
        arrays["class_name"] = np.array(names)
    np.savez(folder / "rows.npz", **arrays)  # pyright: ignore[reportArgumentType]
    store = folder / "artifacts"
    succeed(store, "import", folder / "rows.npz", "--model", "ViT-B-32")
    succeed(store, "train", "--features", "8")
    succeed(store, "assign", "--k", "3")
    return Run.open(store)


def labels_of(evaluation: Evaluation) -> set[str]:
    return {row.majority for row in evaluation.per_cluster}


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Run:
    return clustered(tmp_path_factory.mktemp("named"), NAMES)


def test_scores_are_shown_by_the_names_of_classes_and_stay_the_same(named, tmp_path):
    plain, shown = clustered(tmp_path, None).evaluate(), named.evaluate()
    assert labels_of(plain) <= {"0", "1", "2"} and labels_of(shown) <= set(NAMES)
    assert [NAMES[int(row.majority)] for row in plain.per_cluster] == [
        row.majority for row in shown.per_cluster
    ]
    assert (shown.clusters, shown.chance, shown.kmeans) == (
        plain.clusters, plain.chance, plain.kmeans,
    )  # fmt: skip


def test_the_page_shows_the_names_of_classes(named):
    opened = OpenRun(named)
    try:
        codes, names = opened.labels
        assert [names[code] for code in codes] == [NAMES[number] for number in CLASSES]
        # Beside the names in clusters and filters, an image had the label 2.
        assert describe_image(opened, 5).label == NAMES[2]
    finally:
        opened.close()


def test_the_numbers_are_shown_where_two_classes_have_one_name(tmp_path):
    run = clustered(tmp_path, ("crane", "ant", "crane"))
    assert labels_of(run.evaluate()) <= {"0", "1", "2"}


def test_the_first_row_of_each_code_is_found_past_rows_without_one():
    assert first_rows(np.array([-1, 1, 1, 0, -1, 1, 0]), 2).tolist() == [3, 1]
