"""Cut, empty or missing texts, rows and labels are reported or refused, never ignored."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run
from cpp_pipe.stages.contract import Silent
from cpp_pipe.stages.encoding.vocabulary import embed_phrases
from cpp_pipe.store import QueryError

from ..stages.sources.image_files import png, write_image
from .cli import DIGITS, call, fail, succeed

LONG = "seven " * 100
IS_CUT = "is longer than the model reads: its end does not count"
EMPTY = ("", " ", "\n\t", "\u3000")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store with the embeddings of three images."""
    folder = tmp_path_factory.mktemp("said")
    for n in range(3):
        write_image(folder / "photos" / f"{n}.png", n)
    succeed(folder / "store", "embed", "--images", folder / "photos", *DIGITS)
    return folder / "store"


def test_a_cut_text_is_reported_by_the_command_and_in_python(store, caplog):
    done = succeed(store, "search", "--text", LONG, "-n", "1")
    assert done.err.count(IS_CUT) == 1 and "'seven seven" in done.err
    assert IS_CUT not in succeed(store, "search", "--text", "seven " * 10, "-n", "1").err
    Run.open(store).search(text=LONG, n=1)
    assert [IS_CUT in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(("words", "is_cut"), [(1, False), (13, False), (14, False), (15, True)])
def test_a_text_of_exactly_the_length_that_is_read_is_not_cut(store, words, is_cut):
    text = " ".join(["seven"] * words)
    encoder = Run.open(store).encoder
    assert encoder.tokenizer is not None
    assert encoder.tokenizer([""]).shape[1] == 16  # two of them mark the ends
    assert encoder.cut_texts([text, "short"]) == ([text] if is_cut else [])


def test_long_phrases_of_a_vocabulary_are_reported_once(store, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(["seven", LONG.strip(), "eight", "nine " * 90]))
    lines: list[str] = []

    class Told(Silent):
        def report(self, line: str) -> None:
            lines.append(line)

    names = words.read_text().splitlines()
    embed_phrases(names, (), Run.open(store).encoder, Told(), tmp_path / "checkpoints")
    assert len(lines) == 1
    assert lines[0].startswith("words: 2 of 4 phrases are longer than the model reads")


@pytest.mark.parametrize("text", EMPTY)
def test_an_empty_text_or_key_is_refused(store, text):
    run = Run.open(store)
    for words in (["--text", text], ["--key", text], ["--key", "0.png", "--not", f"text:{text}"]):
        assert "must not be empty" in fail(store, "search", *words)
    for query in ({"text": text}, {"key": text}, {"key": "0.png", "unlike": {"text": text}}):
        with pytest.raises(QueryError, match="must not be empty"):
            run.search(**query)


@pytest.mark.parametrize("more", [(), ("--max-skipped", "1")])
def test_an_import_without_a_valid_row_fails(tmp_path, more):
    np.savez(tmp_path / "nan.npz", x=np.full((300, 8), np.nan, np.float32))
    line = fail(tmp_path / "store", "import", tmp_path / "nan.npz", "--model", "ViT-B-32", *more)
    assert "no row can be imported: all were skipped (not_finite (300))" in line


def test_an_import_obeys_max_skipped(tmp_path):
    rows = np.ones((10, 8), np.float32)
    rows[:3] = np.nan
    np.savez(tmp_path / "some.npz", x=rows)
    words = ["import", tmp_path / "some.npz", "--model", "ViT-B-32"]
    assert "3 of 10 samples (30.0%) were skipped" in fail(tmp_path / "store", *words)
    done = succeed(tmp_path / "store", *words, "--max-skipped", "0.3")
    assert "1 of 1 part is there already" in done.err
    assert "seen 10 = embedded 7 + skipped 3 (not_finite 3)" in done.out


GAPS = {
    "floats": pa.array([1.0, float("nan"), None, 2.0]),
    "texts": pa.array(["1", "", "  ", "2"]),
    "whole numbers": pa.array([1, None, None, 2]),
}


@pytest.mark.parametrize("kind", GAPS)
@pytest.mark.parametrize("how", ["table", "import"])
def test_a_gap_in_a_label_column_is_no_class(tmp_path, kind, how):
    store = tmp_path / "store"
    if how == "table":
        cells = {"image": [png(n) for n in range(4)], "label": GAPS[kind]}
        pq.write_table(pa.table(cells), tmp_path / "a.parquet")
        succeed(store, "embed", "--table", tmp_path / "a.parquet", *DIGITS)
    else:
        rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
        labels = [str("" if value is None else value) for value in GAPS[kind].to_pylist()]
        (tmp_path / "labels.txt").write_text("\n".join(labels).replace("nan", "") + "\n")
        np.save(tmp_path / "x.npy", rows)
        words = ["--labels", tmp_path / "labels.txt", "--model", "ViT-B-32"]
        succeed(store, "import", tmp_path / "x.npy", *words)
    labels = Run.open(store).artifact("embeddings").column("label")
    assert labels[1:3] == [None, None] and None not in (labels[0], labels[3])
    succeed(store, "export", "parquet", "--out", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("label").to_pylist() == labels


@pytest.mark.parametrize("count", [1, 2])
def test_run_on_very_few_images_works_or_is_refused(tmp_path, count):
    for n in range(count):
        write_image(tmp_path / "few" / f"{n}.png", n)
    words = ["run", "--images", tmp_path / "few", *DIGITS, "--vocabulary", "digits-words.txt"]
    if count == 1:
        line = fail(tmp_path / "store", *words)
        assert "clusters need at least 2 images, got 1: name more" in line
        assert call(tmp_path / "store", "search", "--text", "seven", "--run", "few").code == 0
    else:
        assert "seen 2 = embedded 2" in succeed(tmp_path / "store", *words).out
