"""A run with a backbone that embeds no texts, and captions from another run."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.view.facts import find_absences
from cpp_pipe.pipeline.view.opened_run import OpenedRun
from cpp_pipe.pipeline.view.query import embed_image
from cpp_pipe.store import Store

from ..stages.shards import write_shards
from ..stages.small_models import write_timm_weights
from .cli import DIGITS, SMALL, Outcome, body, fail, open_whole, succeed

SHORT = (*SMALL, "--set", "spectrum.landmarks=60", "--set", "spectrum.k_max=8")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """A store with a run of a ResNet of timm, and its shards."""
    folder = tmp_path_factory.mktemp("backbones")
    write_shards(folder / "in")
    weights = write_timm_weights(folder, "resnet10t")
    words = ("--shards", folder / "in", "--model", "timm/resnet10t", "--pretrained", weights)
    succeed(folder / "store", "embed", *words)
    succeed(folder / "store", "assign", "--k", "4", *SHORT)
    return folder / "store", folder / "in"


NO_TEXTS = "timm/resnet10t embeds images and no texts: embed the same images with a model that"


def test_images_are_embedded_clustered_and_searched(made):
    store, _ = made
    embeddings = open_whole(store)
    assert embeddings.facts["model"]["model"] == "timm/resnet10t"
    assert embeddings.facts["model"]["embedding_size"] == 512
    key = embeddings.column("key")[7]
    run = Run.open(store)
    assert run.search(key=key, n=1)[0].key == key
    query = embed_image(run.encoder, run.image(7)).astype(np.float32)
    stored = np.concatenate([embeddings.embeddings(part) for part in embeddings.part_names])
    distances = np.linalg.norm(stored.astype(np.float32) - query, axis=1)
    assert distances.argmin() == 7 and distances[7] < 1e-2
    lines = body(succeed(store, "search", "--key", key, "-n", "3").out)
    assert key in lines[1]


@pytest.mark.parametrize(
    "words",
    [
        ("search", "--text", "a zero"),
        ("search", "--key", "digit_0001", "--not", "a zero"),
        ("caption", "--vocabulary", "digits-words.txt"),
        ("score", "--name", "round", "--text", "a zero"),
        ("train", "--guide", "digits-words.txt"),
    ],
    ids=lambda words: words[0],
)
def test_commands_that_need_texts_are_refused_and_make_nothing(made, words):
    store, _ = made
    before = {artifact.version for artifact in Store(store).artifacts()}
    assert NO_TEXTS in fail(store, *words)
    assert {artifact.version for artifact in Store(store).artifacts()} == before


def test_after_index_a_search_is_suggested_that_the_model_can_answer(made):
    """It suggested a search by words, which was then refused."""
    out = succeed(made[0], "index").out
    assert "next: cpp-pipe search --query img.jpg" in out and "--text" not in out


def next_lines(done: Outcome) -> list[str]:
    """The commands that a command suggests, without the flag that names the store."""
    lines = [line for line in done.out.splitlines() if " cpp-pipe " in line]
    return [line.split("cpp-pipe ")[1].split(" --store")[0] for line in lines]


def test_captions_are_suggested_only_where_a_run_has_the_words(made, tmp_path):
    """`caption` was suggested, and was then refused."""
    store, shards = shutil.copytree(made[0], tmp_path / "store"), made[1]
    assign = ("assign", "--k", "4")
    assert next_lines(succeed(store, *assign)) == ["clusters"]
    assert not any("caption" in line for line in next_lines(succeed(store, "clusters")))
    assert next_lines(succeed(store, "status")) == ["report"]
    assert find_absences(OpenedRun.open(store))["captions"].command.startswith(
        "cpp-pipe caption --beside RUN"
    )
    succeed(store, "embed", "--shards", shards, *DIGITS, "--run", "clip")
    for words in (assign, ("clusters",), ("status",)):
        first, *_ = next_lines(succeed(store, *words, "--run", "default"))
        assert first == "caption --beside clip"


@pytest.mark.parametrize(("model", "is_known"), [("ViT-B-32", True), ("dinov2_vitb14", False)])
def test_imported_embeddings_of_an_unknown_model_get_no_captions(tmp_path, model, is_known):
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", vectors)
    store = tmp_path / "store"
    succeed(store, "import", tmp_path / "x.npy", "--model", model)
    lines = next_lines(succeed(store, "assign", "--k", "3", *SHORT))
    assert lines == (["caption", "clusters"] if is_known else ["clusters"])


def test_captions_come_from_a_run_that_embeds_texts_too(made):
    store, shards = made
    succeed(store, "embed", "--shards", shards, *DIGITS, "--run", "clip")
    words = ("caption", "--run", "default", "--vocabulary", "digits-words.txt", "--beside", "clip")
    done = succeed(store, *words)
    assert len(body(done.out)) == 1 + 4
    captions = open_whole(store, "captions")
    assert captions.facts["k"] == 4
    assert set(captions.manifest.inputs) == {
        "embeddings", "embeddings/clip", "assignments", "words",
    }  # fmt: skip
    assert "nothing to do" in succeed(store, *words).err
    hits = Run.open(store, "default").search(key=open_whole(store).column("key")[0], n=20)
    assert any(hit.caption for hit in hits)


@pytest.mark.parametrize("first", ["beside", "own"])
def test_two_runs_share_words_and_both_stay_current(made, tmp_path, first):
    store = tmp_path / "store"
    shutil.copytree(made[0], store)
    succeed(store, "embed", "--shards", made[1], *DIGITS, "--run", "clip")
    succeed(store, "assign", "--k", "4", *SHORT, "--run", "clip")
    own = ("caption", "--run", "clip", "--vocabulary", "digits-words.txt")
    beside = (*own[:2], "default", *own[3:], "--beside", "clip")
    for words in (own, beside) if first == "own" else (beside, own):
        succeed(store, *words)
    versions = [Store(store).runs.read(name).versions["words"] for name in ("default", "clip")]
    assert versions[0] == versions[1], "else nothing is shared"
    for words in (own, beside):
        assert "nothing to do" in succeed(store, *words).err
        status = succeed(store, "status", "--run", words[2]).out
        assert "out of date" not in status, status


def test_a_run_beside_must_embed_texts_and_hold_the_images(made, tmp_path):
    store, _ = made
    others = write_shards(tmp_path / "other", shards=1, first=100)
    succeed(store, "embed", "--shards", others[0], *DIGITS, "--run", "elsewhere")
    words = ("caption", "--run", "default", "--vocabulary", "digits-words.txt", "--beside")
    assert "has no embedding for any of the images" in fail(store, *words, "elsewhere")
    assert "--beside must name another run" in fail(store, *words, "default")


def test_every_step_runs_without_captions(tmp_path):
    write_shards(tmp_path / "in")
    weights = write_timm_weights(tmp_path, "resnet10t")
    words = ("--shards", tmp_path / "in", "--model", "timm/resnet10t", "--pretrained", weights)
    done = succeed(tmp_path / "store", "run", *words, "--run", "default", *SHORT)
    assert "no captions: timm/resnet10t embeds images and no texts" in done.out
    assert "--text" not in done.out
    assert "captions" not in Store(tmp_path / "store").runs.read("default").versions


def test_page_and_report_call_no_embeddings_clip():
    """A run of DINOv2 had "CLIP embeddings" on the page."""
    pipeline = Path(__file__).parents[2] / "pipeline"
    files = [*(pipeline / "serve" / "page").rglob("*.js"), *(pipeline / "report").glob("*.py")]
    assert len(files) > 40
    assert [path.name for path in files if "CLIP" in path.read_text(encoding="utf-8")] == []


def test_a_tag_of_open_clip_is_not_one_of_timm(tmp_path):
    write_shards(tmp_path / "in")
    line = fail(
        tmp_path / "store", "embed", "--shards", tmp_path / "in",
        "--model", "timm/resnet10t", "--pretrained", "laion2b_s34b_b79k",
    )  # fmt: skip
    assert "a model of timm has its tag in its name, --model timm/resnet10t.TAG" in line
