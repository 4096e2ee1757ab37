"""Decisions by commands, also after clusters were made again and images were added."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run
from cpp_pipe.store import ConflictError, QueryError, Store

from ..cli import embed, fail, succeed
from ..planted import groups

GROUPS = 4


@pytest.fixture(scope="module")
def assigned(tmp_path_factory) -> Path:
    """A store of 120 rows in four clusters. Read-only."""
    labels = [f"g{row % GROUPS}" for row in range(120)]
    folder = tmp_path_factory.mktemp("assigned")
    np.savez(
        folder / "rows.npz",
        x=groups(120, GROUPS, 0),
        key=[f"a{i}" for i in range(120)],
        label=labels,
    )
    succeed(folder / "artifacts", "import", folder / "rows.npz", "--model", "ViT-B-32")
    succeed(folder / "artifacts", "assign", "--k", str(GROUPS))
    return folder / "artifacts"


@pytest.fixture
def store(assigned, tmp_path) -> Path:
    """A copy of it, in which decisions are made."""
    return shutil.copytree(assigned, tmp_path / "artifacts", symlinks=True)


def clusters(store: Path, *flags: str) -> dict[int, dict]:
    rows = json.loads(succeed(store, "clusters", "--json", *flags).out)
    return {row["cluster"]: row for row in rows}


def log(store: Path) -> list[dict]:
    return json.loads(succeed(store, "edit", "log", "--json").out)


def test_decisions_are_logged_applied_undone_and_sealed(store, tmp_path):
    succeed(store, "edit", "name", "0", "steam engines")
    succeed(store, "edit", "merge", "1", "2")
    (tmp_path / "bad.txt").write_text("a0\na1\n")
    succeed(store, "edit", "exclude", "--keys", tmp_path / "bad.txt")
    succeed(store, "edit", "tag", "odd", "--key", "a3", "--key", "a7")
    decided = clusters(store, "--edits", "open")
    assert decided[0]["caption"] == "steam engines"
    assert sum(row["size"] for row in decided.values()) == 118
    assert 2 not in decided
    # The clusters themselves are what they were.
    assert [row["size"] for row in clusters(store).values()] == [30] * GROUPS
    done = succeed(store, "edit", "undo").out
    assert "undo decision 4 (tag 2 images: odd)" in done
    assert [entry["status"] for entry in log(store)] == ["applied"] * 3 + ["reverted", "applied"]
    sealed = json.loads(succeed(store, "edit", "seal", "final", "--json").out)
    assert (sealed["decisions"], sealed["excluded"], sealed["tags"]) == (5, 2, [])
    # What is sealed stays as it is.
    succeed(store, "edit", "name", "0", "other")
    assert clusters(store, "--edits", "final")[0]["caption"] == "steam engines"
    assert clusters(store, "--edits", "open")[0]["caption"] == "other"
    assert "--replace" in fail(store, "edit", "seal", "final")
    again = json.loads(succeed(store, "edit", "seal", "final", "--replace", "--json").out)
    assert again["version"] != sealed["version"]


def test_commands_apply_decisions(store, tmp_path):
    succeed(store, "edit", "name", "0", "steam engines")
    succeed(store, "edit", "exclude", "--key", "a0")
    succeed(store, "edit", "tag", "odd", "--key", "a4", "--key", "a8")
    found = json.loads(
        succeed(store, "search", "--key", "a4", "-n", "120", "--edits", "open", "--json").out
    )
    assert len(found) == 119
    assert "a0" not in {hit["key"] for hit in found}
    named = {hit["caption"] for hit in found if hit["cluster"] == 0}
    assert named == {"steam engines"}
    counted = succeed(store, "curate", "--dry-run", "--edits", "open", "--tag", "odd").out
    assert "seen 120 = chosen 2 + 1 excluded by a decision + 117 without the tag" in counted
    counted = succeed(store, "curate", "--dry-run", "--edits", "open", "--caption", "steam*").out
    assert "chosen 29" in counted or "chosen 30" in counted
    succeed(store, "export", "parquet", "--edits", "open", "--out", tmp_path / "all.parquet")
    table = pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert [row["key"] for row in table if row["excluded"]] == ["a0"]
    assert [row["key"] for row in table if row["tags"] == ["odd"]] == ["a4", "a8"]
    assert {row["cluster_name"] for row in table if row["edited_cluster"] == 0} == {"steam engines"}
    scores = json.loads(succeed(store, "eval", "--edits", "open", "--json").out)
    assert (scores["n"], scores["k"]) == (119, GROUPS)


def test_names_follow_clusters_and_tags_follow_images(store, tmp_path):
    before = Run.open(Store(store)).artifact("assignments").column("cluster")
    succeed(store, "edit", "name", str(before[0]), "first")
    succeed(store, "edit", "tag", "odd", "--key", "a5")
    succeed(store, "edit", "seal", "early")
    succeed(store, "assign", "--k", "6")
    run = Run.open(Store(store))
    edited = run.edits.edited()
    cluster = edited.cluster[0]
    if not edited.open:
        assert edited.names == {int(cluster): "first"}
    assert edited.tags["odd"].nonzero()[0].tolist() == [5]
    assert "sealed on other images or clusters" in fail(store, "clusters", "--edits", "early")
    succeed(store, "status")
    succeed(store, "edit", "seal", "early", "--replace")
    assert clusters(store, "--edits", "early")
    # Nor are the earlier clusters, which decisions refer to.
    assert "out of date" not in succeed(store, "status").out
    # What decisions refer to is kept, though no slot of the run holds it otherwise.
    succeed(store, "gc", "--yes")
    assert run.edits.edited().names == edited.names


def add_images(store, folder):
    """Imports the images of the store with forty more, and finds their clusters."""
    rows = np.concatenate([groups(120, GROUPS, 0), groups(40, GROUPS, 5)])
    keys = [f"a{i}" for i in range(160)]
    np.savez(folder / "rows.npz", x=rows, key=keys, label=["g"] * 160)
    succeed(store, "import", folder / "rows.npz", "--model", "ViT-B-32")
    succeed(store, "assign", "--k", str(GROUPS))


def test_decisions_survive_added_images(store, tmp_path):
    succeed(store, "edit", "exclude", "--key", "a3")
    succeed(store, "edit", "name", "1", "one")
    add_images(store, tmp_path)
    edited = Run.open(Store(store)).edits.edited()
    assert len(edited.cluster) == 160
    assert edited.excluded.nonzero()[0].tolist() == [3]
    assert edited.open == []
    assert list(edited.names.values()) == ["one"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paint"], "OPERATION must be one of"),
        (["exlude", "--key", "a1"], "did you mean exclude?"),
        (["name", "0"], "takes 2 arguments (CLUSTER NAME), got 1"),
        (["tag"], "takes 1 argument (TAG), got 0"),
        (["split", "1", "--key", "a0"], "none of these images is in cluster 1"),
        (["name", "zero", "x"], "CLUSTER or NUMBER must be a whole number"),
        (["name", "9", "x"], "cluster must be from 0 to 3"),
        (["merge", "1"], "two clusters or more"),
        (["tag", "x", "--key", "nobody"], "nobody"),
        (["tag", "x"], "needs images or a cluster: give --cluster, --key, --keys or --text"),
        (["tag", "a\nb", "--key", "a1"], "one line of text"),
        (["name", "0", "x", "--key", "a1"], "takes no --key"),
        (["split", "0"], "give --key, --keys or --text"),
        (["split", "0", "--cluster", "1"], "takes no --cluster"),
        (["exclude", "--key", "a1", "--cluster", "0"], "not both"),
        (["tag", "x", "--above", "0.3", "--key", "a1"], "--above goes with --text"),
        (["exclude", "--keys", "nowhere.txt"], "cannot be read"),
        (["undo"], "nothing to undo"),
        (["undo", "7"], "decision 7 does not exist or is reverted"),
        (["seal", "final"], "has no decisions to seal"),
        (["seal", "open"], "other than 'open'"),
        (["seal", "../x"], "must be a plain name"),
        (["seal", "a\nb"], "must be a plain name"),
    ],
)
def test_an_invalid_decision_is_one_line_of_error(store, words, message):
    assert message in fail(store, "edit", *words)


def test_undo_of_a_decision_that_never_was_takes_back_no_other(store):
    """`undo 0` took back the last decision."""
    succeed(store, "edit", "name", "0", "steam")
    assert "decision 0 does not exist or is reverted" in fail(store, "edit", "undo", "0")
    with pytest.raises(QueryError, match="decision 0 does not exist"):
        Run.open(Store(store)).edits.undo(0)
    assert [(each["op"], each["status"]) for each in log(store)] == [("name", "applied")]


def test_a_note_that_no_file_can_hold_is_refused_and_the_log_stays_readable(store):
    """It was recorded, and then no decision of the run could be read any more."""
    assert "must be text in UTF-8" in fail(store, "edit", "note", "caf\udce9", "--cluster", "0")
    assert log(store) == []
    succeed(store, "edit", "note", "two\nlines", "--cluster", "0")
    assert [each["value"] for each in log(store)] == ["two\nlines"]


@pytest.mark.parametrize(
    "images", [np.arange(120) == 7, [False, True], [1.7], [None], np.array([0.0, 7.0])]
)
def test_what_is_no_row_number_is_refused_and_no_other_image_is_excluded(store, images):
    """A mask excluded the images of rows 0 and 1, and 1.7 that of row 1."""
    edits = Run.open(Store(store)).edits
    with pytest.raises(QueryError, match="row must be a whole number"):
        edits.exclude(images=images)
    with pytest.raises(QueryError, match="cluster must be a whole number"):
        edits.name(1.5, "between")  # pyright: ignore[reportArgumentType]
    assert edits.decisions() == []


@pytest.mark.parametrize("images", [[], (), np.empty(0, np.int64)])
def test_an_empty_list_of_images_never_means_all_of_a_cluster(store, images):
    """`exclude` and its like decided about the whole cluster."""
    edits = Run.open(Store(store)).edits
    for decide in (edits.exclude, edits.include):
        with pytest.raises(QueryError, match="the list of images is empty"):
            decide(images=images, cluster=3)
    for decide in (edits.tag, edits.untag, edits.note):
        with pytest.raises(QueryError, match="the list of images is empty"):
            decide("x", images=images, cluster=3)
    with pytest.raises(QueryError, match="the list of images is empty"):
        edits.move(images, 3)
    with pytest.raises(QueryError, match="the list of images is empty"):
        edits.split(3, images)
    assert edits.decisions() == []


@pytest.mark.parametrize("images", [1.5, b"17"])
def test_what_is_no_list_of_images_is_refused(store, images):
    """The bytes of a key were row numbers."""
    edits = Run.open(Store(store)).edits
    with pytest.raises(QueryError, match="images must be rows or keys"):
        edits.move(images, 3)
    assert edits.decisions() == []


def test_a_file_without_keys_never_means_all_of_a_cluster(store, tmp_path):
    (tmp_path / "keys.txt").touch()
    flags = ("--cluster", "3", "--keys", tmp_path / "keys.txt")
    for words in (["exclude"], ["tag", "x"], ["note", "x"]):
        assert "the list of images is empty" in fail(store, "edit", *words, *flags)
    assert log(store) == []


@pytest.mark.parametrize("image", ["a17", 17, np.int64(17)])
def test_an_image_that_is_given_without_a_list_is_that_image(store, image):
    """Each letter of "12" was a key: two other images were excluded, if there were such keys."""
    edits = Run.open(Store(store)).edits
    edits.exclude(images=image)
    edits.move(image, 0)
    edits.tag("one", images=image)
    edited = edits.edited()
    assert edited.excluded.nonzero()[0].tolist() == [17]
    assert edited.cluster[17] == 0
    assert all(len(edit.images) == 1 for edit in edits.decisions())


def test_two_people_who_decide_at_once_lose_no_decision(store):
    first, second = (Run.open(Store(store)) for _ in range(2))
    log = first.store.runs.edits("default")
    entry = first.edits.name(0, "mine").to_json()
    with pytest.raises(ConflictError, match="made another one"):
        second.store.runs.edits("default").append({**entry, "id": "theirs"}, seen=0)
    second.edits.name(0, "theirs")
    assert [other["value"] for other in log.read()] == ["mine", "theirs"]


def decide(store: str, number: int, count: int) -> None:
    """Makes decisions as fast as possible; tries again if another process was faster."""
    run = Run.open(Store(store))
    for step in range(count):
        while True:
            try:
                run.edits.tag(f"t{number}-{step}", images=[step])
                break
            except ConflictError:
                pass


def test_processes_that_decide_at_once_lose_no_decision(store):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=decide, args=(str(store), n, 8)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    tags = Run.open(Store(store)).edits.edited().tags
    assert sorted(tags) == sorted(f"t{number}-{step}" for number in range(2) for step in range(8))


KILLED = """
import sys
from cpp_pipe import Run
from cpp_pipe.store import Store
run = Run.open(Store(sys.argv[1]))
for step in range(10_000):
    run.edits.tag(f"t{step}", images=[step % 120])
    print(step, flush=True)
"""


def test_a_killed_process_loses_no_acknowledged_decision(store):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(10)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()
    tags = Run.open(Store(store)).edits.edited().tags
    assert {f"t{step}" for step in acknowledged} <= set(tags)
    assert len(tags) <= len(acknowledged) + 1
    succeed(store, "edit", "tag", "after", "--key", "a1")


def test_a_damaged_or_missing_entry_is_named(store):
    run = Run.open(Store(store))
    for name in ("one", "two"):
        run.edits.name(0, name)
    folder = store / "runs" / "default" / "edits"
    (folder / "00000001.json").write_text("{}")
    assert "00000001.json is damaged" in fail(store, "edit", "log")
    (folder / "00000001.json").unlink()
    assert "00000001.json is missing" in fail(store, "edit", "log")


def test_python_refuses_what_does_not_exist(store):
    edits = Run.open(Store(store)).edits
    with pytest.raises(QueryError, match="row must be from 0 to 119"):
        edits.exclude(images=[500])
    with pytest.raises(QueryError, match="cluster must be"):
        edits.merge(0, 40)
    assert edits.decisions() == []


def test_a_cluster_that_was_merged_away_is_named(store):
    succeed(store, "edit", "merge", "0", "1")
    for words in (("exclude", "--cluster", "1"), ("name", "1", "x"), ("merge", "2", "1")):
        assert "cluster 1 has no images" in fail(store, "edit", *words)
    assert len(log(store)) == 1


def test_a_log_without_decisions_says_how_to_make_them(store):
    assert succeed(store, "edit", "log").out.startswith("no decisions yet: cpp-pipe edit --help")
    assert log(store) == []


def test_a_split_takes_only_images_of_its_cluster(store, tmp_path):
    cluster = np.array(Run.open(Store(store)).artifact("assignments").column("cluster"))
    (tmp_path / "keys.txt").write_text("\n".join(f"a{row}" for row in range(12)))
    number = int(cluster[0])
    inside = int((cluster[:12] == number).sum())
    done = succeed(store, "edit", "split", str(number), "--keys", tmp_path / "keys.txt")
    assert f"split {inside} images from cluster {number}" in done.out
    assert f"{12 - inside} of 12 images are not in it and stay in place" in done.err
    after = Run.open(Store(store)).edits.edited().cluster
    assert (after[:12] == GROUPS).tolist() == (cluster[:12] == number).tolist()


def test_decisions_that_cannot_be_applied_are_reported(store, tmp_path):
    succeed(store, "edit", "exclude", "--key", "a3")
    rows = groups(120, GROUPS, 0)[10:]
    np.savez(tmp_path / "rows.npz", x=rows, key=[f"a{i}" for i in range(10, 120)])
    succeed(store, "import", tmp_path / "rows.npz", "--model", "ViT-B-32")
    succeed(store, "assign", "--k", str(GROUPS))
    done = succeed(store, "clusters", "--edits", "open", "--json")
    assert "1 decision needs a look" in " ".join(done.err.split())
    # The log names the decision itself, and does not refer to itself.
    listed = succeed(store, "edit", "log")
    assert "decision 1 needs a look: " in listed.out and "edit log" not in listed.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", 10**30), ("by", 5), ("value", ["x"]), ("clusters", [True]), ("clusters", [1.5]),
        ("clusters", {"a": 1}), ("k", -5), ("k", 10**30), ("id", None), ("images", "abc"),
        ("images", [1]), ("value", "\ud800"), ("number", "1"), ("op", "paint"),
    ],
)  # fmt: skip
def test_a_forged_entry_is_refused_in_one_line(store, name, value):
    entry = Run.open(Store(store)).edits.name(0, "mine").to_json()
    path = store / "runs" / "default" / "edits" / "00000001.json"
    path.write_text(json.dumps({"format": 1, **entry, name: value}))
    message = fail(store, "edit", "log")
    assert "decision" in message or "damaged" in message


def test_decisions_on_all_images_of_a_cluster_stay_with_the_images(store, tmp_path):
    """The succeeding cluster may hold many other images, or images that are added later."""
    before = np.array(Run.open(Store(store)).artifact("assignments").column("cluster"))
    chosen = (before == 0).nonzero()[0].tolist()
    succeed(store, "edit", "exclude", "--cluster", "0")
    succeed(store, "edit", "tag", "bad", "--cluster", "0")
    assert "exclude 30 images" in succeed(store, "edit", "log").out
    succeed(store, "assign", "--k", "2")
    edited = Run.open(Store(store)).edits.edited()
    assert edited.excluded.nonzero()[0].tolist() == chosen
    assert edited.tags["bad"].nonzero()[0].tolist() == chosen
    add_images(store, tmp_path)
    edited = Run.open(Store(store)).edits.edited()
    assert edited.excluded.nonzero()[0].tolist() == chosen
    assert edited.open == []


def test_decisions_that_are_not_sealed_are_refused_before_any_work(tmp_path, digit_shards):
    store = tmp_path / "store"
    embed(store, digit_shards)
    for words in (
        ("export", "coco", "--out", tmp_path / "coco"),
        ("export", "csv", "--out", tmp_path / "images.csv"),
        ("clusters",),
        ("sample",),
        ("curate", "--dry-run"),
        ("eval",),
        ("report",),
    ):
        line = fail(store, *words, "--edits", "final")
        assert "--edits must be open (all decisions that were made), got 'final'" in line
    assert set(Run.open(store).record.versions) == {"embeddings"}
