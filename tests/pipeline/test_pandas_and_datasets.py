"""Runs as tables of pandas and data sets of Hugging Face: nulls, dates, captions and decisions.

Where these packages are not installed, these tests are skipped: cpp-pipe does not need them.
"""

import datetime
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpp_pipe import Run, compare
from cpp_pipe.store import ConfigError, MissingError

from .cli import DIGITS

COUNT = 24
CAPTIONS = [None if n % 5 == 0 else f"Bild {n}, 東京" for n in range(COUNT)]
LABELS = [None if n % 7 == 0 else n % 3 for n in range(COUNT)]
DATES = [None if n % 4 == 0 else datetime.date(2020, 1, 1 + n) for n in range(COUNT)]


def installed(name: str) -> Any:
    """An optional package; the test is skipped without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not installed: pip install {name}")


def image_bytes(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number % 12).integers(0, 255, (16, 16), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Images of a table with gaps, in three clusters, one of which is named; pairs are equal."""
    folder = tmp_path_factory.mktemp("gaps")
    columns = {
        "image": pa.array([{"bytes": image_bytes(n), "path": None} for n in range(COUNT)]),
        "key": pa.array([f"k{n:02d}" for n in range(COUNT)]),
        "caption": pa.array(CAPTIONS, pa.string()),
        "label": pa.array(LABELS, pa.int64()),
        "date": pa.array(DATES, pa.date32()),
    }
    pq.write_table(pa.table(columns), folder / "table.parquet")
    made = Run.create(folder / "artifacts", progress="none")
    made.embed(tables=folder / "table.parquet", model=DIGITS[1], pretrained=DIGITS[3])
    made.assign(k=3).duplicates(above=0.999)
    made.edits.name(0, 'null: "yes" & <b>')
    made.edits.tag("a, b", images=[1, 2])
    made.edits.exclude(images=[3])
    return made


def test_a_frame_has_the_rows_of_the_table_and_their_gaps(run):
    pandas = installed("pandas")
    frame, table = run.to_pandas(), run.to_arrow()
    assert list(frame.columns) == table.column_names and len(frame) == COUNT
    for name, given in (("caption", CAPTIONS), ("label", LABELS)):
        known = [None if value is None else str(value) for value in given]
        assert [None if pandas.isna(value) else value for value in frame[name]] == known
    dates = [json.loads(text).get("date") for text in frame["extra"]]
    assert dates == [None if date is None else str(date) for date in DATES]
    assert frame["confidence"].dtype == np.float32


def test_whole_numbers_stay_whole_where_some_are_missing(run):
    pandas = installed("pandas")
    frame = run.to_pandas()
    assert frame["row"].dtype == np.int64, "none is missing"
    assert frame["offset"].dtype == pandas.Int64Dtype() and frame["offset"].isna().all()
    dropped = frame[frame["duplicate_of"].notna()]
    assert frame["duplicate_of"].dtype == pandas.Int64Dtype() and len(dropped) == COUNT // 2
    kept = frame.loc[dropped["duplicate_of"].tolist(), "cluster"]
    assert kept.tolist() == dropped["cluster"].tolist()


def test_a_frame_holds_vectors_and_decisions_on_request(run):
    installed("pandas")
    frame = run.to_pandas(vectors=True, edits="open")
    assert np.array_equal(np.stack(frame["embedding"]), run.to_numpy())
    assert frame["excluded"].tolist() == [row == 3 for row in range(COUNT)]
    assert [list(tags) for tags in frame["tags"][:3]] == [[], ["a, b"], ["a, b"]]
    assert frame["cluster_name"][frame["cluster"] == 0].unique().tolist() == ['null: "yes" & <b>']


def test_a_data_set_has_the_images_with_their_columns(run, tmp_path, monkeypatch):
    datasets = installed("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    found = run.to_huggingface(tmp_path / "set", edits="open")
    rows = [row for row in range(COUNT) if row != 3]
    assert found["key"][:] == [f"k{row:02d}" for row in rows]
    assert found["caption"][:] == [CAPTIONS[row] for row in rows]
    own = [None if LABELS[row] is None else str(LABELS[row]) for row in rows]
    assert found["given_label"][:] == own
    assert found.features["label"].names[0] == 'null: "yes" & <b>'
    clusters = run.artifact("assignments").column("cluster")
    assert found["label"][:] == [clusters[row] for row in rows]
    assert found["tags"][:3] == [[], ["a, b"], ["a, b"]]
    encoded = found.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"]
    assert encoded == image_bytes(0) and found[0]["image"].size == (16, 16)


def test_a_data_set_without_images_is_refused_with_what_to_do(run, tmp_path):
    installed("datasets")
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match=r"there exists already: name a new folder"):
        run.to_huggingface(tmp_path / "there")
    np.savez(tmp_path / "x.npz", x=np.eye(12, 8, dtype=np.float32) + 0.1)
    mine = Run.create(tmp_path / "artifacts", progress="none")
    mine.import_embeddings(tmp_path / "x.npz", model="ViT-B-32")
    with pytest.raises(MissingError, match=r"assign"):
        mine.to_huggingface(tmp_path / "new")
    mine.assign(k=2)
    with pytest.raises(MissingError, match="imported without images"):
        mine.to_huggingface(tmp_path / "new")
    assert not Path(tmp_path / "new").exists()


def test_a_comparison_is_a_frame_with_a_row_for_each_run(run):
    pandas = installed("pandas")
    frame = compare(run).to_pandas()
    assert frame["run"].tolist() == ["default"] and frame["k"].tolist() == [3]
    assert pandas.api.types.is_float_dtype(frame["acc"])
