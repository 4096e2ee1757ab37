"""Vocabularies: from the libraries that carry them, from WordNet, or from the user's files."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import wn
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.encoding.vocabulary import Vocabulary, expand_templates
from cpp_pipe.stages.sources.phrases import Phrases, of_file
from cpp_pipe.store import ConfigError

from ...strategies import byte_edits, overwrite_bytes

LEXICON = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
  <Lexicon id="{id}" label="small" language="{language}" email="a@b.example" license="none"
    version="{version}">
{entries}
  </Lexicon>
</LexicalResource>
"""


def read(name: str) -> Phrases:
    """The words of a named vocabulary."""
    return Vocabulary.of(name).read(None)


def test_imagenet_and_coco_come_from_their_libraries():
    imagenet, coco = read("imagenet"), read("coco")
    assert 990 <= len(imagenet.names) <= 1000 and "goldfish" in imagenet.names
    assert len(coco.names) == 80 and "traffic light" in coco.names
    assert "N/A" not in coco.names


def test_a_vocabulary_is_identified_by_its_package_or_its_bytes(tmp_path):
    assert Vocabulary.of("coco").identity.startswith("torchvision ")
    some, other = tmp_path / "a" / "words.txt", tmp_path / "b" / "words.txt"
    for path in (some, other):
        path.parent.mkdir()
        path.write_text("cat\n")
    assert Vocabulary.of("words.txt", some) == Vocabulary.of("words.txt", other)
    other.write_text("dog\n")
    assert Vocabulary.of("words.txt", some).part_name != Vocabulary.of("words.txt", other).part_name


# Files.


def test_a_text_file_holds_one_phrase_per_line(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# a comment\ncat\n\n  red   car \ntraffic_light\ncat\nCat\n")
    assert of_file(path).names == ("cat", "red car", "traffic light")


@pytest.mark.parametrize("text", ["", "# nothing\n\n  \n"])
def test_an_empty_file_of_words_is_refused(tmp_path, text):
    path = tmp_path / "words.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds no phrase"):
        of_file(path)
    path.write_bytes(b"\xff\xfe\x00caf\xe9")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        of_file(path)


@pytest.mark.parametrize(
    "columns",
    [
        {"id": ["x", "y", "z"], "text": ["no", "no", "no"], "name": ["cat", None, "dog"]},
        {"id": ["x", "y", "z"], "text": ["cat", " ", "dog"]},
        {"number": [1, 2, 3], "breed": ["cat", "dog", "dog"], "other": ["x", "y", "z"]},
        {"breed": pa.array(["cat", "dog", "cat"]).dictionary_encode()},
        {"breed": pa.array(["cat", "dog", None], pa.large_string())},
    ],
)
def test_phrases_come_from_the_column_name_or_text_or_the_first_text_column(tmp_path, columns):
    path = tmp_path / "words.parquet"
    pq.write_table(pa.table(columns), path)
    assert of_file(path).names == ("cat", "dog")


def test_a_table_without_text_says_which_columns_it_has(tmp_path):
    path = tmp_path / "words.parquet"
    pq.write_table(pa.table({"score": [0.5], "names": [["cat"]]}), path)
    with pytest.raises(ConfigError, match=r"but score \(double\), names \(list<.*a column name"):
        of_file(path)
    path.write_text("cat")
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        of_file(path)


def test_a_vocabulary_can_hold_embeddings(tmp_path):
    path = tmp_path / "words.npz"
    names = np.array(["red_car", "b", "Red car"])
    np.savez(path, name=names, t=np.array([[2, 0, 0], [0, 3, 4], [0, 0, 1]], np.float16))
    found = of_file(path)
    assert found.names == ("red car", "b")
    assert found.embeddings is not None and found.embeddings.dtype == np.float32
    np.testing.assert_allclose(found.embeddings, [[1, 0, 0], [0, 0.6, 0.8]], rtol=1e-6)


def test_an_invalid_file_of_embeddings_is_refused(tmp_path):
    path = tmp_path / "words.npz"
    np.savez(path, name=np.array(["a", "b"]), t=np.eye(3))
    with pytest.raises(ConfigError, match="must be"):
        of_file(path)
    np.savez(path, words=np.array(["a"]))
    with pytest.raises(ConfigError, match="with `name` and `t`"):
        of_file(path)
    np.savez(path, name=np.array(["a", "b"]), t=np.array([[1.0, 0], [np.nan, 1]]))
    with pytest.raises(ConfigError, match="zero or not finite"):
        of_file(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ConfigError, match="with `name` and `t`"):
        of_file(path)


def test_names_of_bytes_are_read_as_utf8(tmp_path):
    path = tmp_path / "words.npz"
    np.savez(path, name=np.array(["café".encode(), b"red_car", b"\xff"]), t=np.eye(3))
    assert of_file(path).names == ("café", "red car", "\ufffd")
    np.savez(path, name=np.array([7, 8]), t=np.eye(2))
    assert of_file(path).names == ("7", "8")


def test_a_lone_surrogate_in_a_name_is_replaced(tmp_path):
    path = tmp_path / "words.npz"
    np.savez(path, name=np.array(["cat\ud800", "dog"]), t=np.eye(2))
    assert of_file(path).names == ("cat\ufffd", "dog")


@pytest.mark.parametrize("damage", ["cut", "compressed", "not a zip", "text", "no array", "locked"])
def test_a_damaged_zip_of_a_vocabulary_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "words.npz"
    np.savez_compressed(path, name=np.array(["a", "b"]), t=np.eye(2))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-30]
    elif damage == "compressed":
        # The type of the first block of the compressed bytes, behind the header and the name.
        content[30 + len("name.npy") + int.from_bytes(content[28:30], "little")] ^= 6
    elif damage == "not a zip":
        with path.open("wb") as file:
            np.save(file, np.eye(2))
        content = bytearray(path.read_bytes())
    elif damage == "text":
        content = bytearray(b"cat\ndog\n")
    elif damage == "no array":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("name.npy", "cat")
            archive.writestr("t.npy", "1 0")
        content = bytearray(path.read_bytes())
    else:
        content[6] |= 1  # the first flag of the first entry, and of the directory: it is encrypted
        content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"words\.npz .*`name` and `t`"):
        of_file(path)


@settings(deadline=None, max_examples=100)
@given(
    edits=byte_edits,
    is_compressed=st.booleans(),
)
def test_a_damaged_vocabulary_is_read_or_refused(tmp_path_factory, edits, is_compressed):
    path = tmp_path_factory.getbasetemp() / "fuzz-words.npz"
    save = np.savez_compressed if is_compressed else np.savez
    save(path, name=np.array(["a", "b", "c"]), t=np.eye(3))
    overwrite_bytes(path, edits)
    try:
        phrases = of_file(path)
    except ConfigError:
        return
    assert phrases.embeddings is not None and len(phrases.embeddings) == len(phrases.names)


@pytest.mark.parametrize("dtype", ["U3", "c8", "S3", "M8[D]"])
def test_embeddings_that_are_not_real_numbers_are_refused(tmp_path, dtype):
    path = tmp_path / "words.npz"
    np.savez(path, name=np.array(["a", "b"]), t=np.zeros((2, 2), dtype))
    with pytest.raises(ConfigError, match=r"t in the vocabulary .* must hold numbers, got"):
        of_file(path)


def test_embeddings_that_float32_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "words.npz"
    np.savez(path, name=np.array(["a", "b"]), t=np.eye(2) * 1e300)
    with pytest.raises(ConfigError, match="zero or not finite"):
        of_file(path)


# WordNet.


@pytest.fixture
def wordnet(tmp_path, monkeypatch) -> Path:
    """An empty data folder for wn."""
    monkeypatch.setattr("wn.config.data_directory", tmp_path / "wn")
    return tmp_path


def add_lexicon(folder: Path, lexicon: str, language: str, *synsets: tuple[str, str]) -> None:
    """Adds a lexicon to wn; each synset is a part of speech and lemmas, separated by commas."""
    lines = []
    for number, (kind, lemmas) in enumerate(synsets):
        for rank, lemma in enumerate(lemmas.split(",")):
            sense = f"{number}-{rank}-{kind}"
            lines.append(
                f'<LexicalEntry id="e-{sense}"><Lemma writtenForm="{lemma}" partOfSpeech="{kind}"/>'
                f'<Sense id="s-{sense}" synset="y-{number}-{kind}"/></LexicalEntry>'
            )
    for number, (kind, _) in enumerate(synsets):
        lines.append(f'<Synset id="y-{number}-{kind}" ili="" partOfSpeech="{kind}"/>')
    name, version = lexicon.split(":")
    path = folder / f"{name}.xml"
    path.write_text(
        LEXICON.format(id=name, version=version, language=language, entries="\n".join(lines))
    )
    wn.add(path, progress_handler=None)


def test_wordnet_gives_the_first_lemma_of_each_noun(wordnet):
    add_lexicon(
        wordnet, "oewn:2024", "en", ("n", "cat,true cat"), ("v", "run"), ("n", "traffic light")
    )
    add_lexicon(wordnet, "omw-fr:1.4", "fr", ("n", "chat"))
    found = Vocabulary.of("wordnet")
    assert (found.name, found.identity) == ("wordnet:oewn:2024", "oewn:2024")
    assert found.read(None).names == ("cat", "traffic light")
    assert read("wordnet:omw-fr:1.4").names == ("chat",)


def test_wordnet_without_its_words_says_which_command_gets_them(wordnet):
    with pytest.raises(ConfigError, match="python -m wn download oewn:2024"):
        Vocabulary.of("wordnet")
    add_lexicon(wordnet, "omw-fr:1.4", "fr", ("n", "chat"))
    with pytest.raises(ConfigError, match="python -m wn download oewn:2024"):
        Vocabulary.of("wordnet")
    with pytest.raises(ConfigError, match=r"only omw-fr:1\.4: python -m wn download omw-it"):
        Vocabulary.of("wordnet:omw-it:1.4")


def test_wordnet_without_its_package_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "wn" else find(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'cpp-pipe\[wordnet\]'.*python -m wn down"):
        Vocabulary.of("wordnet")


# Prompts.


def test_templates_are_prompts_or_the_names_of_lists():
    assert expand_templates(()) == ["a photo of a {}."]
    assert expand_templates(["a {}"]) == ["a {}"]
    assert len(expand_templates(["imagenet-80"])) == 80
    assert len(expand_templates(["imagenet-7", "a {}"])) == 8
    assert all(prompt.count("{}") == 1 for prompt in expand_templates(["imagenet-80"]))
    with pytest.raises(ConfigError, match="must be a text with exactly one"):
        expand_templates(["no place for the word"])
