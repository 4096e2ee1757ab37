"""Checks that a file of a stage is what its kind declares, before anyone can read it."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from .counting import counted
from .errors import StoreError
from .kind_facts import Range
from .residency import map_array
from .specs import NAME, VECTOR, Array, Blob, FileSpec, Table, Tensors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


NO_RANGES: Mapping[str, Range] = MappingProxyType({})

_BLOCK = 2**18
"""Numbers checked at a time."""

_READ_BYTES = 2**18
"""Bytes of a column of vectors read at a time."""

_TENSORS = frozenset(
    ("BOOL", "F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
)
"""Types of tensors, by their names in a safetensors file, that NumPy has too."""


def check_file(
    path: Path,
    spec: FileSpec,
    *,
    rows: int,
    width: int | None = None,
    ranges: Mapping[str, Range] = NO_RANGES,
    are_finite: bool = False,
) -> None:
    """StoreError if a file differs from what is declared: schema, type, rows or values.

    `width` is how many numbers a row of vectors has; `ranges` are the least and the largest value
    of some columns of whole numbers. With `are_finite` no vector may hold NaN or an infinity, for
    which the whole file is read; tensors never may.
    """
    if not path.is_file():
        raise StoreError(f"the stage wrote no {path.name}")
    if isinstance(spec, Table):
        _check_table(path, spec, rows, width)
        if ranges:
            _check_ranges(path, ranges)
        if are_finite:
            _check_vectors(path, spec)
    elif isinstance(spec, Array):
        _check_array(path, spec, rows, width)
        if are_finite:
            _require_finite(path.name, map_array(path))
    elif isinstance(spec, Tensors):
        _check_tensors(path, spec)
    else:
        assert isinstance(spec, Blob)


def _check_ranges(path: Path, ranges: Mapping[str, Range]) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for name in sorted(set(ranges).intersection(file.schema_arrow.names)):
            values = file.read([name]).column(0)
            ends = pc.min_max(values).as_py()  # pyright: ignore[reportAttributeAccessIssue]
            least, most = ranges[name]
            # Without rows, `min` and `max` are None.
            if ends["min"] is not None and not least <= ends["min"] <= ends["max"] <= most:
                raise StoreError(
                    f"{path.name} has values of {name} from {ends['min']} to {ends['max']}, its "
                    f"manifest allows {least} to {most}"
                )


def _check_vectors(path: Path, spec: Table) -> None:
    """Checks vectors block by block: decoded at once, a part takes several times its size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [column.name for column in spec.columns if column.type == VECTOR]
    if not names:
        return
    # A reader that buffers ahead would hold the whole column.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
        size = _vector_size(file.schema_arrow, spec) or 1
        rows = max(1, _BLOCK // max(1, size))
        for batch in file.iter_batches(rows, columns=names, use_threads=False):
            for name in names:
                flat = batch.column(name).flatten().to_numpy(zero_copy_only=False)
                _require_finite(f"column {name} of {path.name}", flat)
    pa.default_memory_pool().release_unused()


def _require_finite(what: str, values: "np.ndarray") -> None:
    """StoreError if any number is NaN or an infinity, which have all bits of the exponent."""
    import numpy as np

    bits = {"float16": ("u2", 0x7C00), "float32": ("u4", 0x7F800000)}.get(values.dtype.name)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        if bits is not None:
            kind, exponent = bits
            wrong = (block.view(kind) & np.array(exponent, kind)) == exponent
        elif values.dtype.kind == "f":
            wrong = ~np.isfinite(block)
        else:
            return
        if wrong.any():
            raise StoreError(f"{what} has numbers that are not finite")


def _check_table(path: Path, spec: Table, rows: int, width: int | None) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
    size = _vector_size(schema, spec)
    expected = spec.schema(vector_size=size, numbers=_numbers(schema, spec))
    if not schema.equals(expected, check_metadata=False):
        raise StoreError(
            f"{path.name} has the schema {_line(schema)}, the kind declares {_line(expected)}"
        )
    if spec.is_aligned and count != rows:
        raise StoreError(f"{path.name} has {counted(count, 'row')}, its part has {rows}")
    if size is not None:
        _check_width(path, size, width)


def _check_width(path: Path, actual: int, width: int | None) -> None:
    if width is not None and actual != width:
        raise StoreError(
            f"{path.name} has {counted(actual, 'number')} in each row, its manifest says {width}"
        )


def _vector_size(schema: "pa.Schema", spec: Table) -> int | None:
    import pyarrow as pa

    for column in spec.columns:
        if column.type == VECTOR:
            index = schema.get_field_index(column.name)
            arrow = schema.field(index).type if index >= 0 else None
            is_vector = arrow is not None and pa.types.is_fixed_size_list(arrow)
            return arrow.list_size if is_vector else 1  # pyright: ignore[reportOptionalMemberAccess]
    return None


def _numbers(schema: "pa.Schema", spec: Table) -> list[int] | list[str]:
    """The numbers, or names, in the columns' names that match the first repeated column."""
    if not spec.repeated:
        return []
    before, after = map(re.escape, spec.repeated[0].name.split("{}"))
    form = NAME if spec.are_named else r"\d+"
    matches = [re.fullmatch(f"{before}({form}){after}", name) for name in schema.names]
    # A repeated number counts once, so that a duplicate column makes the schema differ.
    texts = list(dict.fromkeys(match.group(1) for match in matches if match is not None))
    return texts if spec.are_named else list(dict.fromkeys(map(int, texts)))


def _line(schema: "pa.Schema") -> str:
    return "(" + ", ".join(f"{field.name}: {field.type}" for field in schema) + ")"


def _check_array(path: Path, spec: Array, rows: int, width: int | None) -> None:
    array = map_array(path)
    if array.dtype.name != spec.dtype or array.ndim != spec.ndim:
        raise StoreError(
            f"{path.name} is {array.dtype.name} with {array.ndim} axes, "
            f"the kind declares {spec.dtype} with {spec.ndim}"
        )
    if not (array.flags.c_contiguous and array.dtype.isnative):
        raise StoreError(
            f"{path.name} is not stored row after row in this machine's order of bytes: save "
            f"np.ascontiguousarray(array, {spec.dtype!r})"
        )
    if array.shape[0] != rows:
        raise StoreError(f"{path.name} has {counted(array.shape[0], 'row')}, its part has {rows}")
    if spec.ndim == 2:
        _check_width(path, array.shape[1], width)


def _check_tensors(path: Path, spec: Tensors) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        absent = sorted(set(spec.names) - set(file.keys()))
        if absent:
            raise StoreError(f"{path.name} lacks the tensors {', '.join(absent)}")
        for name in sorted(file.keys()):
            dtype = file.get_slice(name).get_dtype()
            if dtype not in _TENSORS:
                raise StoreError(f"{path.name} has {name} as {dtype}, which NumPy cannot hold")
            _require_finite(f"{name} of {path.name}", file.get_tensor(name))
