"""The JSON API over a real run: what it says is what the store holds."""

import json

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.models import MOST_ROWS
from cpp_pipe.store import QueryError

from ..cli import SMALL, succeed
from .serving import serve


@pytest.fixture(scope="module")
def run(finished):
    return Run.open(finished)


def test_the_run_is_told_as_it_stands(served, run):
    told = served.json("/api/run")
    assert (told["name"], told["rows"], told["seen"], told["skipped"]) == ("default", 60, 60, [])
    assert [one["name"] for one in told["groupings"]] == ["k-5", "k-3"]
    assert told["groupings"][0]["k"] == run.artifact("assignments").facts["k"]
    assert told["tree"]["finest"] == len(told["tree"]["nats"]) and told["tree"]["has_rows"]
    assert [one["k"] for one in told["curve"] if one["chosen"]] == [
        run.artifact("k_curve").facts["chosen"]
    ]
    assert told["absent"] == [] and told["has_map"] and told["spaces"] == ["features", "embeddings"]
    versions = {one["slot"]: one["version"] for one in told["made"]}
    assert versions == dict(run.record.versions)
    assert next(one for one in told["made"] if one["slot"] == "heads")["settings"]["hidden"] == 32


@pytest.mark.parametrize("grouping, column", [("k-5", "cluster"), ("k-3", "cluster_3")])
def test_cards_count_the_rows_of_their_clusters(served, run, grouping, column):
    assignments = run.artifact("assignments")
    cluster = np.array(assignments.column(column))
    confidence = np.array(assignments.column(column.replace("cluster", "confidence")))
    novelty = np.array(assignments.column("novelty"))
    cards = served.json("/api/clusters", grouping=grouping)["cards"]
    for card in cards:
        rows = np.flatnonzero(cluster == card["id"])
        assert card["size"] == len(rows)
        assert card["confidence"] == pytest.approx(float(confidence[rows].mean()), rel=1e-5)
        assert card["far"] == int((novelty[rows] > 1).sum())
        members = [one["row"] for one in card["typical"] + card["doubtful"]]
        assert set(members) <= set(rows.tolist()) and len(members) == len(set(members))
    assert sum(card["size"] for card in cards) == 60


def test_captions_are_those_of_the_clusters(served, run):
    captions = run.artifact("captions")
    table = captions.table(captions.only_part).to_pylist()
    best = {row["cluster"]: row["caption"] for row in table if row["rank"] == 1}
    cards = served.json("/api/clusters")["cards"]
    assert {card["id"]: card["names"][0]["caption"] for card in cards} == best


def test_each_level_of_the_tree_holds_every_row_once(served, run):
    told = served.json("/api/run")["tree"]
    nodes = served.json("/api/tree")["nodes"]
    assert [one["id"] for one in nodes] == list(range(2 * told["finest"] - 1))
    for level in range(1, told["finest"] + 1):
        there = [one for one in nodes if one["coarsest"] <= level <= one["finest"]]
        assert len(there) == level
        assert sum(one["size"] for one in there) == 60
    top = nodes[-1]
    shares = {one["caption"]: one["score"] for one in top["names"]}
    assert 0 < sum(shares.values()) <= 1 + 1e-6


def test_a_node_is_as_sure_as_its_rows_are_at_its_kept_level(served, run):
    levels = run.artifact("assignments/levels")
    finest = served.json("/api/run")["tree"]["finest"]
    kept = [finest, *(int(k) for k in levels.facts["clusters"] if int(k) != finest)]
    confidence = {
        level: np.array(levels.column("confidence" + (f"_{level}" if level < finest else "")))
        for level in kept
    }
    for node in served.json("/api/tree")["nodes"]:
        if not node["size"]:
            continue
        path = f"/api/clusters/{node['id']}/rows"
        items = served.json(path, grouping="tree", limit=MOST_ROWS)["items"]
        level = min(one for one in kept if one >= node["coarsest"])
        mean = confidence[level][[one["row"] for one in items]].mean()
        assert node["confidence"] == pytest.approx(float(mean), abs=1e-5)


def test_rows_of_a_cluster_come_in_pages_by_confidence(served):
    whole = served.json("/api/clusters/1/rows", limit=MOST_ROWS)
    confidences = [one["confidence"] for one in whole["items"]]
    assert confidences == sorted(confidences, reverse=True)
    assert len(whole["items"]) == whole["total"]
    paged = [
        one
        for offset in range(0, whole["total"], 4)
        for one in served.json("/api/clusters/1/rows", offset=offset, limit=4)["items"]
    ]
    assert paged == whole["items"]
    reversed_ = served.json("/api/clusters/1/rows", order="doubtful", limit=MOST_ROWS)["items"]
    assert reversed_ == whole["items"][::-1]
    assert served.json("/api/clusters/1/rows", offset=10_000)["items"] == []


def test_a_node_has_the_rows_of_its_card(served):
    nodes = served.json("/api/tree")["nodes"]
    for node in nodes:
        path = f"/api/clusters/{node['id']}/rows"
        told = served.json(path, grouping="tree", limit=MOST_ROWS)
        assert told["total"] == node["size"]
        assert [one["row"] for one in told["items"]][: len(node["typical"])] == [
            one["row"] for one in node["typical"]
        ]


def test_a_cluster_is_told_in_full(served, run):
    told = served.json("/api/clusters/0")
    assert told["card"] == served.json("/api/clusters")["cards"][0]
    assert sum(told["histogram"]) == told["card"]["size"]
    for values in told["singular_values"].values():
        assert values[0] == 1 and values == sorted(values, reverse=True)
    assert len(told["singular_values"]["features"]) == min(16, told["sampled"])
    assert [one["alike"] for one in told["near"]] == sorted(
        (one["alike"] for one in told["near"]), reverse=True
    )
    assert 0 not in [one["id"] for one in told["near"]]
    assert 0 < told["closest_node"]["shared"] <= 1
    labels = np.array(run.artifact("embeddings").column("label"))
    cluster = np.array(run.artifact("assignments").column("cluster"))
    for label, rows in told["labels"]:
        assert rows == ((cluster == 0) & (labels == label)).sum()


def test_a_node_names_what_it_merges_with_and_splits_into(served):
    nodes = served.json("/api/tree")["nodes"]
    inner = next(one for one in nodes if one["left"] is not None and one["parent"] is not None)
    told = served.json(f"/api/clusters/{inner['id']}", grouping="tree")
    assert [one["id"] for one in told["splits_into"]] == [inner["left"], inner["right"]]
    assert told["merges_with"]["parent"] == inner["parent"] != inner["id"]
    assert told["merges_at"] == inner["coarsest"] - 1 and told["splits_at"] == inner["finest"] + 1
    top = served.json(f"/api/clusters/{nodes[-1]['id']}", grouping="tree")
    assert top["merges_with"] is None and top["near"] == []


def test_an_image_is_told_in_full(served, run):
    told = served.json("/api/images/7")
    (row,) = (
        run.artifact("embeddings")
        .table(run.artifact("embeddings").parts[0].name)
        .slice(7, 1)
        .to_pylist()
    )
    for name in ("key", "shard", "offset", "size", "width", "height", "caption", "label"):
        assert told[name] == row[name]
    assert told["extra"] == {"parity": int(row["label"]) % 2}
    assert told["source"].endswith(row["shard"])
    assert [one["grouping"] for one in told["places"]] == ["k-5", "k-3"]
    assert served.json("/api/rows", key=told["key"], shard=told["shard"]) == [7]
    assert served.json("/api/rows", key=told["key"]) == [7]
    assert served.json("/api/rows", key=told["key"], shard="other.tar") == []


@pytest.mark.parametrize("space", ["features", "embeddings"])
def test_neighbours_are_those_of_the_library_without_the_row_itself(served, run, space):
    key = served.json("/api/images/11")["key"]
    told = served.json("/api/images/11/neighbours", space=space, n=9)["hits"]
    expected = [hit for hit in run.search(key=key, space=space, n=10) if hit.row != 11]
    assert [one["row"] for one in told] == [hit.row for hit in expected]
    assert [one["similarity"] for one in told] == pytest.approx(
        [hit.similarity for hit in expected], abs=1e-4
    )
    assert [one["cluster"] for one in told] == [hit.cluster for hit in expected]


QUESTIONS = (
    {"row": 3},
    {"row": 3, "space": "embeddings"},
    {"row": 3, "not_row": [7, 8]},
    {"row": 3, "cluster": [1, 2]},
    {"row": 3, "min_confidence": 0.5},
    {"row": 3, "cluster": [0], "min_confidence": 0.3, "not_row": [5], "target_recall": 1.0},
    {"text": "the digit seven"},
    {"text": "the digit seven", "not_text": ["the digit one"], "cluster": [0, 3]},
    {"row": 3, "not_text": ["the digit one"]},
)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_command_python_and_page_give_the_same_rows(served, run, finished, question):
    def key(row: int) -> str:
        return run.artifact("embeddings").column("key")[row]

    flags: list[str] = []
    like: dict[str, object] = {"n": 7, "space": question.get("space")}
    unlike: dict[str, list[str]] = {}
    for name, value in question.items():
        if name == "row":
            flags += ["--key", key(value)]
            like["key"] = key(value)
        elif name == "not_row":
            flags += [word for row in value for word in ("--not", f"key:{key(row)}")]
            unlike["key"] = [key(row) for row in value]
        elif name == "not_text":
            flags += [word for text in value for word in ("--not", f"text:{text}")]
            unlike["text"] = value
        elif name == "cluster":
            flags += [word for one in value for word in ("--cluster", str(one))]
            like["cluster"] = value
        else:
            flags += [f"--{name.replace('_', '-')}", str(value)]
            like[name] = value
    by_page = [hit["row"] for hit in served.json("/api/search", n=7, **question)["hits"]]
    by_python = [hit.row for hit in run.search(**like, unlike=unlike)]
    printed = succeed(finished, "search", *flags, "-n", "7", "--json").out
    by_command = [hit["row"] for hit in json.loads(printed)]
    assert by_page == by_python == by_command and len(by_page) > 0


def test_an_index_that_is_out_of_date_is_refused_alike_until_the_command_makes_it(moved):
    key = Run.open(moved).artifact("embeddings").column("key")[3]
    succeed(moved, "train", *SMALL, "--set", "train.start=principal")
    succeed(moved, "assign", "--k", "5")
    with pytest.raises(QueryError, match=r"out of date.*run `cpp-pipe index`") as refused:
        Run.open(moved).search(key=key)
    with serve(moved) as served:
        found = served.get("/api/search", row=3)
        assert (found.status_code, found.json()["detail"]) == (400, str(refused.value))
        assert served.get("/api/clusters/0").status_code == 200
    printed = succeed(moved, "search", "--key", key, "--json").out
    rows = [hit["row"] for hit in json.loads(printed)]
    assert [hit.row for hit in Run.open(moved).search(key=key)] == rows
    with serve(moved) as served:
        assert [hit["row"] for hit in served.json("/api/search", row=3, n=10)["hits"]] == rows


def test_a_text_finds_what_the_library_finds_and_the_model_waits_for_it(served, run):
    told = served.json("/api/search", text="the digit seven", n=12)
    expected = run.search(text="the digit seven", n=12)
    assert [one["row"] for one in told["hits"]] == [hit.row for hit in expected]
    assert told["space"] == "embeddings"
    assert served.json("/api/state")["model"]["state"] == "ready"


def test_a_picture_finds_itself_and_its_vector_finds_the_same_again(served, run, tmp_path):
    run.image(3).save(tmp_path / "query.png")
    data = (tmp_path / "query.png").read_bytes()
    for space in ("features", "embeddings"):
        found = served.client.post("/api/search", params={"space": space, "n": 9}, content=data)
        assert found.status_code == 200
        told = found.json()
        assert told["hits"][0]["row"] == 3
        again = served.json("/api/search", vector=told["vector"], space=space, n=9)
        assert [one["row"] for one in again["hits"]] == [one["row"] for one in told["hits"]]
    assert served.json("/api/search", row=3)["hits"][0]["row"] == 3


def test_the_map_has_a_place_for_every_row_and_the_cluster_of_each(served, run):
    told = served.json("/api/map")
    assert (told["rows"], told["shown"], told["method"]) == (60, 60, "pca")
    data = served.get("/api/map/points").content
    places = np.frombuffer(data[: 8 * 60], "<f4").reshape(60, 2)
    projection = run.artifact("projection")
    assert places[:, 0].tolist() == pytest.approx(projection.column("x"))
    assert np.frombuffer(data[8 * 60 :], "<i4").tolist() == list(range(60))
    clusters = np.frombuffer(served.get("/api/map/clusters").content, "<i4")
    assert clusters.tolist() == run.artifact("assignments").column("cluster")
    leaves = np.frombuffer(served.get("/api/map/clusters", grouping="tree").content, "<i4")
    assert np.bincount(leaves).tolist() == [
        one["size"] for one in served.json("/api/tree")["nodes"] if one["left"] is None
    ]


def test_scores_are_those_of_eval(served):
    from .serving import wait_until

    wait_until(lambda: served.json("/api/evaluation")["state"] != "working", "scored", 60)
    told = served.json("/api/evaluation")
    assert told["state"] == "ready", told["detail"]
    assert told["scores"]["n"] == 60 and 0 < told["scores"]["clusters"]["acc"] <= 1


def test_what_is_not_there_is_said_with_what_is(served):
    for path, parameters, code, words in (
        ("/api/clusters", {"grouping": "k-7"}, 404, "there are k-5, k-3"),
        ("/api/clusters/5", {}, 404, "it has 0 to 4"),
        ("/api/clusters/99", {"grouping": "tree"}, 404, "it has 0 to"),
        ("/api/images/60", {}, 404, "there are 0 to 59"),
        ("/api/images/60/neighbours", {}, 404, "there are 0 to 59"),
        ("/api/pictures/60", {}, 404, "there are 0 to 59"),
        ("/api/search", {}, 400, "one of text, row and vector is needed, 0 were given"),
        ("/api/search", {"row": 60}, 400, "row must be from 0 to 59, got 60"),
        ("/api/search", {"text": "a", "space": "features"}, 400, "a text has no features"),
        ("/api/search", {"text": "  "}, 400, "must not be empty"),
        ("/api/search", {"row": 1, "not_row": 60}, 400, "row must be from 0 to 59, got 60"),
        ("/api/search", {"row": 1, "cluster": 5}, 400, "cluster must be from 0 to 4, got 5"),
        ("/api/search", {"row": 1, "min_confidence": 2}, 422, "min_confidence"),
        ("/api/search", {"row": 1, "target_recall": 0}, 422, "target_recall"),
        ("/api/search", {"vector": "AAAA"}, 400, "have 32 numbers"),
        ("/api/search", {"vector": "A" * 42 + "=="}, 400, "vector"),
        ("/api/search", {"vector": "é"}, 400, "not the base64"),
        ("/api/search", {"row": 1, "n": 0}, 422, "n: "),
        ("/api/images/-1", {}, 422, "row: "),
        ("/api/nothing", {}, 404, "Not Found"),
    ):
        found = served.get(path, **parameters)
        assert (found.status_code, path) == (code, path)
        assert words in found.json()["detail"]


def test_answers_are_packed_for_those_who_take_it(served):
    packed = served.client.get("/api/tree", headers={"accept-encoding": "gzip"})
    plain = served.client.get("/api/tree", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
