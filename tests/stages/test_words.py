"""Words are encoded once for all images of a model, beside any other vocabularies."""

import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from cpp_pipe.pipeline.config import Settings
from cpp_pipe.stages.contract import Silent
from cpp_pipe.stages.encoding.encoder import Encoder
from cpp_pipe.stages.encoding.vocabulary import Vocabulary, embed_phrases
from cpp_pipe.store import ConfigError, Store, StoreError

from .small_models import DIGITS_CLIP, load_digits_clip
from .world import SETTINGS, plan_of

DIGITS = ("zero", "one", "two", "three", "four")


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    """Vocabularies as files: text, a table, and embeddings of the small CLIP's size."""
    (tmp_path / "digits.txt").write_text("\n".join(DIGITS))
    pq.write_table(pa.table({"name": ["Four", "letter_A"]}), tmp_path / "more.parquet")
    np.savez(tmp_path / "own.npz", name=np.array(["mine"]), t=np.eye(1, 32))
    return {path.suffix[1:]: str(path) for path in tmp_path.iterdir()}


def naming(*vocabularies: str, **caption) -> Settings:
    """The settings of the small run with other vocabularies."""
    return SETTINGS.override("caption", vocabulary=vocabularies, **caption)


def test_words_are_stored_with_their_embeddings_and_vocabulary(tmp_path, digit_shards, files):
    plan = plan_of(Store(tmp_path / "s"), digit_shards, naming(files["txt"], files["parquet"]))
    words = plan.make("words")
    names, vocabularies = words.column("name"), words.column("vocabulary")
    found = dict(zip(names, vocabularies, strict=True))
    assert found == {**dict.fromkeys(DIGITS, "digits.txt"),
                     "Four": "more.parquet", "letter A": "more.parquet"}  # fmt: skip
    encoder = load_digits_clip()
    for part in words.parts:
        there = words.table(part.name).column("name").to_pylist()
        expected = encoder.texts([f"a photo of a {name}." for name in there])
        np.testing.assert_allclose(words.embeddings(part.name), expected, atol=1e-3)


def test_an_encoded_vocabulary_is_reused_when_another_is_added(tmp_path, digit_shards, files):
    store = Store(tmp_path / "s")
    alone = plan_of(store, digit_shards, naming(files["txt"])).make("words")
    both = plan_of(store, digit_shards, naming(files["parquet"], files["txt"])).make("words")
    name = alone.parts[0].name
    assert len(both.parts) == 2 and both.version != alone.version
    assert os.path.samefile(alone.path(name, "rows"), both.path(name, "rows"))
    other = plan_of(store, digit_shards, naming(files["txt"], templates=("a {}",))).make("words")
    assert not os.path.samefile(alone.path(name, "rows"), other.path(name, "rows"))


def test_a_vocabulary_that_changed_since_it_was_identified_is_refused(tmp_path):
    """Its words would be kept under the name of those before."""
    path = tmp_path / "digits.txt"
    path.write_text("zero\none\n")
    vocabulary = Vocabulary.of(path.name, path)
    assert vocabulary.read(path).names == ("zero", "one")
    path.write_text("zero\ntwo\n")
    with pytest.raises(ConfigError, match="was changed while it was used"):
        vocabulary.read(path)


def test_more_images_of_the_same_model_reuse_the_words(tmp_path, digit_shards, files):
    store, settings = Store(tmp_path / "s"), naming(files["txt"])
    some = plan_of(store, digit_shards / "000.tar", settings)
    every = plan_of(store, digit_shards, settings)
    before = some.make("words")
    assert every.make("embeddings").version != some.make("embeddings").version
    assert every.make("words").version == before.version


def test_other_clusters_are_captioned_without_the_model(tmp_path, digit_shards, files):
    """The weights are destroyed first, so anything that needs the model fails."""
    local = {role: str(shutil.copy(path, tmp_path)) for role, path in DIGITS_CLIP.items()}
    embed = {"pretrained": local["weights"], "model_config": local["model_config"]}
    store = Store(tmp_path / "s")
    settings = naming(files["txt"]).override("embed", model="digits-clip", **embed)
    first = plan_of(store, digit_shards, settings.override("assign", k=5)).make("captions")
    save_file({"nothing": np.zeros(1)}, local["weights"])
    plan = plan_of(store, digit_shards, settings.override("assign", k=4))
    again = plan.make("captions")
    assert set(again.column("cluster")) == set(range(4)) != set(first.column("cluster"))
    assert again.manifest.inputs["words"] == first.manifest.inputs["words"]
    more = replace(plan, settings=plan.settings.override("caption", templates=("a {}",)))
    with pytest.raises(ConfigError, match="do not fit the model"):
        more.make("captions")


def test_a_vocabulary_with_embeddings_needs_only_the_models_size(tmp_path, digit_shards, files):
    store = Store(tmp_path / "s")
    words = plan_of(store, digit_shards, naming(files["npz"])).make("words")
    assert words.column("name") == ["mine"]
    np.testing.assert_array_equal(words.embeddings(words.parts[0].name), np.eye(1, 32))
    np.savez(files["npz"], name=np.array(["mine"]), t=np.eye(1, 8))
    with pytest.raises(ConfigError, match="embeddings of size 8, the images of size 32"):
        plan_of(store, digit_shards, naming(files["npz"])).make("words")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulary": "no-such.txt"}, "does not exist"),
        ({"vocabulary": ()}, "must name a vocabulary"),
        ({"templates": ("no place",)}, "must be a text with exactly one"),
    ],
)
def test_a_missing_vocabulary_is_reported_before_any_work(
    tmp_path, digit_shards, settings, message
):
    plan = plan_of(Store(tmp_path / "s"), digit_shards, SETTINGS.override("caption", **settings))
    with pytest.raises(ConfigError, match=message):
        plan.make("captions")
    assert not (tmp_path / "s").exists()


class Stopped(Silent):
    """Progress that stops the command after some phrases."""

    def __init__(self, after: int) -> None:
        self.phrases_left = after

    def advance(self, done: int, **more: object) -> None:
        self.phrases_left -= done
        if self.phrases_left < 0:
            raise KeyboardInterrupt


def test_a_stopped_encoding_resumes(tmp_path):
    encoded: list[str] = []
    encoder = load_digits_clip()
    counting = replace(
        encoder, tokenizer=lambda texts, **options: _note(texts, encoded, encoder, options)
    )
    names = [f"phrase {number}" for number in range(60)]
    templates = ["imagenet-80", "a {}"]  # 81 texts per phrase: 3 phrases at once, 24 in a block
    with pytest.raises(KeyboardInterrupt):
        embed_phrases(names, templates, counting, Stopped(50), tmp_path / "kept")
    before = len(encoded)
    found = embed_phrases(names, templates, counting, Silent(), tmp_path / "kept")
    assert len(encoded) - before == (60 - 48) * 81
    whole = embed_phrases(names, templates, encoder, Silent(), tmp_path / "other")
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-6)


def test_a_damaged_block_is_named_with_what_to_do(tmp_path):
    encoder = load_digits_clip()
    path = tmp_path / "checkpoints" / "words" / "0.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged" * 9)
    with pytest.raises(StoreError, match=r"0\.npy cannot be read .* remove .*checkpoints and run"):
        embed_phrases(["zero"], [], encoder, Silent(), path.parent)


def test_a_full_disk_leaves_no_part_of_a_block_behind(tmp_path, monkeypatch):
    """Each try left one more, which took the room that the next one needed."""

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    encoder = load_digits_clip()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="no space left while writing"):
        embed_phrases(["zero"], [], encoder, Silent(), tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def _note(texts: list[str], encoded: list[str], encoder: Encoder, options: dict[str, int]):
    """Tokens of texts; notes the texts that are encoded, not those that are only measured."""
    if not options and texts != [""]:
        encoded += texts
    assert encoder.tokenizer is not None
    return encoder.tokenizer(texts, **options)
