"""Search by images, words and keys, by positive and negative examples, and with filters."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.chaos import finish, start
from cpp_pipe import Run, Store
from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.view.keys import row_of_key
from cpp_pipe.pipeline.view.query import Question, combine, examples
from cpp_pipe.pipeline.view.searcher import Searcher
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.stages.sources.digits import digit_halves, digit_image
from cpp_pipe.store import ConfigError, QueryError
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.upkeep import collect, verify

from ..stages.shards import write_shards
from .cli import SMALL, body, embed, fail, hits_of, succeed

IVF = ("--factory", "IVF4,SQfp16")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: shards, a store with clusters, captions and indexes of lists, and an image."""
    folder = tmp_path_factory.mktemp("search")
    write_shards(folder / "shards", shards=4, size=30)
    digit_image(int(digit_halves()[1][5])).save(folder / "img.png")
    store = folder / "store"
    embed(store, folder / "shards")
    succeed(store, "train", *SMALL)
    succeed(store, "index", *IVF, "--target-recall", "1")
    succeed(store, "assign", "--k", "6")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be changed."""
    return shutil.copytree(made / "store", tmp_path / "store")


def key_of(number: int) -> str:
    return f"digit_{int(digit_halves()[1][number]):04d}"


def label_of(run: Run, key: str) -> str:
    embeddings = run.artifact("embeddings")
    return dict(zip(embeddings.column("key"), embeddings.column("label"), strict=True))[key]


# What is asked.


def test_the_table_and_json_agree(made):
    hits = hits_of(made / "store", "--query", made / "img.png", "-n", "4")
    assert hits[0]["key"] == key_of(5) and len(hits) == 4
    lines = succeed(made / "store", "search", "--query", made / "img.png", "-n", "4").out
    head, *rows = body(lines)
    assert head.split() == ["rank", "similarity", "key", "cluster", "caption"]
    for line, hit in zip(rows, hits, strict=True):
        rank, similarity, key, cluster, caption = line.split(maxsplit=4)
        assert [int(rank), key, int(cluster)] == [hit["rank"], hit["key"], hit["cluster"]]
        assert float(similarity) == pytest.approx(hit["similarity"], abs=1e-4)
        assert caption == hit["caption"]


def test_an_image_is_read_from_a_path_a_url_or_a_pipe(made):
    image = made / "img.png"
    by_path = hits_of(made / "store", "--query", image)
    assert hits_of(made / "store", "--query", image.as_uri()) == by_path
    words = ["search", "--query", "-", "--json", "--store", str(made / "store")]
    piped = CliRunner().invoke(app, words, input=image.read_bytes())
    assert json.loads(piped.stdout) == by_path
    assert Run.open(made / "store").search(image=image.read_bytes())[0].key == by_path[0]["key"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--query", "nowhere.png"], "nowhere.png cannot be read"),
        (["--query", "https://example.com/a.png"], "is not on this machine"),
        (["--query", "file://elsewhere/a.png"], "is not on this machine"),
        (["--query", "http://[x"], "--query http://[x cannot be read: Invalid IPv6 URL"),
        (["--key", key_of(0), "--not", "http://[x"], "--not http://[x cannot be read"),
        (["--query", __file__], "must be a JPEG, PNG, WebP, GIF, BMP, TIFF or another image"),
        ([], "nothing to search for: give --query FILE"),
        (["--not", "a car"], "nothing to search for"),
        (["--text", "seven", "--space", "features"], "a text has no features"),
        (
            ["--key", "digit_0000", "--not", "a car", "--space", "features"],
            "a text has no features",
        ),
        (
            ["--key", "digit_none"],
            "--key 'digit_none' is in none of the 120 rows of the run; keys look like",
        ),
        (["--key", key_of(0), "--space", "pixels"], "space must be 'features' or 'embeddings'"),
        (["--key", key_of(0), "--cluster", "6"], "cluster must be from 0 to 5, got 6"),
        (["--key", key_of(0), "--target-recall", "0"], "above 0"),
        (["--key", key_of(0), "--not", "gone.jpg"], "--not gone.jpg cannot be read"),
        (
            ["--key", key_of(0), "--not", f"key:{key_of(0)}", "--not", "key:x"],
            "--not 'key:x' is in none",
        ),
    ],
)
def test_the_error_for_an_invalid_query_says_why(made, words, why):
    assert why in fail(made / "store", "search", *words)


def test_an_old_joined_vector_finds_the_same_as_features_alone(made):
    """Old scripts give both."""
    run = Run.open(made / "store")
    features = run.artifact("features")
    z, c = (features.array(features.parts[0].name, role) for role in ("z", "c"))
    assert np.array_equal(z, c)
    hits = run.search(vector=z[1], n=5)
    joined = run.search(vector=np.hstack([z[1], c[1]]), n=5)
    assert hits[0].row == 1 and [hit.row for hit in joined] == [hit.row for hit in hits]
    assert [hit.similarity for hit in joined] == pytest.approx([hit.similarity for hit in hits])
    with pytest.raises(QueryError, match=r"must have shape \(16,\)"):
        run.search(vector=z[1, :7])


def test_several_examples_find_what_is_similar_to_all(made):
    run = Run.open(made / "store")
    keys = [key_of(1), key_of(2)]
    z = _vectors(run)
    rows = [row_of_key(run.artifact("embeddings"), key) for key in keys]
    mean = z[rows].mean(0) / np.linalg.norm(z[rows].mean(0))
    hits = run.search(key=keys, n=5)
    assert [hit.row for hit in hits] == np.argsort(-(z @ mean), kind="stable")[:5].tolist()
    assert hits_of(made / "store", "--key", keys[0], "--key", keys[1], "-n", "5") == [
        hit.to_json() for hit in hits
    ]


def test_images_like_a_negative_example_are_avoided(made):
    run = Run.open(made / "store")
    words = "a photo of the handwritten digit {}"
    seven = run.search(text=words.format("seven"), n=120)
    similar = {hit.key: hit.similarity for hit in run.search(text=words.format("one"), n=120)}
    without = run.search(text=words.format("seven"), unlike={"text": words.format("one")}, n=120)
    before = np.mean([similar[hit.key] for hit in seven[:15]])
    after = np.mean([similar[hit.key] for hit in without[:15]])
    assert after < before
    assert np.mean([label_of(run, hit.key) == "7" for hit in without[:5]]) >= 0.8
    done = succeed(made / "store", "search", "--key", key_of(3), "--not", f"key:{key_of(4)}")
    assert f"avoiding: key '{key_of(4)}'" in done.err
    done = succeed(
        made / "store", "search", "--key", key_of(3), "--not", made / "img.png", "-n", "1"
    )
    assert "avoiding: image" in done.err


def test_only_the_direction_of_an_example_matters():
    rng = np.random.default_rng(0)
    like, unlike = rng.normal(size=(3, 8)), rng.normal(size=(2, 8))
    one = combine(like, unlike)
    assert np.linalg.norm(one) == pytest.approx(1)
    assert np.allclose(one, combine(like * 7, unlike / 3), atol=1e-6)
    assert (combine(like[:1], unlike[:0]) == like[:1].astype(np.float32)).all()
    # What a vector has in common with the unwanted one is taken away by half.
    assert combine(np.eye(8)[:1], np.eye(8)[1:2])[0, :2].tolist() == pytest.approx(
        [2 / 5**0.5, -1 / 5**0.5]
    )
    with pytest.raises(QueryError, match="cancel out"):
        combine(np.array([[1.0, 0], [-1, 0]]), np.empty((0, 2)))


def test_python_takes_one_example_or_several_of_each_kind():
    made = examples({"text": "a", "key": ["b", "c"], "image": None, "vector": [1.0, 0.0]})
    assert [one.kind for one in made] == ["text", "key", "key", "vector"]
    assert len(examples({"vector": np.eye(3)})) == 3
    assert Question(like=made).where == "embeddings"
    assert Question(like=made[1:3]).where == "features"
    with pytest.raises(QueryError, match="'words' is not a kind of example"):
        examples({"words": "a"})
    wrongs: list[dict[str, Any]] = [
        {"n": 0}, {"min_confidence": 2.0}, {"target_recall": 1.5}, {"space": "pixels"},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ConfigError, match="must be"):
            Question(like=made[1:2], **wrong)


# Which rows may be found.


def test_filters_apply_before_hits_are_chosen(made):
    run = Run.open(made / "store")
    z = _vectors(run)
    query = z[row_of_key(run.artifact("embeddings"), key_of(0))]
    clusters = np.array(run.artifact("assignments").column("cluster"))
    confidence = np.array(run.artifact("assignments").column("confidence"))
    sure = float(np.median(confidence))
    passes = np.isin(clusters, [1, 4]) & (confidence >= sure)
    wanted = [row for row in np.argsort(-(z @ query), kind="stable").tolist() if passes[row]]
    hits = hits_of(
        made / "store", "--key", key_of(0), "--cluster", "1", "--cluster", "4",
        "--min-confidence", str(sure), "-n", "200",
    )  # fmt: skip
    assert [hit["row"] for hit in hits] == wanted and 0 < len(wanted) < 60
    assert {hit["cluster"] for hit in hits} <= {1, 4}
    of_one = run.search(key=key_of(0), cluster=1, n=120)
    surest = run.search(key=key_of(0), cluster=1, min_confidence=1.0, n=3)
    assert [hit.row for hit in surest] == [hit.row for hit in of_one if hit.confidence == 1][:3]
    # Lists give the same as comparing all rows does.
    lists = Searcher(run.artifact("features"), run.artifact("index/features"), few_rows=0)
    rows = lists.nearest(query[None], 200, target_recall=1, allowed=passes)[1]
    assert rows.tolist() == wanted


def test_filters_need_clusters_and_keys_of_the_run(made, tmp_path):
    store = tmp_path / "store"
    embed(store, made / "shards")
    succeed(store, "train", *SMALL)
    for words in (["--key", "gone"], ["--key", key_of(0), "--not", "key:gone"]):
        assert "gone" in fail(store, "search", *words)
    assert Run.open(store).find("features") is None, "keys are looked up before anything is made"
    line = fail(store, "search", "--key", key_of(0), "--cluster", "1")
    assert "no current clusters" in line and "cpp-pipe assign" in line


# What comes back.


def test_hits_open_their_images(made):
    run = Run.open(made / "store")
    hit = run.search(image=made / "img.png", n=1)[0]
    assert hit.image().tobytes() == digit_image(int(digit_halves()[1][5])).convert("RGB").tobytes()
    assert hit.caption and hit.cluster is not None and 0 <= (hit.confidence or 0) <= 1
    assert set(hit.to_json()) == {
        "rank", "similarity", "key", "shard", "row", "cluster", "confidence", "caption",
    }  # fmt: skip


def test_a_sheet_of_an_image_from_a_pipe_is_drawn(made, tmp_path):
    words = ["search", "--query", "-", "--sheet", str(tmp_path / "hits.png"), "-n", "2"]
    image = io.BytesIO()
    digit_image(3).save(image, "PNG")
    done = CliRunner().invoke(app, [*words, "--store", str(made / "store")], input=image.getvalue())
    assert done.exit_code == 0 and (tmp_path / "hits.png").stat().st_size > 1000


# The index behind it.


def test_index_reports_what_it_makes_and_its_recall(store):
    done = succeed(store, "index", "--refit", *IVF)
    assert "is there already: nothing to do" in done.err
    done = succeed(store, "index", "--factory", "IVF5,SQ8", "--space", "features")
    assert "index/features: 120 rows of 16 numbers as IVF5,SQ8: about" in done.err
    assert " of memory and " in done.err and " s with " in done.err
    assert "features: 120 rows, IVF5,SQ8, recall@10 " in done.out and "lists visited" in done.out
    assert "index.factory = 'IVF5,PQ7'" in fail(store, "index", "--factory", "IVF5,PQ7")
    assert "auto or one of Flat (exact)" in fail(store, "index", "--set", "index.factory=LSH")
    assert "--space must be features, embeddings or both, got 'x'" in fail(
        store, "index", "--space", "x"
    )


def test_the_target_recall_is_recorded_in_the_run(store):
    succeed(store, "index", *IVF, "--target-recall", "0.5")
    assert Run.open(store).record.settings["index"]["target_recall"] == 0.5
    version = Run.open(store).record.versions["index/features"]
    succeed(store, "index", *IVF, "--target-recall", "0.9")
    assert Run.open(store).record.versions["index/features"] == version


def test_added_and_removed_shards_cost_only_themselves(store, made, tmp_path):
    write_shards(tmp_path / "more", shards=1, size=40, first=200)
    os.rename(tmp_path / "more" / "000.tar", tmp_path / "more" / "new.tar")
    old = sorted((made / "shards").glob("*.tar"))
    before = Run.open(store)
    embed(store, *old, tmp_path / "more")
    done = succeed(store, "index", "--space", "embeddings")
    assert "quantizer/embeddings" in done.err and "rows were added and is kept" in done.err
    assert f"`cpp-pipe index --refit --store {store}` fits it again" in done.err
    assert "4 of 5 parts are there already" in done.err
    assert "embeddings: 160 rows, IVF4,SQfp16" in done.out
    new = key_of(205)
    assert hits_of(store, "--key", new, "--space", "embeddings")[0]["key"] == new
    embed(store, *old[1:], tmp_path / "more")
    done = succeed(store, "index", "--space", "embeddings")
    assert "rows were removed and is kept" in done.err
    assert "quantize: making" in done.err and "embeddings: 130 rows" in done.out
    run = Run.open(store)
    assert (
        run.record.versions["quantizer/embeddings"]
        == before.record.versions["quantizer/embeddings"]
    )
    gone = {key_of(number) for number in range(30)}
    assert not gone & {hit.key for hit in run.search(text="seven", n=200)}
    assert "is in none of the 130 rows" in fail(store, "search", "--key", key_of(0))
    assert [list(verify(artifact)) for artifact in Store(store).artifacts()][-1] == []
    collect(Store(store))
    assert hits_of(store, "--key", new, "--space", "embeddings")[0]["key"] == new


def test_an_index_of_older_rows_is_refused(store, made, tmp_path):
    write_shards(tmp_path / "more", shards=1, size=40, first=300)
    embed(store, made / "shards", tmp_path / "more")
    run = Run.open(store)
    with pytest.raises(QueryError, match="run `cpp-pipe index --store"):
        run.search(text="seven")
    assert len(hits_of(store, "--text", "seven", "-n", "200")) == 160
    assert len(Run.open(store).search(text="seven", n=200)) == 160


@pytest.mark.slow
def test_two_workers_build_the_same_index_as_one(made, tmp_path):
    contents = []
    for count in (1, 2):
        store = tmp_path / str(count)
        embed(store, made / "shards")
        words = ["index", "--space", "embeddings", *IVF, "--store", store]
        workers = [
            start([*words, "--worker", f"{number}/{count}"], tmp_path / f"{count}-{number}.txt")
            for number in range(count)
        ]
        assert [finish(worker) for worker in workers] == [0] * count
        versions = Run.open(store).record.versions
        contents.append(
            {
                kind: Store(store).open(KINDS[kind], versions[f"{kind}/embeddings"]).content
                for kind in ("quantizer", "lists", "index")
            }
        )
        output = (tmp_path / f"{count}-0.txt").read_text()
        assert "embeddings: 120 rows, IVF4,SQfp16, recall@10" in output
    assert contents[0] == contents[1]


def _vectors(run: Run) -> np.ndarray:
    features = run.artifact("features")
    z, c = (
        np.vstack([features.array(part.name, role) for part in features.parts])
        for role in ("z", "c")
    )
    # Joined, rows that are equal would give the same cosines.
    return (z if np.array_equal(z, c) else join_features(z, c)).astype(np.float32)


MODULES = """
import json, sys
from cpp_pipe.pipeline.commands.app import app
app(sys.argv[1:], standalone_mode=False)
names = {"torch", "open_clip", "open_clip.coca_model", "sklearn", "scipy", "sympy", "ftfy"}
print(json.dumps(sorted({*names, "huggingface_hub.hf_api"} & {*sys.modules})))
"""


def loaded_by(store: Path, *words: str | Path) -> list[str]:
    """The heavy libraries that a process loads for a command."""
    command = [sys.executable, "-c", MODULES, *map(str, words), "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_search_by_an_image_loads_only_the_libraries_that_it_uses(made):
    found = loaded_by(made / "store", "search", "--query", made / "img.png", "--no-server")
    assert found == ["open_clip", "open_clip.coca_model", "torch"]


@pytest.mark.parametrize("words", [("search", "--key", key_of(2)), ("clusters",)])
def test_commands_that_need_no_model_load_no_heavy_library(made, words):
    assert loaded_by(made / "store", *words) == []
