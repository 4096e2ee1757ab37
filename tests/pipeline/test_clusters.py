"""select-k, merge and assign: on digits, and on rows that were added later."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.view.verdict import read_verdict

from .cli import SMALL, embed, fail, succeed
from .planted import groups


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards) -> Path:
    """A store with the features of sixty digits, and their spectrum."""
    folder = tmp_path_factory.mktemp("clusters") / "artifacts"
    embed(folder, digit_shards)
    succeed(folder, "train", *SMALL)
    succeed(folder, "spectrum", "--k-max", "12")
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A store whose rows were fitted and assigned, their file, and a file of rows that come later:
    thirty of the same groups, and ten that are like none of them."""
    folder = tmp_path_factory.mktemp("imported")
    np.savez(folder / "first.npz", x=groups(120, 4, 0), key=[f"a{i}" for i in range(120)])
    alien = np.zeros((10, 24), np.float32)
    alien[np.arange(10), 10 + np.arange(10)] = -1
    later = np.concatenate([groups(30, 4, 1), alien])
    np.savez(folder / "later.npz", x=later, key=[f"b{i}" for i in range(40)])
    store = folder / "artifacts"
    succeed(store, "import", folder / "first.npz", "--model", "ViT-B-32")
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "4")
    return store, folder / "first.npz", folder / "later.npz"


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """A store of rows without clusters, and heads."""
    folder = tmp_path_factory.mktemp("noise")
    rows = np.random.default_rng(0).standard_normal((80, 24))
    np.savez(folder / "noise.npz", x=rows / np.linalg.norm(rows, axis=1, keepdims=True))
    store = folder / "artifacts"
    succeed(store, "import", folder / "noise.npz", "--model", "ViT-B-32")
    succeed(store, "train", *SMALL)
    return store


def clusters(store: Path, column: str = "cluster") -> np.ndarray:
    return np.array(Run.open(store).artifact("assignments").column(column))


def test_the_curve_is_printed_with_its_band_and_its_meaning(store):
    out = succeed(store, "select-k", "--resamples", "3").out
    bars = [line for line in out.splitlines() if "#" in line]
    assert next(int(line.split()[0]) for line in bars) == 2
    assert sum("<- shortest" in line for line in bars) == 1
    (shortest,) = re.findall(r"(\d+) clusters make the shortest code", " ".join(out.split()))
    chosen = int(shortest)
    assert f"\n{chosen:>6}  " in "\n" + out
    curve = Run.open(store).artifact("k_curve")
    assert " ".join(read_verdict(curve).sentence.split()) in " ".join(out.split())
    curve = Run.open(store).artifact("k_curve")
    assert curve.path(curve.only_part, "picture").read_bytes().startswith(b"\x89PNG")
    for row in curve.table(curve.only_part).to_pylist():
        assert row["low_nats"] <= row["high_nats"]


def test_the_given_grid_is_used(store):
    succeed(store, "select-k", "--grid", "3,5,9", "--resamples", "0")
    curve = Run.open(store).artifact("k_curve")
    rows = curve.table(curve.only_part).to_pylist()
    assert [row["k"] for row in rows] == [3, 5, 9]
    assert all(row["votes"] is None and row["low_nats"] is None for row in rows)
    succeed(store, "select-k", "--set", "select_k.grid=[]")


def test_k_beyond_the_spectrum_is_refused_and_the_error_says_what_to_do(store):
    message = fail(store, "select-k", "--grid", "3,13")
    assert "13" in message and "1 to 12" in message and "spectrum.k_max" in message
    succeed(store, "select-k", "--set", "select_k.grid=[]")


def test_several_k_are_columns_of_one_table(store):
    out = succeed(store, "assign", "--k", "4,2,7").out
    assert "(column cluster_7)" in out
    for column, k in (("cluster", 4), ("cluster_2", 2), ("cluster_7", 7)):
        assert set(clusters(store, column)) == set(range(k))
    alone = clusters(store, "cluster_7")
    succeed(store, "assign", "--k", "7")
    assert np.array_equal(clusters(store), alone)


@pytest.mark.parametrize("k", ["3,3", "0", "61", "three", ","])
def test_an_invalid_k_is_refused(store, k):
    assert "--k" in fail(store, "assign", "--k", k)
    succeed(store, "assign", "--k", "auto")


def test_levels_of_the_hierarchy_are_nested(store):
    out = succeed(store, "hierarchy", "--finest", "9").out
    assert "<- shortest" in out
    succeed(store, "assign", "--level", "6,3,1")
    fine, middle, one = (clusters(store, name) for name in ("cluster", "cluster_3", "cluster_1"))
    assert len(set(fine)) == 6
    assert len(set(middle)) == 3
    assert set(one) == {0}
    assert len(set(zip(fine, middle, strict=True))) == 6
    assert "1 to 9" in fail(store, "assign", "--level", "10")
    assert "--k and --level exclude each other" in fail(store, "assign", "--level", "2", "--k", "2")


def test_auto_cuts_the_hierarchy_at_the_shortest_code(store):
    succeed(store, "hierarchy", "--finest", "9")
    succeed(store, "assign", "--level", "auto")
    run = Run.open(store)
    assert len(set(clusters(store))) == run.artifact("hierarchy").facts["shortest"]
    succeed(store, "assign", "--k", "auto")


def test_later_rows_join_the_existing_clusters(imported):
    store, first, later = imported
    before = clusters(store)
    spectrum = Run.open(store).artifact("spectrum").version
    succeed(store, "import", first, later, "--model", "ViT-B-32")
    done = succeed(store, "assign")
    run = Run.open(store)
    assert "was fitted before rows were added and is kept" in done.err
    assert run.artifact("spectrum").version == spectrum
    rows = dict(zip(run.artifact("embeddings").column("key"), clusters(store), strict=True))
    assert [rows[f"a{i}"] for i in range(120)] == before.tolist()
    # The i-th row of either file lies around axis i % 4.
    assert [rows[f"b{i}"] for i in range(30)] == before[:30].tolist()


def test_rows_far_from_everything_fitted_are_counted(imported):
    store, first, later = imported
    succeed(store, "import", first, later, "--model", "ViT-B-32")
    out = succeed(store, "assign").out
    run = Run.open(store)
    assignments = run.artifact("assignments")
    keys = run.artifact("embeddings").column("key")
    novelty = dict(zip(keys, assignments.column("novelty"), strict=True))
    assert all(novelty[f"b{i}"] > 1 for i in range(30, 40))
    far = sum(one > 1 for one in novelty.values())
    assert far <= 13, "of 150 rows of the fitted groups hardly any are far"
    assert f"{far} rows are far from all rows that were fitted" in out
    assert len(assignments.column("cluster")) == 160


def test_an_unknown_affinity_is_refused(store):
    assert "membership" in fail(store, "spectrum", "--affinity", "cosine")


def test_the_membership_of_the_paper_can_be_chosen(tmp_path, digit_shards):
    store = tmp_path / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    out = succeed(store, "spectrum", "--affinity", "membership", "--k-max", "10").out
    assert "linked by membership" in out
    succeed(store, "assign", "--k", "5")
    assert set(clusters(store)) == set(range(5))


def test_a_longer_code_is_called_longer_with_what_to_do(noise):
    out = succeed(noise, "select-k", "--resamples", "0").out
    assert re.search(r"make the shortest code, \d+\.\d% longer than one cluster for all", out), out
    # A code that is longer saves nothing, so there is nothing to compare with a share.
    assert "less than the" not in out
    assert f"`cpp-pipe assign --k 20 --store {noise}`" in out


def test_an_unclear_code_gets_a_second_opinion_that_is_recorded(noise):
    out = succeed(noise, "select-k", "--resamples", "0").out
    facts = Run.open(noise).artifact("k_curve").facts
    k, communities = facts["chosen"], facts["communities"]
    assert (facts["span_low"], facts["span_high"]) == tuple(sorted((k, communities)))
    assert facts["bic"] >= 2
    assert f"a second opinion (Leiden communities) says {communities}; the two range from " in out


def test_without_igraph_the_second_opinion_is_absent_and_k_is_the_same(noise, monkeypatch):
    succeed(noise, "select-k", "--resamples", "0")
    k = Run.open(noise).artifact("k_curve").facts["chosen"]
    monkeypatch.setitem(sys.modules, "igraph", None)
    out = succeed(noise, "select-k", "--resamples", "1").out
    facts = Run.open(noise).artifact("k_curve").facts
    assert "second opinion" not in out
    assert facts["communities"] is None
    assert facts["span_low"] == facts["span_high"] == facts["chosen"] == k


@pytest.mark.parametrize("affinity", ["auto", "consensus", "membership"])
@pytest.mark.parametrize(("distinct", "k"), [(2, 2), (3, 2), (3, 3), (7, 7), (40, 40), (2, 5)])
def test_few_distinct_rows_give_fewer_clusters_and_a_message(tmp_path, affinity, distinct, k):
    rows = np.eye(48, dtype=np.float32)[np.arange(max(40, distinct)) % distinct]
    np.savez(tmp_path / "few.npz", x=rows)
    store = tmp_path / "artifacts"
    succeed(store, "import", tmp_path / "few.npz", "--model", "ViT-B-32")
    out = succeed(
        store, "assign", "--k", str(k), "--set", f"spectrum.affinity={affinity}"
    ).out  # fmt: skip
    found = len(set(clusters(store)))
    assert found == min(k, distinct)
    assert (f" instead of {k}: the rows have no more distinct groups" in out) == (found < k)
