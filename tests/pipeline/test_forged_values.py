"""Forged values in the files of a store, with digests that fit: no reader gives a traceback.

The forger also changes the digests in all manifests, so that everything stays current.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from cpp_pipe import Run
from cpp_pipe.store import Store
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.specs import Array, Table, Tensors

from .readers import READERS, answers_of, read_by
from .whole_store import copy_of, unlinked, update_digests

pytestmark = pytest.mark.slow

READERS_OF_VALUES = {
    **READERS,
    "text": ("search", "--text", "seven", "-n", "3"),
    "where": ("search", "--text", "seven", "--where", "width > 3"),
    "eval": ("eval", "--json"),
    "outliers": ("outliers", "-n", "3"),
    "duplicates": ("duplicates", "--above", "0.9"),
    "select-k": ("select-k",),
    "assign": ("assign", "--k", "3"),
    "level": ("assign", "--level", "2"),
    "caption": ("caption", "--vocabulary", "digits-words.txt"),
    "sample": ("sample", "-n", "3"),
    "edit": ("edit", "log"),
}
WHOLE = (-1, -(2**31), 2**31 - 1, 7, 10**6)
REAL = (float("nan"), float("inf"), -float("inf"), -1.0, 2.0, 1e30)
TEXTS = (
    "", "{", "[]", "null", '{"a": NaN}', "\x1b[2J\x1b]0;x\x07", "a\nb", "../../etc", "x" * 9999,
)  # fmt: skip


def columns_of(store: Path) -> list[tuple[str, str, str]]:
    """The slot, the role and the name of each column, array and tensor of the run."""
    found = []
    run = Run.open(store)
    for slot in run.record.versions:
        artifact = run.artifact(slot)
        part = artifact.only_part if len(artifact.parts) == 1 else artifact.parts[0].name
        for role, spec in artifact.kind.files.items():
            if isinstance(spec, Table):
                names = artifact.table(part, role).column_names
            elif isinstance(spec, Tensors):
                names = list(artifact.tensors(part, role))
            else:
                names = [""] if isinstance(spec, Array) else []
            found += [(slot, role, name) for name in names]
    return found


def values_for(values: Any) -> Sequence[Any]:
    """Hostile values of the type of some values."""
    if isinstance(values, np.ndarray):
        return REAL if values.dtype.kind == "f" else WHOLE
    if pa.types.is_integer(values.type):
        return WHOLE
    return REAL if pa.types.is_floating(values.type) else TEXTS


def put(values: Any, value: Any, draw: random.Random) -> Any:
    """The values with another one at a few places, or at all places."""
    places = draw.choice([[0], [-1], [0, -1], range(len(values))])
    if isinstance(values, np.ndarray):
        changed = values.copy()
        with np.errstate(all="ignore"):
            for place in places if len(values) else ():
                changed[place] = np.array(value).astype(values.dtype)
        return changed
    listed = values.to_pylist()
    for place in places if listed else ():
        listed[place] = value
    return listed


def forge(store: Path, slot: str, role: str, name: str, draw: random.Random) -> str:
    """Changes values of a file of an artifact, and all digests of it; returns what it changed."""
    artifact = Run.open(store).artifact(slot)
    part = draw.choice(artifact.parts).name
    path, spec = unlinked(Path(str(artifact.place(part, role)))), artifact.kind.files[role]
    if isinstance(spec, Table):
        table = pq.read_table(path, partitioning=None)
        field = table.schema.field(name)
        value = draw.choice(values_for(table.column(name)))
        if pa.types.is_fixed_size_list(field.type):
            flat = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
            value = draw.choice(REAL)
            changed = pa.FixedSizeListArray.from_arrays(
                pa.array(put(flat, value, draw)), type=field.type
            )
        else:
            limits = np.iinfo(field.type.to_pandas_dtype()) if isinstance(value, int) else None
            value = max(limits.min, min(limits.max, value)) if limits else value
            listed = put(table.column(name).combine_chunks(), value, draw)
            if pa.types.is_boolean(field.type):
                value, listed = "swapped", [not flag for flag in table.column(name).to_pylist()]
            changed = pa.array(listed, field.type)
        index = table.schema.get_field_index(name)
        pq.write_table(table.set_column(index, field, changed), path, use_dictionary=False)
    elif isinstance(spec, Tensors):
        tensors = load_file(path)
        value = draw.choice(values_for(tensors[name]))
        shape = tensors[name].shape
        tensors[name] = put(tensors[name].reshape(-1), value, draw).reshape(shape)
        save_file(tensors, path)
    else:
        array = np.load(path)
        value = draw.choice(values_for(array))
        np.save(path, put(array.reshape(-1), value, draw).reshape(array.shape))
    update_digests(store, Path(str(artifact.folder)), part, role, path, artifact.content)
    return f"{slot} {role} {name} {value!r}"[:200]


def trials(page_store: Path, folder: Path, count: int) -> Iterator[tuple[str, str, str]]:
    """What was forged, a reader, and its error or an empty text."""
    key = Run.open(page_store).artifact("embeddings").column("key")[0]
    known, draw = columns_of(page_store), random.Random(count)
    for number in range(count):
        store = copy_of(page_store, folder / str(number))
        what = forge(store, *draw.choice(known), draw)
        assert Store(store).runs.names() == ["default"]
        for reader in draw.sample([*READERS_OF_VALUES], 6):
            yield what, reader, read_by(reader, store, key, READERS_OF_VALUES)
        if number % 4 == 0:
            yield what, "serve", answers_of(store)


@pytest.mark.parametrize("count", [pytest.param(20, id="some"), pytest.param(60, id="many")])
def test_no_reader_crashes_over_forged_values(page_store, tmp_path, count):
    assert {slot.partition("/")[0] for slot, *_ in columns_of(page_store)} <= set(KINDS)
    assert [trial for trial in trials(page_store, tmp_path, count) if trial[2]] == []


def test_readers_of_values_work_on_unchanged_files(page_store, tmp_path):
    """Otherwise the test above could not fail."""
    key = Run.open(page_store).artifact("embeddings").column("key")[0]
    for number, reader in enumerate(READERS_OF_VALUES):
        store = copy_of(page_store, tmp_path / str(number))
        assert read_by(reader, store, key, READERS_OF_VALUES, must_work=True) == ""
