"""Samples: each strategy does what its name says, and equal seeds give equal samples."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.curation.selection import is_line, read_keys
from cpp_pipe.store import Store

from ..cli import fail, succeed
from ..planted import groups

SIZES = (80, 30, 8, 2)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store of four clusters of unequal sizes, with labels that name them."""
    folder = tmp_path_factory.mktemp("sampling")
    of = np.repeat(np.arange(4), SIZES)
    rows = groups(4 * len(of), 4, 0)[4 * np.arange(len(of)) + of]
    keys = [f"k{row:03d}" for row in range(len(of))]
    np.savez(folder / "rows.npz", x=rows, key=keys, label=[f"class {group}" for group in of])
    succeed(folder / "artifacts", "import", folder / "rows.npz", "--model", "ViT-B-32")
    succeed(folder / "artifacts", "assign", "--k", "4")
    return folder / "artifacts"


def chosen(store: Path, *flags: str | Path) -> list[int]:
    keys = json.loads(succeed(store, "sample", "--json", *flags).out)["keys"]
    assert len(keys) == len(set(keys))
    return [int(key.rpartition(":k")[2]) for key in keys]


def classes(rows: list[int]) -> list[int]:
    """The number of rows of each class."""
    return np.bincount(np.repeat(np.arange(4), SIZES)[rows], minlength=4).tolist()


def test_balanced_takes_as_many_of_each_and_all_of_the_small(store):
    assert classes(chosen(store, "-n", "32", "--strategy", "balanced", "--by", "label")) == [
        11, 11, 8, 2,
    ]  # fmt: skip
    assert classes(chosen(store, "-n", "4", "--strategy", "balanced", "--by", "label")) == [1] * 4


def test_typical_follows_cluster_sizes(store):
    cluster = np.array(Run.open(Store(store)).artifact("assignments").column("cluster"))
    rows = chosen(store, "-n", "60", "--strategy", "typical")
    counts = np.bincount(cluster[rows], minlength=cluster.max() + 1)
    assert counts == pytest.approx(np.bincount(cluster) / 2, abs=1)


def test_doubtful_and_novel_take_the_ends_of_their_columns(store):
    assignments = Run.open(Store(store)).artifact("assignments")
    for strategy, column, sign in (("doubtful", "confidence", 1), ("novel", "novelty", -1)):
        values = sign * np.array(assignments.column(column))
        rows = chosen(store, "-n", "9", "--strategy", strategy)
        assert values[rows].max() <= np.sort(values)[8]


def test_diverse_covers_more_than_random_and_says_so(store, monkeypatch):
    value = json.loads(succeed(store, "sample", "-n", "8", "--json").out)
    ours, random = (value["coverage"][name] for name in ("this sample", "random"))
    assert ours["distance"] < random["distance"]
    cluster = Run.open(Store(store)).artifact("assignments").column("cluster")
    rows = [int(key.rpartition(":k")[2]) for key in value["keys"]]
    assert ours["clusters"] == len({cluster[row] for row in rows})
    monkeypatch.setenv("COLUMNS", "80")
    table = succeed(store, "sample", "-n", "8").out
    assert "random" in table and "distance: from an image to the nearest" in table
    assert all(len(line) <= 80 for line in table.splitlines() if not line.startswith("next:"))


def test_strategies_are_mixed_by_their_parts_and_no_image_is_taken_twice(store):
    rows = chosen(store, "-n", "40", "--strategy", "doubtful=3,novel=1")
    assert rows[:30] == chosen(store, "-n", "30", "--strategy", "doubtful")
    assert len(set(rows)) == 40
    assert sorted(chosen(store, "-n", "999", "--strategy", "diverse,typical")) == list(range(120))


@pytest.mark.parametrize("part", ["nan", "inf", "0", "-1", "1e308", "1e-320"])
def test_a_part_of_a_strategy_that_overflows_is_refused(store, part):
    line = fail(store, "sample", "--strategy", f"diverse={part},novel=1")
    assert "parts up to 1,000,000, got" in line


def test_the_same_seed_chooses_the_same_and_another_does_not(store):
    flags = ("-n", "12", "--strategy", "balanced")
    assert chosen(store, *flags) == chosen(store, *flags)
    assert chosen(store, *flags) != chosen(store, *flags, "--seed", "1")


def test_already_chosen_images_are_not_chosen_again(store, tmp_path):
    succeed(store, "sample", "-n", "20", "--out", tmp_path / "first.txt")
    first = (tmp_path / "first.txt").read_text().split("\n")[:-1]
    value = succeed(store, "sample", "-n", "20", "--beside", tmp_path / "first.txt", "--json")
    assert not set(first) & set(json.loads(value.out)["keys"])
    counted = succeed(store, "curate", "--keys", tmp_path / "first.txt", "--dry-run").out
    assert "chosen 20" in counted


def test_a_written_sample_can_be_read_by_curate_and_sample(store, tmp_path):
    lines, table = tmp_path / "keys.txt", tmp_path / "keys.parquet"
    for path in (lines, table):
        succeed(store, "sample", "-n", "20", "--out", path)
    rows = pq.read_table(table).to_pylist()
    assert [f"{row['shard']}:{row['key']}" for row in rows] == lines.read_text().splitlines()
    assert [row["row"] for row in rows] == chosen(store, "-n", "20")
    clusters = Run.open(Store(store)).artifact("assignments").column("cluster")
    assert [row["cluster"] for row in rows] == [clusters[row["row"]] for row in rows]
    for path in (lines, table):
        assert "chosen 20" in succeed(store, "curate", "--keys", path, "--dry-run").out
        assert "chosen 100" in succeed(store, "curate", "--not-keys", path, "--dry-run").out
        more = succeed(store, "sample", "-n", "100", "--beside", path, "--json").out
        assert not set(json.loads(more)["keys"]) & set(lines.read_text().splitlines())


@pytest.mark.parametrize(
    "name", ["s:a.png", "s:a b", "s:a\nb", "s:a\rb", "s:a\x85b", "s:a\u2028b", "s:a ", " s:a", ""]
)
def test_a_name_is_a_line_where_it_is_read_back_from_one(tmp_path, name):
    (tmp_path / "keys.txt").write_text(f"{name}\n", encoding="utf-8", newline="\n")
    assert is_line(name) == (read_keys(tmp_path / "keys.txt", "--keys") == {name})


def test_keys_that_are_no_lines_are_written_as_a_table_only(tmp_path):
    """They were written as lines of which no command could read one back."""
    keys = [f"k{row}\u2028" for row in range(20)]
    np.savez(tmp_path / "rows.npz", x=groups(20, 2, 0), key=keys)
    store = tmp_path / "artifacts"
    succeed(store, "import", tmp_path / "rows.npz", "--model", "ViT-B-32")
    succeed(store, "assign", "--k", "2")
    line = fail(store, "sample", "-n", "4", "--out", tmp_path / "keys.txt")
    assert "cannot be a line of text: write the keys as .parquet" in line
    assert not (tmp_path / "keys.txt").exists()
    succeed(store, "sample", "-n", "4", "--out", tmp_path / "keys.parquet")
    out = succeed(store, "curate", "--keys", tmp_path / "keys.parquet", "--dry-run").out
    assert "chosen 4" in out


@pytest.mark.parametrize("name", ["keys", "keys.csv", "keys.png", "keys.txt.gz"])
def test_a_sample_is_written_in_no_other_format(store, tmp_path, name):
    line = fail(store, "sample", "-n", "5", "--out", tmp_path / name)
    assert "--out must end in .txt, .parquet or .pq" in line
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_keys_is_refused_as_a_list_of_keys(store, tmp_path):
    pq.write_table(pa.table({"row": [1]}), tmp_path / "rows.parquet")
    (tmp_path / "no.parquet").write_text("a line")
    for name, says in (("rows", "has no column `key`"), ("no", "cannot be read as Parquet")):
        path = tmp_path / f"{name}.parquet"
        assert says in fail(store, "curate", "--keys", path, "--dry-run")


def test_decisions_are_respected_and_a_sample_can_be_tagged(store):
    run = Run.open(Store(store))
    run.edits.exclude(images=list(range(100)))
    rows = chosen(store, "-n", "200", "--edits", "open", "--tag", "look")
    assert sorted(rows) == list(range(100, 120))
    assert run.edits.edited().tags["look"].nonzero()[0].tolist() == list(range(100, 120))
    run.edits.undo()
    run.edits.undo()


def test_a_tag_that_cannot_be_is_refused_before_anything_is_written(store, tmp_path):
    for tag, message in (("a\nb", "one line of text"), (" ", "tag needs a tag")):
        line = fail(store, "sample", "-n", "5", "--out", tmp_path / "keys.txt", "--tag", tag)
        assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--strategy", "best"], "must be of diverse"),
        (["--strategy", "diverse=0"], "--strategy must be"),
        (["--strategy", "diverse,diverse"], "each name once"),
        (["--strategy", ""], "must be of diverse"),
        (["--by", "colour"], "no row has such a field"),
        (["--by", "caption"], "needs current captions"),
        (["--beside", "nowhere.txt"], "cannot be read"),
    ],
)
def test_an_invalid_sample_is_one_line_of_error(store, flags, message):
    assert message in fail(store, "sample", *flags)
