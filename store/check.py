"""Checks that a file of a stage is what its kind declares, before anyone can read it."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from .counting import counted
from .errors import StoreError
from .kind_facts import Range
from .specs import NAME, VECTOR, Array, Blob, FileSpec, Table, Tensors

if TYPE_CHECKING:
    import pyarrow as pa


NOTHING: Mapping[str, Range] = MappingProxyType({})


def check_file(
    path: Path,
    spec: FileSpec,
    *,
    rows: int,
    width: int | None = None,
    ranges: Mapping[str, Range] = NOTHING,
) -> None:
    """StoreError where a file differs from what is declared: schema, type, rows or values.

    `width` is how many numbers a row of vectors has; `ranges` are the least and the largest value
    of some columns of whole numbers.
    """
    if not path.is_file():
        raise StoreError(f"the stage wrote no {path.name}")
    if isinstance(spec, Table):
        _check_table(path, spec, rows, width)
        if ranges:
            _check_ranges(path, ranges)
    elif isinstance(spec, Array):
        _check_array(path, spec, rows, width)
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
            # Without rows there are no ends.
            if ends["min"] is not None and not least <= ends["min"] <= ends["max"] <= most:
                raise StoreError(
                    f"{path.name} has values of {name} from {ends['min']} to {ends['max']}, its "
                    f"manifest allows {least} to {most}"
                )


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


def _check_width(path: Path, found: int, width: int | None) -> None:
    if width is not None and found != width:
        raise StoreError(
            f"{path.name} has {counted(found, 'number')} in each row, its manifest says {width}"
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
    """The numbers, or names, in the names of the first repeated column."""
    if not spec.repeated:
        return []
    before, after = map(re.escape, spec.repeated[0].name.split("{}"))
    form = NAME if spec.are_named else r"\d+"
    matches = [re.fullmatch(f"{before}({form}){after}", name) for name in schema.names]
    # A repeated number counts once, so that a column that is there twice is one too many.
    texts = list(dict.fromkeys(match.group(1) for match in matches if match is not None))
    return texts if spec.are_named else list(dict.fromkeys(map(int, texts)))


def _line(schema: "pa.Schema") -> str:
    return "(" + ", ".join(f"{field.name}: {field.type}" for field in schema) + ")"


def _check_array(path: Path, spec: Array, rows: int, width: int | None) -> None:
    import numpy as np

    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.name != spec.dtype or array.ndim != spec.ndim:
        raise StoreError(
            f"{path.name} is {array.dtype.name} with {array.ndim} axes, "
            f"the kind declares {spec.dtype} with {spec.ndim}"
        )
    if array.shape[0] != rows:
        raise StoreError(f"{path.name} has {counted(array.shape[0], 'row')}, its part has {rows}")
    if spec.ndim == 2:
        _check_width(path, array.shape[1], width)


def _check_tensors(path: Path, spec: Tensors) -> None:
    import numpy as np
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        absent = sorted(set(spec.names) - set(file.keys()))
        if absent:
            raise StoreError(f"{path.name} lacks the tensors {', '.join(absent)}")
        for name in sorted(file.keys()):
            values = file.get_tensor(name)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise StoreError(f"{path.name} has values of {name} that are not finite")
