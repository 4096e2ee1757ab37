"""Decisions made on the page: recorded, shown, never lost, and only with permission."""

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.curation.selection import read_keys
from cpp_pipe.store import Store

from ...waiting import wait_until
from ..cli import succeed
from .process import start
from .server import Served, serve

DECIDED = "decided"


@pytest.fixture
def store(finished, tmp_path) -> Path:
    """A copy of the finished store, in which decisions are made."""
    shutil.copytree(finished, tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.fixture
def editable(store):
    """A server that lets the page decide."""
    with serve(store, is_editable=True) as server:
        yield server


def post(server: Served, op: str, **fields: Any) -> httpx.Response:
    """The answer to a decision that saw the whole log, or its first `seen` entries."""
    seen = server.json("/api/state")["edits"]
    return server.client.post("/api/edits", json={"op": op, "seen": seen, **fields})


def decide(server: Served, op: str, **fields: Any) -> dict[str, Any]:
    """The answer to a decision, which must be recorded."""
    answer = post(server, op, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cards(server: Served) -> dict[int, dict[str, Any]]:
    """The decided clusters."""
    return {card["id"]: card for card in server.json("/api/clusters", grouping=DECIDED)["cards"]}


def rows_of(server: Served, cluster: int, grouping: str = DECIDED) -> list[int]:
    """All rows of a cluster, the most confident first."""
    rows: list[int] = []
    path = f"/api/clusters/{cluster}/rows"
    while True:
        page = server.json(path, grouping=grouping, offset=len(rows), limit=200)
        rows += [item["row"] for item in page["items"]]
        if len(rows) >= page["total"]:
            return rows


def names(server: Served) -> list[str]:
    """The groupings of the run."""
    return [grouping["name"] for grouping in server.json("/api/run")["groupings"]]


def test_there_are_no_decided_clusters_without_decisions(editable):
    assert names(editable) == ["k-5", "k-3"]
    assert editable.get("/api/clusters", grouping=DECIDED).status_code == 404
    assert editable.get("/api/search", row=3, grouping=DECIDED).status_code == 404
    log = editable.json("/api/edits")
    assert (log["length"], log["decisions"], log["is_editable"]) == (0, [], True)
    generation = editable.json("/api/state")["generation"]
    decide(editable, "name", clusters=[0], value="zeros")
    assert names(editable) == ["k-5", "k-3", DECIDED]
    assert editable.json("/api/state")["generation"] == generation
    decide(editable, "revert", value=1)
    assert names(editable) == ["k-5", "k-3"]


def test_a_page_that_still_shows_decided_clusters_is_answered_when_all_was_taken_back(editable):
    decide(editable, "name", clusters=[0], value="zeros")
    decide(editable, "revert", value=1)
    assert names(editable) == ["k-5", "k-3"]
    for path in ("/api/clusters/0", "/api/clusters/0/spectra", "/api/clusters/0/rows"):
        own = editable.json(path) | {"grouping": DECIDED}
        assert editable.json(path, grouping=DECIDED) | {"grouping": DECIDED} == own
    assert rows_of(editable, 0, DECIDED) == rows_of(editable, 0, "k-5")


def test_a_name_comes_before_captions_and_a_note_is_kept(editable):
    before = editable.json("/api/clusters")["cards"]
    recorded = decide(editable, "name", clusters=[2], value="  my digits ")
    assert (recorded["number"], recorded["length"]) == (1, 1)
    decide(editable, "note", clusters=[2], value="look\nagain")
    card = editable.json("/api/clusters/2", grouping=DECIDED)["card"]
    assert card["names"][0] == {"caption": "my digits", "score": 1.0, "is_given": True}
    captions = [name["caption"] for name in card["names"][1:]]
    assert captions == [name["caption"] for name in before[2]["names"]]
    assert card["note"] == "look\nagain"
    assert editable.json("/api/clusters")["cards"] == before
    assert editable.json("/api/edits")["names"] == {"2": "my digits"}
    decide(editable, "name", clusters=[2], value="")
    assert not any(name["is_given"] for name in cards(editable)[2]["names"])


def test_merge_split_and_move_change_the_decided_clusters_only(editable):
    own = {cluster: rows_of(editable, cluster, "k-5") for cluster in range(5)}
    decide(editable, "merge", clusters=[1, 3])
    assert 3 not in cards(editable)
    assert sorted(rows_of(editable, 1)) == sorted(own[1] + own[3])
    gone = editable.get("/api/clusters/3", grouping=DECIDED)
    assert gone.status_code == 404 and "merged into another" in gone.json()["detail"]
    part = own[0][:7]
    decide(editable, "split", clusters=[0], rows=part)
    assert sorted(rows_of(editable, 5)) == sorted(part)
    assert sorted(rows_of(editable, 0)) == sorted(own[0][7:])
    decide(editable, "move", clusters=[2], rows=part[:2])
    assert sorted(rows_of(editable, 2)) == sorted(own[2] + part[:2])
    sizes = {number: card["size"] for number, card in cards(editable).items()}
    assert sizes == {
        0: len(own[0]) - 7, 1: len(own[1]) + len(own[3]), 2: len(own[2]) + 2, 4: len(own[4]), 5: 5,
    }  # fmt: skip
    grouping = editable.json("/api/run")["groupings"][-1]
    assert (grouping["name"], grouping["k"]) == (DECIDED, 5)
    colours = np.frombuffer(editable.get("/api/map/clusters", grouping=DECIDED).content, "<i4")
    assert np.bincount(colours).tolist() == [sizes.get(number, 0) for number in range(6)]
    assert {cluster: rows_of(editable, cluster, "k-5") for cluster in range(5)} == own
    facts = editable.json("/api/clusters/1", grouping=DECIDED)
    assert sum(facts["histogram"]) == facts["card"]["size"] and facts["near"]


def test_rows_of_decided_clusters_are_sorted_by_confidence(editable):
    decide(editable, "merge", clusters=[0, 1, 2])
    rows = np.array(rows_of(editable, 0))
    confidence = editable.current.opened.clusters.partition("k-5").confidence[rows]
    assert np.lexsort((rows, -confidence)).tolist() == list(range(len(rows))) and len(rows) > 20


def test_excluded_images_are_in_no_rows_and_in_no_hits(editable):
    own = rows_of(editable, 0, "k-5")
    row, kept = own[0], own[1]
    decide(editable, "exclude", rows=own[:1])
    assert row not in rows_of(editable, 0)
    card = cards(editable)[0]
    assert (card["size"], card["excluded"]) == (len(own) - 1, 1)
    assert row not in [member["row"] for member in card["typical"] + card["doubtful"]]
    image = editable.json(f"/api/images/{row}")
    place = image["places"][-1]
    assert image["excluded"] and (place["grouping"], place["cluster"]) == (DECIDED, 0)
    colours = np.frombuffer(editable.get("/api/map/clusters", grouping=DECIDED).content, "<i4")
    assert colours[row] == -1 and (colours == -1).sum() == 1
    assert editable.json("/api/edits")["excluded"] == 1
    plain = editable.json("/api/search", row=row, n=3)["hits"]
    assert plain[0]["row"] == row
    for path in (f"/api/search?row={kept}&n=200", f"/api/images/{row}/neighbours?n=200"):
        hits = editable.json(f"{path}&grouping={DECIDED}")["hits"]
        assert len(hits) == len(editable.current.opened.rows) - 1
        assert row not in [hit["row"] for hit in hits]
    decide(editable, "exclude", clusters=[0])
    assert (cards(editable)[0]["size"], cards(editable)[0]["excluded"]) == (0, len(own))
    assert editable.json("/api/clusters/0", grouping=DECIDED)["card"]["typical"] == []
    decide(editable, "include", rows=own)
    assert rows_of(editable, 0) == own


def test_hits_have_decided_clusters_and_names(editable):
    decide(editable, "merge", clusters=[4, 0, 1, 2, 3])
    decide(editable, "name", clusters=[4], value="all")
    hits = editable.json("/api/search", row=5, n=20, grouping=DECIDED, cluster=4)["hits"]
    assert {(hit["cluster"], hit["name"]) for hit in hits} == {(4, "all")}
    place = editable.json("/api/images/5")["places"][-1]
    assert (place["cluster"], place["name"]) == (4, "all")
    assert editable.get("/api/search", row=5, grouping="k-3").status_code == 400


def test_tags_and_notes_of_images_are_shown_with_them(editable):
    decide(editable, "tag", rows=[3, 17, 3], value="odd")
    decide(editable, "tag", clusters=[1], value="Δ ones")
    decide(editable, "note", rows=[17], value="blurred")
    decide(editable, "untag", rows=[3], value="odd")
    image = editable.json("/api/images/17")
    assert "odd" in image["tags"] and image["note"] == "blurred" and not image["excluded"]
    assert "odd" not in editable.json("/api/images/3")["tags"]
    size = editable.json("/api/clusters/1")["card"]["size"]
    assert dict(editable.json("/api/edits")["tags"]) == {"odd": 1, "Δ ones": size}


def test_the_log_is_listed_in_pages_newest_first_with_outcomes(editable):
    for number in range(5):
        decide(editable, "tag", rows=[number], value=f"t{number}")
    fourth = editable.json("/api/edits")["decisions"][1]
    decide(editable, "revert", value=fourth["id"])
    decide(editable, "revert", value=6)
    decide(editable, "revert", value=2)
    log = editable.json("/api/edits", offset=0, limit=4)
    assert (log["length"], log["total"], log["needs_a_look"]) == (8, 8, 0)
    shown = [(entry["number"], entry["op"], entry["status"]) for entry in log["decisions"]]
    assert shown == [
        (8, "revert", "applied"), (7, "revert", "applied"), (6, "revert", "reverted"),
        (5, "tag", "applied"),
    ]  # fmt: skip
    assert [entry["reverts"] for entry in log["decisions"]] == [2, 6, 4, None]
    rest = editable.json("/api/edits", offset=4, limit=200)["decisions"]
    assert [entry["number"] for entry in rest] == [4, 3, 2, 1]
    assert [entry["images"] for entry in rest] == [1] * 4
    assert dict(editable.json("/api/edits")["tags"]) == {"t0": 1, "t2": 1, "t3": 1, "t4": 1}


def test_decisions_applied_one_by_one_are_those_of_the_whole_log(editable, store):
    """Also when decisions are reverted and applied again."""
    random = np.random.default_rng(0)
    ops: list[tuple[str, dict[str, Any]]] = [
        ("merge", {"clusters": [0, 1]}), ("name", {"clusters": [2], "value": "two"}),
        ("exclude", {"clusters": [3]}), ("tag", {"clusters": [2], "value": "x"}),
        ("note", {"rows": [8, 9], "value": "n"}), ("include", {"rows": [4, 5, 6]}),
        ("untag", {"rows": [5, 6, 7], "value": "x"}), ("move", {"clusters": [4]}),
        ("split", {"clusters": [4]}),
    ]  # fmt: skip
    for number in range(40):
        if number and random.random() < 0.35:
            answer = post(editable, "revert", value=int(random.integers(number)) + 1)
        else:
            op, fields = ops[random.integers(len(ops))]
            if op in ("move", "split"):
                fields = {**fields, "rows": random.integers(100, size=5).tolist()}
            answer = post(editable, op, **fields)
        assert answer.status_code in (200, 400), answer.text
    expected = Run.open(Store(store)).edits.edited()
    shown = editable.current.opened.decided.edited
    assert shown is not None and len(expected.outcomes) > 20
    assert (shown.cluster == expected.cluster).all()
    assert (shown.excluded == expected.excluded).all()
    assert {tag: rows.tolist() for tag, rows in shown.tags.items()} == {
        tag: rows.tolist() for tag, rows in expected.tags.items()
    }
    assert (shown.names, shown.row_notes) == (expected.names, expected.row_notes)
    assert shown.outcomes == expected.outcomes
    with serve(store) as other:
        assert other.json("/api/clusters", grouping=DECIDED) == editable.json(
            "/api/clusters", grouping=DECIDED
        )


def test_of_two_browsers_the_second_sees_the_decision_of_the_first(editable, store):
    decide(editable, "name", clusters=[0], value="first")
    with serve(store, is_editable=True) as other:
        assert other.json("/api/edits")["length"] == 1
        decide(other, "name", clusters=[1], value="theirs")
        for seen in (1, 0):  # whichever of the two has refreshed
            answer = post(editable, "name", clusters=[1], value="mine", seen=seen)
            assert answer.status_code == 409
            conflict = answer.json()
            assert conflict["length"] == 2 and "look" in conflict["detail"]
            assert [entry["value"] for entry in conflict["newer"]] == ["theirs", "first"][
                : 2 - seen
            ]
        assert other.json("/api/edits")["length"] == 2
        assert editable.json("/api/edits")["names"] == {"0": "first", "1": "theirs"}
        assert post(editable, "name", clusters=[1], value="mine", seen=9).status_code == 409
        decide(editable, "name", clusters=[1], value="both", seen=2)


def test_browsers_that_decide_at_once_lose_nothing(editable):
    recorded: list[int] = []

    def work(number: int) -> None:
        for step in range(5):
            while True:
                answer = post(editable, "tag", rows=[step], value=f"t{number}-{step}")
                if answer.status_code == 200:
                    recorded.append(answer.json()["number"])
                    break
                assert answer.status_code == 409, answer.text

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(recorded) == list(range(1, 16))
    tags = dict(editable.json("/api/edits")["tags"])
    assert tags == {f"t{number}-{step}": 1 for number in range(3) for step in range(5)}


def test_without_edit_the_log_is_shown_and_nothing_is_recorded(store):
    succeed(store, "edit", "name", "1", "by hand")
    with serve(store) as server:
        assert server.json("/api/edits")["is_editable"] is False
        assert cards(server)[1]["names"][0]["caption"] == "by hand"
        answer = post(server, "name", clusters=[1], value="x")
        assert answer.status_code == 403 and "serve --edit" in answer.json()["detail"]
        assert server.json("/api/edits")["length"] == 1


def test_a_decision_in_a_shell_is_seen_without_opening_the_run_again(editable, store):
    decide(editable, "name", clusters=[0], value="page")
    finder = editable.current.opened.finder
    succeed(store, "edit", "name", "1", "shell")
    wait_until(lambda: editable.json("/api/state")["edits"] == 2, "it is noticed", 20)
    assert cards(editable)[1]["names"][0]["caption"] == "shell"
    assert editable.current.opened.finder is finder
    # The other way round, too.
    shown = json.loads(succeed(store, "edit", "log", "--json").out)
    assert [entry["value"] for entry in shown] == ["page", "shell"]


def test_decisions_stay_when_clusters_are_made_again(editable, store):
    own = rows_of(editable, 0, "k-5")
    decide(editable, "tag", rows=own[:3], value="kept")
    decide(editable, "exclude", rows=own[:1])
    succeed(store, "assign", "--k", "4")
    wait_until(lambda: names(editable) == ["k-4", DECIDED], "the run is opened again", 30)
    assert dict(editable.json("/api/edits")["tags"]) == {"kept": 3}
    decide(editable, "name", clusters=[3], value="of four")
    assert (
        sum(card["size"] for card in cards(editable).values())
        == len(editable.current.opened.rows) - 1
    )


def test_a_damaged_log_is_reported_and_the_run_is_served_without_it(store):
    succeed(store, "edit", "name", "1", "by hand")
    entry = store / "runs" / "default" / "edits" / "00000001.json"
    whole = entry.read_text()
    entry.write_text(whole[:40])
    with serve(store, is_editable=True) as server:
        assert "00000001.json" in server.json("/api/state")["trouble"]
        assert server.get("/api/edits").status_code == 503
        assert post(server, "name", clusters=[1], value="x").status_code == 503
        assert names(server) == ["k-5", "k-3"]
        entry.write_text(whole)
        wait_until(lambda: server.json("/api/state")["trouble"] is None, "it is whole", 20)
        assert cards(server)[1]["names"][0]["caption"] == "by hand"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"op": "paint"}, "op: "),
        ({"op": ["name"]}, "op: "),
        ({"op": "name", "clusters": [9], "value": "x"}, "cluster must be from 0 to 4, got 9"),
        ({"op": "name", "clusters": [0, 1], "value": "x"}, "name needs one cluster"),
        ({"op": "name", "clusters": [0], "value": "a\nb"}, "one line of text"),
        ({"op": "name", "clusters": [0], "value": "x", "rows": [1]}, "name takes no rows"),
        ({"op": "name", "clusters": [0], "value": 7}, "must be text"),
        ({"op": "name", "clusters": [0], "value": "x" * 2001}, "value"),
        ({"op": "name", "clusters": [0], "value": "\x1b[31m"}, "without control characters"),
        ({"op": "note", "clusters": [0], "value": "a\0b"}, "without control characters"),
        ({"op": "note", "clusters": [0], "value": "\ud800"}, "unicode"),
        ({"op": "note", "clusters": [0], "value": None}, "value"),
        ({"op": "merge", "clusters": [1]}, "two clusters or more"),
        ({"op": "merge", "clusters": []}, "two clusters or more"),
        ({"op": "merge", "clusters": "12"}, "clusters"),
        ({"op": "merge", "clusters": list(range(10_001))}, "clusters"),
        ({"op": "split", "clusters": [0]}, "split needs images"),
        ({"op": "move", "rows": [1]}, "move needs one cluster"),
        ({"op": "tag", "value": "x"}, "images or a cluster"),
        ({"op": "tag", "rows": [1], "clusters": [0], "value": "x"}, "not both"),
        ({"op": "exclude", "rows": [], "clusters": [0]}, "the list of images is empty"),
        ({"op": "tag", "rows": [1], "value": "  "}, "a tag"),
        ({"op": "exclude"}, "images or a cluster"),
        ({"op": "exclude", "rows": [1], "value": "x"}, "exclude takes no value"),
        ({"op": "exclude", "rows": [-1]}, "rows.0"),
        ({"op": "exclude", "rows": [True]}, "rows.0"),
        ({"op": "exclude", "rows": [1.0]}, "rows.0"),
        ({"op": "exclude", "rows": ["1"]}, "rows.0"),
        ({"op": "exclude", "rows": [2**63]}, "rows.0"),
        ({"op": "exclude", "rows": [10**400]}, "rows.0"),
        ({"op": "exclude", "rows": [float("nan")]}, "rows.0"),
        ({"op": "exclude", "rows": {"1": 2}}, "rows"),
        ({"op": "exclude", "rows": [2**31 - 1]}, "row must be from 0 to"),
        ({"op": "exclude", "rows": [1], "by": "somebody else"}, "by"),
        ({"op": "exclude", "rows": [1], "\ud800" * 999: 1}, "unicode"),
        ({"op": "revert", "value": 1}, "no decision '1'"),
        ({"op": "revert", "value": "deadbeef"}, "no decision 'deadbeef'"),
        ({"op": "revert", "value": 2**31}, "value"),
        ({"op": "revert"}, "no decision ''"),
        ({"op": "exclude", "rows": [1], "seen": -1}, "seen"),
        ({"op": "exclude", "rows": [1], "seen": None}, "seen"),
        ({"op": "exclude", "rows": [1], "seen": "0"}, "seen"),
    ],
)
def test_an_invalid_decision_is_refused_in_one_sentence(undecided, fields, message):
    body = json.dumps({"seen": 0, **fields})
    headers = {"content-type": "application/json"}
    answer = undecided.client.post("/api/edits", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    detail = answer.json()["detail"]
    assert message in detail
    assert len(detail) < 400 and "\n" not in detail
    assert undecided.json("/api/edits")["length"] == 0


@pytest.fixture(scope="module")
def undecided(finished, tmp_path_factory):
    """A server on which every decision must fail."""
    folder = tmp_path_factory.mktemp("undecided") / "artifacts"
    shutil.copytree(finished, folder)
    with serve(folder, is_editable=True) as server:
        yield server


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"5", b"{", b"\xff\xfe", b"[" * 100_000, b"{}", b'{"op": "exclude"}',
     b'{"seen": 0, "op": "exclude", "rows": [' + b"9" * 5000 + b"]}", b"\0" * 1000],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/edits", "/api/keys"])
def test_an_invalid_request_body_is_refused(undecided, path, body):
    headers = {"content-type": "application/json"}
    answer = undecided.client.post(path, content=body, headers=headers)
    assert answer.status_code == 400 and answer.json()["detail"]


@pytest.mark.parametrize("path", ["/api/edits", "/api/keys"])
def test_a_body_over_the_limit_is_refused(undecided, path):
    headers = {"content-type": "application/json"}
    body = b'{"rows": [' + b"1," * (9 * 2**20) + b"1]}"
    assert undecided.client.post(path, content=body, headers=headers).status_code == 413


def test_ten_thousand_images_can_be_one_decision(editable):
    """A few rows are repeated, because the run of the tests is small."""
    rows = (list(range(len(editable.current.opened.rows))) * 10_000)[:10_000]
    decide(editable, "exclude", rows=rows)
    log = editable.json("/api/edits")
    assert log["excluded"] == log["decisions"][0]["images"] == len(editable.current.opened.rows)


def test_exported_keys_can_be_read_by_commands(served, tmp_path):
    rows = [40, 3, 17]
    answer = served.client.post("/api/keys", json={"rows": rows})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    facts = [served.json(f"/api/images/{row}") for row in rows]
    assert answer.text.splitlines() == [f"{fact['shard']}:{fact['key']}" for fact in facts]
    path = tmp_path / "keys.txt"
    path.write_bytes(answer.content)
    assert read_keys(path, "--keys") == set(answer.text.splitlines())
    store = served.current.opened.run.store.root
    line = succeed(Path(str(store)), "curate", "--dry-run", "--keys", path).out
    assert "chosen 3" in line
    assert served.client.post("/api/keys", json={"rows": []}).text == ""
    assert served.client.post("/api/keys", json={"rows": [10**6]}).status_code == 400


def test_a_server_that_is_killed_loses_no_decision_that_it_acknowledged(own_store):
    with start(own_store, "--edit") as server:
        acknowledged: list[str] = []

        def work(number: int) -> None:
            with httpx.Client(base_url=server.base, headers=server.client.headers) as client:
                for step in range(10_000):
                    tag = f"t{number}-{step}"
                    body = {"op": "tag", "rows": [step % 50], "value": tag}
                    try:
                        seen = client.get("/api/state").json()["edits"]
                        answer = client.post("/api/edits", json={**body, "seen": seen})
                    except httpx.HTTPError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(tag)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) >= 10, "some decisions are made", 60)
        os.kill(server.process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    tags = set(Run.open(Store(own_store)).edits.edited().tags)
    assert set(acknowledged) <= tags
    assert len(tags) <= len(acknowledged) + 1
    with start(own_store, "--edit") as server:
        seen = server.client.get("/api/edits").json()["length"]
        assert seen == len(tags)
        body = {"op": "tag", "rows": [1], "value": "after", "seen": seen}
        assert server.client.post("/api/edits", json=body).status_code == 200
