"""The JSON API over a real run: its answers are what the store holds."""

import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.finder import encode_vector
from cpp_pipe.pipeline.serve.models import MAX_ROWS
from cpp_pipe.pipeline.view.chance import random_words
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import QueryError

from ...waiting import wait_until
from ..cli import SMALL, succeed
from .server import serve


def test_the_facts_of_the_run_are_those_of_its_artifacts(served, run):
    facts = served.json("/api/run")
    assert (facts["name"], facts["rows"], facts["seen"]) == ("default", 60, 60)
    assert facts["flags"] == "--store STORE"
    assert facts["skipped"] == facts["absent"] == []
    assert [grouping["name"] for grouping in facts["groupings"]] == ["k-5", "k-3"]
    assert facts["groupings"][0]["k"] == run.artifact("assignments").facts["k"]
    assert facts["tree"]["finest"] == len(facts["tree"]["nats"]) and facts["tree"]["has_rows"]
    assert [point["k"] for point in facts["curve"] if point["chosen"]] == [
        run.artifact("k_curve").facts["chosen"]
    ]
    assert facts["has_map"] and facts["spaces"] == ["features", "embeddings"]
    versions = {made["slot"]: made["version"] for made in facts["made"]}
    assert versions == dict(run.record.versions)
    (heads,) = [made for made in facts["made"] if made["slot"] == "heads"]
    assert heads["settings"]["hidden"] == 32


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
        members = [member["row"] for member in card["typical"] + card["doubtful"]]
        assert set(members) <= set(rows.tolist()) and len(members) == len(set(members))
    assert sum(card["size"] for card in cards) == 60


def test_captions_are_those_of_the_clusters(served, run):
    captions = run.artifact("captions")
    table = captions.table(captions.only_part).to_pylist()
    best = {row["cluster"]: row["caption"] for row in table if row["rank"] == 1}
    cards = served.json("/api/clusters")["cards"]
    assert {card["id"]: card["names"][0]["caption"] for card in cards} == best


def test_each_level_of_the_tree_holds_every_row_once(served, run):
    finest = served.json("/api/run")["tree"]["finest"]
    nodes = served.json("/api/tree")["nodes"]
    assert [node["id"] for node in nodes] == list(range(2 * finest - 1))
    for level in range(1, finest + 1):
        clusters = [node for node in nodes if node["coarsest"] <= level <= node["finest"]]
        assert len(clusters) == level
        assert sum(node["size"] for node in clusters) == 60
    root = nodes[-1]
    votes = [name for name in root["names"] if not name["caption"].startswith("mixed: ")]
    assert 0 < sum(name["score"] for name in votes) <= 1 + 1e-6


def test_the_confidence_of_a_node_is_that_of_its_rows_at_its_kept_level(served, run):
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
        items = served.json(path, grouping="tree", limit=MAX_ROWS)["items"]
        level = min(level for level in kept if level >= node["coarsest"])
        mean = confidence[level][[item["row"] for item in items]].mean()
        assert node["confidence"] == pytest.approx(float(mean), abs=1e-5)


def test_rows_of_a_cluster_come_in_pages_by_confidence(served):
    whole = served.json("/api/clusters/1/rows", limit=MAX_ROWS)
    confidences = [item["confidence"] for item in whole["items"]]
    assert confidences == sorted(confidences, reverse=True)
    assert len(whole["items"]) == whole["total"]
    paged = [
        item
        for offset in range(0, whole["total"], 4)
        for item in served.json("/api/clusters/1/rows", offset=offset, limit=4)["items"]
    ]
    assert paged == whole["items"]
    doubtful = served.json("/api/clusters/1/rows", order="doubtful", limit=MAX_ROWS)["items"]
    assert doubtful == whole["items"][::-1]
    assert served.json("/api/clusters/1/rows", offset=10_000)["items"] == []


def test_a_node_has_the_rows_of_its_card(served):
    nodes = served.json("/api/tree")["nodes"]
    for node in nodes:
        path = f"/api/clusters/{node['id']}/rows"
        answer = served.json(path, grouping="tree", limit=MAX_ROWS)
        assert answer["total"] == node["size"]
        assert [item["row"] for item in answer["items"]][: len(node["typical"])] == [
            member["row"] for member in node["typical"]
        ]


def test_the_facts_of_a_cluster_are_those_of_its_rows(served, run):
    facts = served.json("/api/clusters/0")
    assert facts["card"] == served.json("/api/clusters")["cards"][0]
    assert sum(facts["histogram"]) == facts["card"]["size"]
    spectra = served.json("/api/clusters/0/spectra")
    for values in spectra["singular_values"].values():
        assert values[0] == 1 and values == sorted(values, reverse=True)
    assert len(spectra["singular_values"]["features"]) == min(16, spectra["sampled"])
    alike = [near["alike"] for near in facts["near"]]
    assert alike == sorted(alike, reverse=True)
    assert 0 not in [near["id"] for near in facts["near"]]
    assert 0 < facts["closest_node"]["shared"] <= 1
    labels = np.array(run.artifact("embeddings").column("label"))
    cluster = np.array(run.artifact("assignments").column("cluster"))
    for label, rows in facts["labels"]:
        assert rows == ((cluster == 0) & (labels == label)).sum()


def test_the_node_that_is_closest_to_a_cluster_shares_most_images_with_it(served):
    def rows(number: int, **query: str) -> set[int]:
        items = served.json(f"/api/clusters/{number}/rows", limit=MAX_ROWS, **query)["items"]
        return {item["row"] for item in items}

    nodes = {
        node["id"]: rows(node["id"], grouping="tree") for node in served.json("/api/tree")["nodes"]
    }
    for cluster in range(5):
        own = rows(cluster)
        shares = {node: len(own & held) / len(own | held) for node, held in nodes.items()}
        facts = served.json(f"/api/clusters/{cluster}")["closest_node"]
        assert facts["shared"] == round(max(shares.values()), 4) == round(shares[facts["id"]], 4)


def test_a_node_names_what_it_merges_with_and_splits_into(served):
    nodes = served.json("/api/tree")["nodes"]
    inner = next(node for node in nodes if node["left"] is not None and node["parent"] is not None)
    facts = served.json(f"/api/clusters/{inner['id']}", grouping="tree")
    assert [child["id"] for child in facts["splits_into"]] == [inner["left"], inner["right"]]
    assert facts["merges_with"]["parent"] == inner["parent"] != inner["id"]
    assert facts["merges_at"] == inner["coarsest"] - 1
    assert facts["splits_at"] == inner["finest"] + 1
    root = served.json(f"/api/clusters/{nodes[-1]['id']}", grouping="tree")
    assert root["merges_with"] is None and root["near"] == []


def test_the_facts_of_an_image_are_those_of_its_row(served, run):
    facts = served.json("/api/images/7")
    (row,) = (
        run.artifact("embeddings")
        .table(run.artifact("embeddings").parts[0].name)
        .slice(7, 1)
        .to_pylist()
    )
    for name in ("key", "shard", "offset", "size", "width", "height", "caption", "label"):
        assert facts[name] == row[name]
    assert facts["extra"] == {"parity": int(row["label"]) % 2}
    assert facts["source"].endswith(row["shard"])
    assert [place["grouping"] for place in facts["places"]] == ["k-5", "k-3"]
    assert served.json("/api/rows", key=facts["key"], shard=facts["shard"]) == [7]
    assert served.json("/api/rows", key=facts["key"]) == [7]
    assert served.json("/api/rows", key=facts["key"], shard="other.tar") == []


@pytest.mark.parametrize("space", ["features", "embeddings"])
def test_neighbours_are_those_of_python_without_the_row_itself(served, run, space):
    key = served.json("/api/images/11")["key"]
    hits = served.json("/api/images/11/neighbours", space=space, n=9)["hits"]
    expected = [hit for hit in run.search(key=key, space=space, n=10) if hit.row != 11]
    assert [hit["row"] for hit in hits] == [hit.row for hit in expected]
    assert [hit["similarity"] for hit in hits] == pytest.approx(
        [hit.similarity for hit in expected], abs=1e-4
    )
    assert [hit["cluster"] for hit in hits] == [hit.cluster for hit in expected]


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
            flags += [word for cluster in value for word in ("--cluster", str(cluster))]
            like["cluster"] = value
        else:
            flags += [f"--{name.replace('_', '-')}", str(value)]
            like[name] = value
    by_page = [hit["row"] for hit in served.json("/api/search", n=7, **question)["hits"]]
    by_python = [hit.row for hit in run.search(**like, unlike=unlike)]
    printed = succeed(finished, "search", *flags, "-n", "7", "--json").out
    by_command = [hit["row"] for hit in json.loads(printed)]
    assert by_page == by_python == by_command and len(by_page) > 0


def test_page_and_python_refuse_an_index_that_is_out_of_date(own_store):
    key = Run.open(own_store).artifact("embeddings").column("key")[3]
    succeed(own_store, "train", *SMALL, "--set", "train.start=principal")
    succeed(own_store, "assign", "--k", "5")
    with pytest.raises(QueryError, match="out of date: run `cpp-pipe index --store") as refused:
        Run.open(own_store).search(key=key)
    with serve(own_store) as served:
        answer = served.get("/api/search", row=3)
        # The page does not tell where the store lies.
        detail = str(refused.value).replace(str(own_store), "STORE")
        assert (answer.status_code, answer.json()["detail"]) == (400, detail)
        assert served.get("/api/clusters/0").status_code == 200
    printed = succeed(own_store, "search", "--key", key, "--json").out
    rows = [hit["row"] for hit in json.loads(printed)]
    assert [hit.row for hit in Run.open(own_store).search(key=key)] == rows
    with serve(own_store) as served:
        assert [hit["row"] for hit in served.json("/api/search", row=3, n=10)["hits"]] == rows


def test_a_text_finds_what_python_finds_and_keeps_the_model_loaded(served, run):
    answer = served.json("/api/search", text="the digit seven", n=12)
    expected = run.search(text="the digit seven", n=12)
    assert [hit["row"] for hit in answer["hits"]] == [hit.row for hit in expected]
    assert answer["space"] == "embeddings"
    assert served.json("/api/state")["model"]["state"] == "ready"


def test_an_image_finds_itself_and_its_vector_finds_the_same_rows(served, run, tmp_path):
    run.image(3).save(tmp_path / "query.png")
    data = (tmp_path / "query.png").read_bytes()
    for space in ("features", "embeddings"):
        answer = served.client.post("/api/search", params={"space": space, "n": 9}, content=data)
        assert answer.status_code == 200
        first = answer.json()
        assert first["hits"][0]["row"] == 3
        again = served.json("/api/search", vector=first["vector"], space=space, n=9)
        assert [hit["row"] for hit in again["hits"]] == [hit["row"] for hit in first["hits"]]
    assert served.json("/api/search", row=3)["hits"][0]["row"] == 3


def test_an_old_address_with_joined_features_finds_the_same(served, run):
    """People have shared such addresses, which hold features and cluster features."""
    features = run.artifact("features")
    z, c = (features.array(features.parts[0].name, role)[[3]] for role in ("z", "c"))
    now = served.json("/api/search", row=3, n=9)
    old = served.json("/api/search", vector=encode_vector(join_features(z, c)), n=9)
    assert [hit["row"] for hit in old["hits"]] == [hit["row"] for hit in now["hits"]]
    assert len(old["vector"]) == len(now["vector"]), "from here on it is of features alone"


def test_the_map_has_a_point_and_a_cluster_for_every_row(served, run):
    facts = served.json("/api/map")
    assert (facts["rows"], facts["shown"], facts["method"]) == (60, 60, "pca")
    data = served.get("/api/map/points").content
    points = np.frombuffer(data[: 8 * 60], "<f4").reshape(60, 2)
    projection = run.artifact("projection")
    assert points[:, 0].tolist() == pytest.approx(projection.column("x"))
    assert np.frombuffer(data[8 * 60 :], "<i4").tolist() == list(range(60))
    clusters = np.frombuffer(served.get("/api/map/clusters").content, "<i4")
    assert clusters.tolist() == run.artifact("assignments").column("cluster")
    leaves = np.frombuffer(served.get("/api/map/clusters", grouping="tree").content, "<i4")
    assert np.bincount(leaves).tolist() == [
        node["size"] for node in served.json("/api/tree")["nodes"] if node["left"] is None
    ]


def test_the_sheets_of_the_map_hold_every_image_in_the_order_of_the_rows(served):
    facts = served.json("/api/map/sprites")
    assert (facts["rows"], facts["sheets"], facts["unreadable"]) == (60, [60], 0)
    assert np.frombuffer(served.get("/api/map/sprites/rows").content, "<i4").tolist() == [
        *range(60)
    ]
    answer = served.get("/api/map/sprites/0", v=facts["version"])
    assert "immutable" in answer.headers["cache-control"]
    again = {"if-none-match": answer.headers["etag"]}
    assert served.client.get("/api/map/sprites/0", headers=again).status_code == 304
    assert "no-cache" in served.get("/api/map/sprites/0").headers["cache-control"]
    assert served.get("/api/map/sprites/1").status_code == 404
    sheet = Image.open(io.BytesIO(answer.content)).convert("L")
    assert sheet.size == (2048, 2048)
    for row in (0, 7, 59):
        drawn = np.asarray(sheet.crop((32 * row, 0, 32 * row + 32, 32)), float)
        image = Image.open(io.BytesIO(served.get(f"/api/pictures/{row}", size=128).content))
        expected = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BICUBIC), float)
        assert np.abs(drawn - expected).mean() < 8, row  # JPEG keeps no exact pixels


def test_scores_are_those_of_eval(served):
    wait_until(lambda: served.json("/api/evaluation")["state"] != "working", "scored", 60)
    evaluation = served.json("/api/evaluation")
    assert evaluation["state"] == "ready", evaluation["detail"]
    assert evaluation["scores"]["n"] == 60 and 0 < evaluation["scores"]["clusters"]["acc"] <= 1


def test_an_invalid_parameter_is_refused_with_the_valid_values(served):
    for path, parameters, code, words in (
        ("/api/clusters", {"grouping": "k-7"}, 404, "must be one of k-5, k-3, got 'k-7'"),
        ("/api/clusters/5", {}, 404, "must be from 0 to 4 in k-5, got 5"),
        ("/api/clusters/99", {"grouping": "tree"}, 404, "node must be from 0 to"),
        ("/api/images/60", {}, 404, "row must be from 0 to 59, got 60"),
        ("/api/images/60/neighbours", {}, 404, "row must be from 0 to 59, got 60"),
        ("/api/pictures/60", {}, 404, "row must be from 0 to 59, got 60"),
        ("/api/search", {}, 400, "give one of text, row, rows and vector, got 0"),
        ("/api/search", {"row": 60}, 400, "row must be from 0 to 59, got 60"),
        ("/api/search", {"text": "a", "space": "features"}, 400, "a text has no features"),
        ("/api/search", {"text": "  "}, 400, "must not be empty"),
        ("/api/search", {"row": 1, "not_row": 60}, 400, "row must be from 0 to 59, got 60"),
        ("/api/search", {"row": 1, "cluster": 5}, 400, "cluster must be from 0 to 4, got 5"),
        ("/api/search", {"row": 1, "min_confidence": 2}, 422, "min_confidence"),
        ("/api/search", {"row": 1, "target_recall": 0}, 422, "target_recall"),
        (
            "/api/search",
            {"vector": "AAAA"},
            400,
            "vector must have 32 bytes in features (16 numbers of float16), got 3",
        ),
        ("/api/search", {"vector": "A" * 42 + "=="}, 400, "vector"),
        ("/api/search", {"vector": "é"}, 400, "not valid base64"),
        ("/api/search", {"row": 1, "n": 0}, 422, "n: "),
        ("/api/images/-1", {}, 422, "row: "),
        ("/api/nothing", {}, 404, "Not Found"),
    ):
        answer = served.get(path, **parameters)
        assert (answer.status_code, path) == (code, path)
        assert words in answer.json()["detail"]


def test_answers_are_compressed_for_clients_that_accept_it(served):
    compressed = served.client.get("/api/tree", headers={"accept-encoding": "gzip"})
    plain = served.client.get("/api/tree", headers={"accept-encoding": "identity"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.json() == plain.json()


def test_the_chance_of_a_text_is_the_median_of_random_words(served):
    answers = [served.json("/api/search", text=word, n=1) for word in random_words()]
    best = [answer["hits"][0]["similarity"] for answer in answers]
    assert len(set(random_words())) > 60
    assert answers[-1]["chance"] == pytest.approx(np.median(best), abs=1e-4)
    assert served.json("/api/search", row=3)["chance"] is None


def test_a_node_without_a_caption_of_half_its_images_is_mixed(served, run):
    clusters = np.array(run.artifact("assignments").column("cluster"))
    best = {
        card["id"]: card["names"][0]["caption"] for card in served.json("/api/clusters")["cards"]
    }
    kinds = set()
    for node in served.json("/api/tree")["nodes"]:
        query = {"level": node["finest"], "cluster": node["id"]}
        rows = np.frombuffer(served.get("/api/set/rows", **query).content, "<i4")
        leading = Counter(best[cluster] for cluster in clusters[rows].tolist()).most_common()
        name = node["names"][0]["caption"]
        kinds.add(name.startswith("mixed: "))
        if leading[0][1] < len(rows) / 2:
            assert name.startswith(f"mixed: {leading[0][0]}") or leading[0][1] == leading[1][1]
        else:
            assert not name.startswith("mixed: ")
    assert kinds == {True, False}


def test_a_cut_text_is_noted(served):
    assert served.json("/api/search", text="seven")["notes"] == []
    assert served.json("/api/search", row=3)["notes"] == []
    for parameters in ({"text": "seven " * 150}, {"row": 3, "not_text": "seven " * 150}):
        (note,) = served.json("/api/search", **parameters)["notes"]
        assert "its end does not count" in note
