"""Tables of labels with any content, and tables whose text is not UTF-8."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.curation.selection import match_file, read_keys
from cpp_pipe.pipeline.edits.selection import select_images
from cpp_pipe.pipeline.view.labels import read_label_table, read_labels
from cpp_pipe.stages.sources.phrases import of_file
from cpp_pipe.stages.sources.tables.files import TableFile
from cpp_pipe.store import ConfigError, ShardError

from ...stages.sources.image_files import png, write_image
from ..cli import DIGITS, succeed


def not_utf8(path: Path, columns: dict, text: bytes) -> Path:
    """A Parquet file in which the last letter of a text was replaced by invalid bytes."""
    pq.write_table(pa.table(columns), path, use_dictionary=False, compression="none")
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text[:-1] + b"\xff"))
    return path


def test_labels_and_keys_of_bytes_are_text(tmp_path: Path):
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"key": [b"a", "é".encode()], "label": [b"cat", b"dog"]}), path)
    assert read_label_table(path) == {"a": "cat", "é": "dog"}
    assert read_keys(path, "--keys") == {"a", "é"}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> Run:
    """A run of a table of three images, whose keys are the numbers from 0. Read-only."""
    folder = tmp_path_factory.mktemp("numbered")
    for number in range(3):
        write_image(folder / f"{number}.png", number)
    images = {"path": [f"{number}.png" for number in range(3)], "key": range(3)}
    pq.write_table(pa.table(images), folder / "images.parquet")
    succeed(folder / "artifacts", "embed", "--table", folder / "images.parquet", *DIGITS)
    return Run.open(folder / "artifacts")


def test_labels_of_keys_that_pandas_made_floats_are_found(numbered: Run, tmp_path: Path):
    """None was found, and a row without a key was that of an image None."""
    embeddings = numbered.artifact("embeddings")
    table = pa.table({"key": [2.0, None, 0.0, float("nan")], "label": [5.0, 6.0, None, 7.0]})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert read_labels(embeddings, "cls", tmp_path / "labels.parquet") == [None, None, "5"]
    assert read_label_table(tmp_path / "labels.parquet") == {"2.0": "5"}
    (tmp_path / "labels.csv").write_text("key,label\n2.0,cat\n1,dog\n")
    assert read_labels(embeddings, "cls", tmp_path / "labels.csv") == [None, "dog", "cat"]


def test_keys_that_pandas_made_floats_choose_images(numbered: Run, tmp_path: Path):
    embeddings, path = numbered.artifact("embeddings"), tmp_path / "keys.parquet"
    pq.write_table(pa.table({"key": [2.0, 1.0]}), path)
    assert match_file(embeddings, path, "--keys").tolist() == [False, True, True]
    assert select_images(numbered, file=path).tolist() == [1, 2]
    pq.write_table(pa.table({"key": [2.0, 7.0]}), path)
    with pytest.raises(ConfigError, match="names 7, which no row has"):
        match_file(embeddings, path, "--keys")
    for column in ([2.0, float("nan")], ["2", None], ["2", ""]):
        pq.write_table(pa.table({"key": column}), path)
        with pytest.raises(ConfigError, match="row 1 has no key"):
            match_file(embeddings, path, "--keys")


def test_a_long_table_may_have_captions_of_several_lines(tmp_path: Path):
    """Above 1 MB, the size of Arrow's blocks, what `export csv` had written was refused."""
    path = tmp_path / "labels.csv"
    lines = [f'{row},cat,"{"x" * 100}\nof two lines"' for row in range(20_000)]
    path.write_text("\n".join(["key,label,caption", *lines]), encoding="utf-8")
    assert path.stat().st_size > 2 << 20
    assert len(read_label_table(path)) == 20_000


def test_invalid_utf8_in_labels_is_replaced(tmp_path: Path):
    path = not_utf8(tmp_path / "l.parquet", {"key": ["a"], "label": ["wonderful"]}, b"wonderful")
    assert read_label_table(path) == {"a": "wonderfu\ufffd"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_names_of_columns_that_are_not_utf8_are_one_clear_error(tmp_path: Path, form: str):
    path = tmp_path / f"labels.{form}"
    if form == "csv":
        path.write_bytes(b"key,label,othe\xff\na,b,c\n")
    else:
        not_utf8(path, {"key": ["a"], "label": ["b"], "other": ["c"]}, b"other")
    with pytest.raises(ConfigError, match=r"--labels .* cannot be read as a table "):
        read_label_table(path)


def test_other_tables_with_invalid_column_names_are_one_clear_error(tmp_path: Path):
    words = not_utf8(tmp_path / "w.parquet", {"name": ["cat"], "other": ["c"]}, b"other")
    with pytest.raises(ConfigError, match=r"the vocabulary .* cannot be read as Parquet: "):
        of_file(words)
    keys = not_utf8(tmp_path / "k.parquet", {"key": ["a"], "other": ["c"]}, b"other")
    with pytest.raises(ConfigError, match=r"--keys .* cannot be read as Parquet: "):
        read_keys(keys, "--keys")
    images = not_utf8(tmp_path / "i.parquet", {"image": [png(1)], "other": ["c"]}, b"other")
    with pytest.raises(ShardError, match=r"the table .* cannot be read as Parquet: "):
        TableFile.of(images, "")


@pytest.mark.parametrize("name", ["key", "label"])
def test_a_column_that_is_there_twice_is_one_clear_error(tmp_path: Path, name: str):
    """It ended in a traceback, as its name names none of the two."""
    names = ["key", "label", name]
    (tmp_path / "labels.csv").write_text(",".join(names) + "\na,b,c\n")
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=names)
    pq.write_table(table, tmp_path / "labels.parquet")
    with pytest.raises(ConfigError, match=f"--labels .* has several columns {name}: rename"):
        read_label_table(tmp_path / "labels.csv")
    with pytest.raises(ConfigError, match=f"cannot be read as a table .*{name}"):
        read_label_table(tmp_path / "labels.parquet")
    if name == "key":
        with pytest.raises(ConfigError, match=r"--keys .* has several columns key: rename"):
            read_keys(tmp_path / "labels.parquet", "--keys")
