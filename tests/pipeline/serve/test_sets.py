"""Sets of images: filters and the order of rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from webdataset.writer import TarWriter

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.comparison import compare_clusters
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.view.column_facts import describe_columns
from cpp_pipe.pipeline.view.conditions import match_where
from cpp_pipe.stages.rows.part_rows import join_features

from ...stages.shards import digit_sample
from ..cli import DIGITS, succeed
from ..whole_store import update_digests
from .server import Served, serve


def rows_of(served: Served, **query) -> list[int]:
    """The rows of a set, in its order."""
    answer = served.get("/api/set/rows", **query)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i4").tolist()


@pytest.fixture(scope="module")
def columns(finished):
    """The columns of the assignments."""
    assignments = Run.open(finished).artifact("assignments")
    names = ("cluster", "confidence", "novelty", "cluster_3", "confidence_3")
    return {name: np.array(assignments.column(name)) for name in names}


@pytest.mark.parametrize(
    "query", [{}, {"grouping": "k-3"}, {"level": 4}, {"level": 8}, {"level": 1}]
)
def test_a_set_holds_every_row_once_by_cluster_and_falling_confidence(served, query):
    facts, rows = served.json("/api/set", **query), rows_of(served, **query)
    assert sorted(rows) == list(range(60)) and facts["total"] == 60
    items = served.json("/api/set/items", limit=60, **query)["items"]
    assert [item["row"] for item in items] == rows
    assert sum(facts["confidences"]) == 60
    end = 0
    for section in facts["sections"]:
        assert section["start"] == end
        end += section["size"]
        inside = items[section["start"] : end]
        assert {item["cluster"] for item in inside} == {section["cluster"]}
        confidences = [item["confidence"] for item in inside]
        assert confidences == sorted(confidences, reverse=True)
    assert end == 60
    sizes = [section["size"] for section in facts["sections"]]
    assert sizes == sorted(sizes, reverse=True)


def test_filters_leave_the_rows_that_pass_all_of_them(served, columns):
    confidence, cluster = columns["confidence"], columns["cluster"]
    wanted = (confidence >= 0.3) & (confidence <= 0.9) & np.isin(cluster, [0, 2, 3])
    query = {"min_confidence": 0.3, "max_confidence": 0.9, "cluster": [0, 2, 3]}
    assert sorted(rows_of(served, **query)) == wanted.nonzero()[0].tolist()
    third = columns["confidence_3"] <= 0.8
    assert (
        sorted(rows_of(served, grouping="k-3", max_confidence=0.8)) == third.nonzero()[0].tolist()
    )
    limit = float(np.sort(columns["novelty"])[-8])
    # Without the row at the limit, as where outliers are counted.
    novel = rows_of(served, novelty_above=limit, order="novel")
    assert novel == (-columns["novelty"]).argsort(kind="stable")[:7].tolist()
    doubtful = rows_of(served, order="doubtful")
    assert confidence[doubtful].tolist() == sorted(confidence.tolist())
    assert served.json("/api/set", order="doubtful")["sections"] == []


@pytest.mark.parametrize(
    "query", [{}, {"cluster": [1, 3]}, {"min_confidence": 0.6}, {"level": 4}, {"words": "nothing"}]
)
def test_the_clusters_of_a_set_are_the_same_in_every_order(served, query):
    facts = served.json("/api/set", **query)
    assert facts["clusters"] == [[each["cluster"], each["size"]] for each in facts["sections"]]
    assert sum(size for _, size in facts["clusters"]) == facts["total"]
    for order in ("doubtful", "novel"):
        assert served.json("/api/set", order=order, **query)["clusters"] == facts["clusters"]


def test_words_keep_the_clusters_whose_captions_contain_them(served, columns):
    cards = served.json("/api/clusters")["cards"]
    word = cards[2]["names"][0]["caption"]
    clusters = [card["id"] for card in cards if any(word in n["caption"] for n in card["names"])]
    wanted = np.isin(columns["cluster"], clusters).nonzero()[0].tolist()
    assert sorted(rows_of(served, words=f" {word.upper()} ")) == wanted
    assert rows_of(served, words="no caption has this") == []


def test_labels_are_counted_and_filtered(served, finished):
    labels = _labels(Run.open(finished))
    facts = served.json("/api/set")
    assert dict(map(tuple, facts["labels"])) == {each: labels.count(each) for each in set(labels)}
    label, count = facts["labels"][0]
    found = rows_of(served, label=label)
    assert len(found) == count and {labels[row] for row in found} == {label}
    answer = served.get("/api/set", label="no such label")
    assert answer.status_code == 400 and "no image has the label" in answer.json()["detail"]


def _labels(run: Run) -> list[str]:
    embeddings = run.artifact("embeddings")
    return [
        label
        for part in embeddings.parts
        for label in embeddings.table(part.name, columns=["label"]).column(0).to_pylist()
    ]


def test_rows_against_their_labels_have_a_rarer_label_of_their_cluster(served, finished, columns):
    labels, cluster = np.array(_labels(Run.open(finished))), columns["cluster"]
    wanted = []
    for row in range(60):
        names, counts = np.unique(labels[cluster == cluster[row]], return_counts=True)
        best = {name for name, count in zip(names, counts, strict=True) if count == counts.max()}
        if labels[row] not in best or (len(best) > 1 and labels[row] != min(best)):
            wanted.append(row)
    found = set(rows_of(served, only="against-labels"))
    certain = {row for row in range(60) if _has_one_best(labels[cluster == cluster[row]])}
    assert found & certain == set(wanted) & certain and found


def _has_one_best(labels: np.ndarray) -> bool:
    counts = np.sort(np.unique(labels, return_counts=True)[1])
    return len(counts) == 1 or counts[-1] > counts[-2]


def test_copies_are_all_but_the_one_to_keep(own_store):
    with serve(own_store) as served:
        answer = served.get("/api/set", only="duplicates")
        assert answer.status_code == 404 and "cpp-pipe duplicates" in answer.json()["detail"]
    succeed(own_store, "duplicates", "--above", "0.9")
    made = Run.open(own_store).artifact("duplicates")
    table = made.table(made.only_part).to_pylist()
    with serve(own_store) as served:
        spare = sorted(row["row"] for row in table if not row["kept"])
        assert spare and sorted(rows_of(served, only="duplicates")) == spare


def test_all_rows_of_a_set_meet_its_conditions(served, finished):
    labels = _labels(Run.open(finished))
    wanted = [row for row in range(60) if labels[row] not in ("3", "4")]
    assert sorted(rows_of(served, where=["label != 3", "label != 4"])) == wanted
    assert rows_of(served, where=["width > 100000"]) == []


@pytest.mark.parametrize(
    "query, words",
    [
        ({"where": "sharpness"}, "NAME OPERATOR VALUE"),
        ({"where": "nothing = 3"}, "nothing"),
        ({"grouping": "k-9"}, "grouping must be one of"),
        ({"level": 99}, "level must be from 1 to 8, got 99"),
        ({"cluster": 77}, "there is no cluster 77 here"),
        ({"tag": "nobody gave this"}, "no image has the tag"),
    ],
)
def test_an_invalid_filter_of_a_set_is_refused(served, query, words):
    answer = served.get("/api/set", **query)
    assert answer.status_code in (400, 404) and words in answer.json()["detail"]


def test_a_comparison_says_of_which_cluster_only_some_images_were_compared(finished, columns):
    """Of a small cluster beside a large one the page said that 4,000 images were compared."""
    sizes = np.bincount(columns["cluster"])
    small, large = int(sizes.argmin()), int(sizes.argmax())
    assert sizes[small] < sizes[large]
    opened = OpenRun(Run.open(finished))
    for most, sampled in ((int(sizes[small]), (None, sizes[small])), (60, (None, None))):
        compared = compare_clusters(opened, "k-5", small, large, most=most)
        assert tuple(side.sampled for side in compared.sides) == sampled
        assert compared.sampled == (sampled[1] is not None)
    opened.close()


def unit(x: np.ndarray) -> np.ndarray:
    """The rows scaled to unit length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_two_clusters_are_compared_by_their_mean_features(served, finished, columns):
    features = Run.open(finished).artifact("features")
    x = unit(
        np.concatenate(
            [
                join_features(features.array(part.name, "z"), features.array(part.name, "c"))
                for part in features.parts
            ]
        ).astype(np.float32)
    )
    means = [unit(x[columns["cluster"] == cluster].mean(0)) for cluster in (0, 1)]
    facts = served.json("/api/compare", a=0, b=1)
    assert facts["alike"] == pytest.approx(means[0] @ means[1], abs=2e-3)
    for cluster, side in enumerate(facts["sides"]):
        rows = (columns["cluster"] == cluster).nonzero()[0].tolist()
        margins = x @ (means[1 - cluster] - means[cluster])
        assert {item["row"] for item in side["typical"]} <= set(rows)
        assert {item["row"] for item in side["near"]} <= set(rows)
        found = [item["margin"] for item in side["near"]]
        assert len(found) == min(24, len(rows)) and found == sorted(found, reverse=True)
        assert found == pytest.approx([margins[item["row"]] for item in side["near"]], abs=2e-3)
        assert side["nearer"] == (margins[rows] > 0).sum()
    mirrored = served.json("/api/compare", a=1, b=0)
    assert mirrored["sides"] == facts["sides"][::-1]
    assert served.get("/api/compare", a=1, b=1).status_code == 400
    assert served.get("/api/compare", a=1, b=50).status_code == 404


def test_columns_are_listed_as_conditions_find_them(served):
    columns = {column["name"]: column for column in served.json("/api/columns")["columns"]}
    assert "label" in columns, "digits have labels"
    for name, column in columns.items():
        if column["values"] is None:
            for end in ("smallest", "largest"):
                assert rows_of(served, where=f"{name} = {column[end]!r}"), (name, end)
            assert not rows_of(served, where=f"{name} < {column['smallest']!r}")
            assert not rows_of(served, where=f"{name} > {column['largest']!r}")
            continue
        counts = [rows for _, rows in column["values"]]
        assert counts == sorted(counts, reverse=True)
        for value, rows in column["values"]:
            assert len(rows_of(served, where=f"{name} = '{value}'")) == rows, (name, value)


def test_columns_of_json_fields_and_scores_are_listed(tmp_path):
    store, shard = tmp_path / "store", tmp_path / "a.tar"
    fields = [
        {"taken": 2000 + number % 3, "camera": "old" if number % 4 else "new one", "note": "same",
         "id": f"x{number}", "sharp": number % 2 == 0, "gps": [1, 2], "key": number}
        for number in range(12)
    ]  # fmt: skip
    with TarWriter(str(shard)) as writer:
        for number, extra in enumerate(fields):
            writer.write({**digit_sample(number), "json": extra})
    succeed(store, "embed", "--shards", shard, *DIGITS)
    found = {column.name: column for column in describe_columns(Run.open(store))}
    assert (found["taken"].smallest, found["taken"].largest) == (2000, 2002)
    assert found["camera"].values == [("old", 9), ("new one", 3)]
    assert found["sharp"].values == [("false", 6), ("true", 6)]
    assert found["extra:key"].largest == 11, "a field that is named as a column is"
    assert not {"note", "id", "gps"} & set(found), "of one value, all different, or no value"


MADE_UP = ("[1]", "null", "7", '{"a": "\\ud800"}', '{"a": {"b": [1]}}', "{")


@pytest.mark.parametrize("extra", MADE_UP)
def test_forged_fields_are_listed_or_refused(own_store, extra):
    embeddings = Run.open(own_store).artifact("embeddings")
    part = embeddings.parts[0].name
    path = Path(str(embeddings.place(part, "rows")))
    table = pq.read_table(path)
    field = table.schema.field("extra")
    forged = pa.array([extra] * len(table), field.type)
    place = table.schema.get_field_index("extra")
    pq.write_table(table.set_column(place, field, forged), path, use_dictionary=False)
    folder = Path(str(embeddings.folder))
    update_digests(own_store, folder, part, "rows", path, embeddings.content)
    with serve(own_store) as server:
        answer = server.get("/api/columns")
        assert answer.status_code in (200, 503), answer.text


def test_a_field_named_like_a_score_is_not_taken_for_it(tmp_path):
    store, shard = tmp_path / "store", tmp_path / "a.tar"
    with TarWriter(str(shard)) as writer:
        for number in range(8):
            extra = {"aspect": number % 2 + 5, "extra:deep": number % 2}
            writer.write({**digit_sample(number), "json": extra})
    succeed(store, "embed", "--shards", shard, *DIGITS)
    found = {column.name: column for column in describe_columns(Run.open(store))}
    assert (found["extra:aspect"].smallest, found["extra:aspect"].largest) == (5, 6)
    assert "extra:extra:deep" in found and "aspect" not in found
    assert list(match_where(Run.open(store), ["extra:aspect = 6"])) == [
        n % 2 == 1 for n in range(8)
    ]
