"""Values of Parquet that Python has no type for are read as text, by every reader of tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe.pipeline.curation.selection import read_keys
from cpp_pipe.stages.sources.embeddings.files import find_embeddings
from cpp_pipe.stages.sources.phrases import of_file
from cpp_pipe.stages.sources.tables.files import TableFile
from cpp_pipe.stages.sources.tables.values import plain_column

from .image_files import png

FAR = 3_000_000
"""Days from 1970 to the year 10183."""


def latin() -> pa.Array:
    """Two strings, the first of which is not UTF-8."""
    raw = pa.array([b"caf\xe9", b"tea"], pa.binary())
    return pa.Array.from_buffers(pa.string(), 2, raw.buffers())


VALUES = {
    "nanoseconds": (pa.array([1, None], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    "with a zone": (pa.array([1, 0], pa.timestamp("ns", "UTC")), "1970-01-01 00:00:00.000000001"),
    "far": (pa.array([FAR, 0], pa.int32()).cast(pa.date32()), str(np.datetime64(FAR, "D"))),
    "far, finer": (
        pa.array([FAR * 86_400, 0], pa.timestamp("s")),
        f"{np.datetime64(FAR, 'D')} 00:00:00",
    ),
    "long": (pa.array([1, 0], pa.duration("ns")), "1 ns"),
    "time": (pa.array([1, 0], pa.time64("ns")), "00:00:00.000000001"),
    "latin": (latin(), "caf\ufffd"),
    "repeated": (pa.DictionaryArray.from_arrays(pa.array([0, 1]), latin()), "caf\ufffd"),
    "listed": (pa.ListArray.from_arrays([0, 2, 2], latin()), ["caf\ufffd", "tea"]),
    "inside": (pa.StructArray.from_arrays([latin()], ["a"]), {"a": "caf\ufffd"}),
    "mapped": (pa.MapArray.from_arrays([0, 1, 2], latin(), latin()), [("caf\ufffd",) * 2]),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_python_has_no_type_for_is_text(name):
    column, expected = VALUES[name]
    for form in (column, pa.chunked_array([column])):
        first, second = plain_column(form)
        assert str(first) == str(expected)
        assert second == column[1].as_py()


def test_every_reader_of_tables_accepts_these_values(tmp_path):
    # Arrow itself refuses to read a dictionary of such strings.
    kept = {name: column for name, (column, _) in VALUES.items() if name != "repeated"}
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [png(0), png(1)], "key": latin(), **kept}), table)
    with TableFile.of(table).open(tmp_path) as opened:
        assert [entry.key for entry in opened.samples] == ["caf\ufffd", "tea"]
        assert '"caf\ufffd"' in opened.samples[0].fields().extra
    assert read_keys(table, "--keys") == {"caf\ufffd", "tea"}
    pq.write_table(pa.table({"name": latin()}), table)
    assert of_file(table).names == ("caf\ufffd", "tea")
    for folder in ("img_emb", "metadata"):
        (tmp_path / "made" / folder).mkdir(parents=True)
    np.save(tmp_path / "made/img_emb/img_emb_0.npy", np.eye(2, 4, dtype=np.float32))
    pq.write_table(
        pa.table({"key": latin(), **kept}), tmp_path / "made/metadata/metadata_0.parquet"
    )
    (file,) = find_embeddings(tmp_path / "made")
    assert file.load().columns["key"] == ["caf\ufffd", "tea"]
