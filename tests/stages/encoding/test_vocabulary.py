"""Vocabularies: from the libraries that carry them, from WordNet, or from the user's files."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import wn

from cpp_pipe.stages.encoding.vocabulary import Vocabulary, expand_templates
from cpp_pipe.stages.sources.phrases import Phrases, of_file
from cpp_pipe.store import ConfigError

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
