"""Scores of unit rows, block by block."""

import numpy as np
import pytest

from cpp_pipe.stages.rows import unit_rows
from cpp_pipe.stages.rows.unit_rows import score_unit_rows

from .random_parts import make_embeddings


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 30])
def test_blocks_of_unit_rows_are_scored_in_order(tmp_path, monkeypatch, rows):
    """All rows of a part were scored at once: ten million of an imported file took 140 GB."""
    monkeypatch.setattr(unit_rows, "_ROWS", 8)
    artifact, x = make_embeddings(tmp_path, (rows,))
    reported: list[int] = []
    lengths: list[float] = []

    def score(block: np.ndarray) -> np.ndarray:
        assert block.dtype == np.float32 and len(block) <= 8
        lengths.extend(np.linalg.norm(block, axis=1).tolist())
        return block[:, 0]

    scores = score_unit_rows(artifact, "part-0", score, reported.append)
    wide = x.astype(np.float32)
    expected = wide[:, 0] / np.linalg.norm(wide, axis=1)
    assert scores.dtype == np.float32 and scores.shape == (rows,)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)
    assert sum(reported) == rows
