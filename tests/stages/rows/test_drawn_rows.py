"""Rows of a sample equal those of the artifact, and only their parts are opened."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.rows.artifact_rows import EMBEDDING, gather
from cpp_pipe.stages.rows.sampled_rows import gather_picks, gather_rows, split_by_part
from cpp_pipe.stages.rows.streamed_rows import StreamedRows
from cpp_pipe.store import Artifact

from .random_parts import make_embeddings, make_features

SIZES = (70, 0, 1, 300, 40)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Embeddings and features in parts of these sizes, by the role of their rows."""
    folder = tmp_path_factory.mktemp("drawn")
    embeddings, x = make_embeddings(folder, SIZES)
    parts = np.split(x[:, :2], np.cumsum(SIZES)[:-1])
    return {EMBEDDING: embeddings, "z": make_features(folder, parts)}


@pytest.mark.parametrize("role", [EMBEDDING, "z"])
@given(rows=st.lists(st.integers(0, sum(SIZES) - 1)).map(sorted))
def test_drawn_rows_equal_the_same_rows_of_the_artifact(artifacts, role, rows):
    artifact = artifacts[role]
    assert (gather_rows(artifact, role, rows) == gather(artifact, role)[rows]).all()


@pytest.mark.parametrize("role", [EMBEDDING, "z"])
def test_each_part_can_be_read_on_its_own(artifacts, role):
    rows = np.arange(0, sum(SIZES), 9)
    picks = list(split_by_part(artifacts[role], rows))
    assert [name for name, _ in picks] == ["part-0", "part-3", "part-4"]
    pieces = [gather_picks(Artifact(artifacts[role].folder), role, [pick]) for pick in picks]
    assert (np.concatenate(pieces) == gather_rows(artifacts[role], role, rows)).all()


def test_parts_without_drawn_rows_are_not_opened(tmp_path: Path):
    artifact, x = make_embeddings(tmp_path, (5, 6, 7))
    artifact.path("part-1", "rows").unlink()
    rows = [0, 4, 11, 17]
    assert (gather_rows(artifact, EMBEDDING, rows) == x[rows]).all()


def test_streamed_rows_open_only_the_parts_of_their_sample(tmp_path: Path):
    import torch

    artifact, x = make_embeddings(tmp_path, (5, 6, 7))
    artifact.path("part-1", "rows").unlink()
    streamed = StreamedRows(artifact, 0, 0)
    assert streamed.shape == x.shape
    assert (streamed[torch.tensor([4, 11])].numpy() == x[[4, 11]]).all()
