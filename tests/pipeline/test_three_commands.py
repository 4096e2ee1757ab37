"""The three commands of the README in an empty folder, and the commands around them."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run, Store, search
from cpp_pipe.stages.sources.digits import digit_halves, digit_image
from cpp_pipe.store import MissingError, QueryError

from .cli import SMALL, body, embed, succeed


@pytest.fixture(scope="module")
def searched(tmp_path_factory, digit_shards):
    """A store after embed, train and search, and the image of the search."""
    folder = tmp_path_factory.mktemp("searched")
    store = folder / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    image = folder / "img.png"
    digit_image(int(digit_halves()[1][5])).save(image)
    done = succeed(store, "search", "--query", image)
    return store, image, done


def test_search_after_train_makes_missing_artifacts_and_reports_them(searched):
    _, _, done = searched
    assert "making features" in done.err
    assert "making index/features" in done.err
    assert "needed by search" in done.err


def test_an_image_finds_itself_first(searched):
    store, image, _ = searched
    hits = json.loads(succeed(store, "search", "--query", image, "--json").out)
    assert hits[0]["key"] == f"digit_{int(digit_halves()[1][5]):04d}"
    assert hits[0]["similarity"] > 0.999
    assert [hit["rank"] for hit in hits] == list(range(1, 11))


def test_words_search_the_embeddings(searched):
    store, _, _ = searched
    words = "a photo of the handwritten digit seven"
    hits = json.loads(succeed(store, "search", "--text", words, "--json", "-n", "3").out)
    labels = dict(zip(*_keys_and_labels(store), strict=True))
    assert [labels[hit["key"]] for hit in hits] == ["7"] * 3


def test_a_key_finds_itself_with_and_without_its_shard(searched):
    store, _, _ = searched
    key = _keys_and_labels(store)[0][0]
    hits = json.loads(succeed(store, "search", "--key", key, "--json").out)
    assert hits[0]["key"] == key
    by_shard = succeed(store, "search", "--key", f"000.tar:{key}", "--json")
    assert json.loads(by_shard.out) == hits


def test_search_without_faiss_gives_the_same_hits_and_says_so(searched, monkeypatch):
    store, image, _ = searched
    with_index = json.loads(succeed(store, "search", "--query", image, "--json").out)
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "faiss" else find(name)
    )
    done = succeed(store, "search", "--query", image, "--json")
    assert "no FAISS is installed" in done.err
    without = json.loads(done.out)
    assert [hit["key"] for hit in without] == [hit["key"] for hit in with_index]
    for hit, other in zip(without, with_index, strict=True):
        assert hit["similarity"] == pytest.approx(other["similarity"], abs=1e-5)


def test_the_contact_sheet_shows_the_query_and_its_hits(searched, tmp_path):
    store, image, _ = searched
    sheet = tmp_path / "hits.png"
    succeed(store, "search", "--query", image, "--sheet", sheet, "-n", "5")
    drawn = np.asarray(Image.open(sheet).convert("L"), np.float32)
    assert drawn.shape[1] > 6 * 160
    tile = drawn[8 : 8 + 160, 8 : 8 + 160]
    first_hit = drawn[8 : 8 + 160, 176 : 176 + 160]
    # The first hit is the query itself, so both tiles show the same digit.
    assert np.abs(tile[4:-4, 4:-4] - first_hit[4:-4, 4:-4]).mean() < 1


def test_the_rest_of_the_path_follows(searched):
    store, _, _ = searched
    assert "shortest" in succeed(store, "select-k", "--grid", "5,10").out
    assert "60 rows in 10 clusters" in succeed(store, "assign", "--k", "10").out
    out = succeed(store, "caption", "--vocabulary", "digits-words.txt").out
    assert len(body(out)) == 11
    scores = json.loads(succeed(store, "eval", "--json").out)
    assert scores["n"] == 60 and scores["k"] == 10 and scores["classes"] == 10
    assert scores["clusters"]["acc"] > scores["chance"]["acc"]
    by_field = json.loads(succeed(store, "eval", "--label", "parity", "--json").out)
    assert by_field["classes"] == 2


def test_labels_can_come_from_a_table(searched, tmp_path):
    store, _, _ = searched
    keys, labels = _keys_and_labels(store)
    table = tmp_path / "labels.csv"
    lines = [f"{key},{label}" for key, label in zip(keys, labels, strict=True)][:50]
    table.write_text("key,label\n" + "\n".join(lines) + "\n")
    succeed(store, "assign", "--k", "10")
    scores = json.loads(succeed(store, "eval", "--labels", table, "--json").out)
    assert scores["n"] == 50 and scores["unlabelled"] == 10


def test_existing_artifacts_are_not_made_again(searched, digit_shards):
    store, _, _ = searched
    assert "nothing to do" in embed(store, digit_shards).err
    assert "nothing to do" in succeed(store, "train").err


def test_status_lineage_and_verify_describe_the_store(searched):
    store, _, _ = searched
    status = json.loads(succeed(store, "status", "--json").out)
    slots = {row["slot"] for row in status["default"]}
    assert {"embeddings", "heads", "features", "index/features"} <= slots
    tree = json.loads(succeed(store, "lineage", "index/features", "--json").out)
    assert tree["inputs"][0]["kind"] == "features"
    assert "are intact" in succeed(store, "verify").out
    assert "are intact (file sizes only)" in succeed(store, "verify", "--quick").out
    assert "heads" in succeed(store, "lineage", "features").out


def test_python_finds_what_the_command_line_finds(searched):
    store, image, _ = searched
    run = Run.open(Store(store))
    hits = run.search(image=image, n=3)
    printed = json.loads(succeed(store, "search", "--query", image, "--json", "-n", "3").out)
    assert [hit.to_json() for hit in hits] == printed
    assert run.image(hits[0].row).size == (32, 32)
    assert search(store=store, image=Image.open(image), n=3) == hits
    features = run.artifact("features")
    vector = np.hstack([features.array(features.parts[0].name, role)[0] for role in ("z", "c")])
    assert run.search(vector=vector, n=1)[0].similarity > 0.999
    with pytest.raises(QueryError, match="vector for features must have shape"):
        run.search(vector=[1.0, 2.0])
    with pytest.raises(QueryError, match="nothing to search for"):
        run.search(n=3)


def test_captions_of_other_clusters_are_never_shown(searched):
    store, _, _ = searched
    key = _keys_and_labels(store)[0][0]
    succeed(store, "assign", "--k", "6")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    hits = Run.open(store).search(key=key, n=3)
    assert all(hit.caption for hit in hits)
    succeed(store, "assign", "--k", "4")
    hits = Run.open(store).search(key=key, n=3)
    assert [hit.caption for hit in hits] == [None] * 3
    assert all(hit.cluster is not None for hit in hits)


def test_features_of_other_heads_are_never_searched(searched):
    store, _, _ = searched
    key = _keys_and_labels(store)[0][0]
    succeed(store, "train", "--seed", "1")
    with pytest.raises(MissingError, match="cpp-pipe project"):
        Run.open(store).search(key=key)
    assert "making features" in succeed(store, "search", "--key", key).err
    assert Run.open(store).search(key=key, n=1)[0].key == key
    succeed(store, "train", "--seed", "0")


def test_a_config_for_training_leaves_the_embeddings_alone(searched, tmp_path):
    store, _, _ = searched
    before = Run.open(store).record.settings
    config = tmp_path / "my.toml"
    config.write_text(
        "[embed]\nmodel = 'ViT-L-14'\n[data]\nshards = ['x']\n[train]\nseed = 3\nhidden = 16\n"
    )
    succeed(store, "train", "--config", config, "--set", "train.epochs=1")
    after = Run.open(store).record.settings
    assert after["embed"] == before["embed"] and after["data"] == before["data"]
    assert (after["train"]["seed"], after["train"]["hidden"]) == (3, 16)
    assert after["select_k"] == before["select_k"]
    assert succeed(store, "search", "--text", "seven", "-n", "1").code == 0
    succeed(store, "train", *SMALL, "--set", "train.seed=0", "--set", "train.hidden=32")


def test_new_shards_cost_only_themselves_and_keep_all_fits(searched, tmp_path):
    from ..stages.shards import write_shards

    store, _, _ = searched
    succeed(store, "assign", "--k", "10")
    before = Run.open(store)
    old_shards = before.record.settings["data"]["shards"]
    write_shards(tmp_path / "more", shards=1, first=200)
    os.rename(tmp_path / "more" / "000.tar", tmp_path / "more" / "new.tar")
    done = embed(store, *old_shards, tmp_path / "more")
    assert "3 of 4 parts are there already" in done.err
    done = succeed(store, "assign", "--k", "10")
    assert "was fitted before rows were added and is kept" in done.err
    assert "80 rows in 10 clusters" in done.out
    after = Run.open(store)
    assert after.record.versions["heads"] == before.record.versions["heads"]
    old, new = before.artifact("assignments"), after.artifact("assignments")
    for part in old.parts:
        assert os.path.samefile(old.path(part.name, "rows"), new.path(part.name, "rows"))


def _keys_and_labels(store):
    embeddings = Run.open(store).artifact("embeddings")
    return embeddings.column("key"), embeddings.column("label")
