"""Precision and average precision agree with scikit-learn's, query by query."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchmarks.retrieval import retrieval


@pytest.mark.parametrize("seed", range(5))
def test_precision_and_average_precision_agree_with_an_oracle(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 6, 700)
    z = rng.standard_normal((6, 8))[y] + rng.standard_normal((700, 8))
    precisions, averages = [], []
    for row in range(700):
        others = np.arange(700) != row
        cosine = z[others] @ z[row] / np.linalg.norm(z[others], axis=1)
        right = y[others] == y[row]
        precisions.append(right[np.argsort(-cosine)[:10]].mean())
        averages.append(average_precision_score(right, cosine))
    p, average = retrieval(z, y).over_queries
    assert p == pytest.approx(np.mean(precisions))
    assert average == pytest.approx(np.mean(averages))
    by_class = [np.mean(np.array(averages)[y == label]) for label in range(6)]
    assert retrieval(z, y).map_by_class == pytest.approx(np.mean(by_class))


def test_a_row_never_finds_itself_and_singleton_labels_are_no_queries():
    z = np.eye(3)[[0, 0, 1, 2]]
    scores = retrieval(z, np.array([0, 0, 1, 2]), nearest=1)
    assert scores.over_queries == (1.0, 1.0)
    assert retrieval(z, np.array([0, 1, 0, 1]), nearest=1).over_queries[0] == 0.25
