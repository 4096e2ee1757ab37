"""Distances to the nearest cluster are exact, and outliers come first."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpp_pipe.pipeline.curation.outliers import outlier_table, rank_outliers
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.store import Store

from ...stages.world import make_world, plan_of
from ..cli import SMALL, succeed


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory, digit_shards):
    """Embeddings, assignments and captions of digits."""
    made = make_world(plan_of(Store(tmp_path_factory.mktemp("outliers")), digit_shards))
    return [made[slot].artifact for slot in ("embeddings", "assignments", "captions")]


def test_the_distance_is_to_the_nearest_mean_without_the_row_itself(artifacts):
    embeddings, assignments, _ = artifacts
    x = gather(embeddings).astype(np.float64)
    cluster = np.array(assignments.column("cluster"))
    ranking = rank_outliers(embeddings, assignments)
    expected = []
    for row, vector in enumerate(x):
        cosines = []
        for number in np.unique(cluster):
            others = (cluster == number) & (np.arange(len(x)) != row)
            mean = x[others].mean(0) if others.any() else -vector
            cosines.append(float(vector @ mean / np.linalg.norm(mean)))
        expected.append(1 - max(cosines))
    assert sorted(ranking.rows.tolist()) == list(range(len(x)))
    np.testing.assert_allclose(ranking.distances, np.array(expected)[ranking.rows], atol=1e-5)
    assert (np.diff(ranking.distances) <= 0).all()
    assert ranking.quantile(0.5) == pytest.approx(np.median(expected), abs=1e-5)


def test_the_table_holds_the_columns_of_each_row(artifacts):
    embeddings, assignments, captions = artifacts
    ranking = rank_outliers(embeddings, assignments)
    whole = outlier_table(ranking, embeddings, assignments, captions)
    assert len(whole) == embeddings.rows
    first = outlier_table(ranking, embeddings, assignments, None, 3)
    assert "cluster_caption" not in first.column_names
    assert first.to_pylist() == whole.drop_columns(["cluster_caption"]).slice(0, 3).to_pylist()
    keys, clusters = embeddings.column("key"), assignments.column("cluster")
    for row in whole.to_pylist():
        assert row["key"] == keys[row["row"]]
        assert row["cluster"] == clusters[row["row"]]


def test_outliers_come_first_alone_or_in_a_cluster_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5, 32))
    x = np.repeat(centres, 40, axis=0) + 0.5 * rng.standard_normal((200, 32))
    outliers = np.array([0, 70, 199])
    x[outliers] = 3 * rng.standard_normal((3, 32))
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32))
    store, out = tmp_path / "store", tmp_path / "all.parquet"
    succeed(store, "import", tmp_path / "x.npz", "--model", "ViT-B-32", "--pretrained", "openai")
    succeed(store, "train", *SMALL)
    for k in ("5", "8"):
        succeed(store, "assign", "--k", k)
        done = succeed(store, "outliers", "-n", "3", "--out", out)
        assert sorted(int(line.split()[2]) for line in done.out.splitlines()[1:4]) == [0, 70, 199]
        table = pq.read_table(out)
        assert sorted(table.column("row").to_pylist()[:3]) == outliers.tolist()
        assert len(table) == 200
