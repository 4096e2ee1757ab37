"""The files of a part as a kind declares them: tables, arrays, tensors and others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR = "vector"
"""The type of a column of fixed-size lists of float16; the values decide their size."""

NAME = "[a-z][a-z0-9_]*"
"""Pattern of the names of repeated columns."""

ColumnType = Literal["string", "int32", "int64", "float32", "float64", "bool", "vector"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a Parquet file."""

    name: str
    type: ColumnType
    nullable: bool = False
    unit: str = ""
    """What its numbers count or measure; stored in the field's metadata."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A Parquet file with exactly these columns, in this order."""

    suffix: str
    columns: tuple[Column, ...]
    is_aligned: bool = True
    """Whether it has one row for each row of its part."""
    repeated: tuple[Column, ...] = ()
    """Columns that are repeated for each of several numbers; {} in a name stands for the number."""
    are_named: bool = False
    """Whether repeated columns are for names, such as `sharpness`, and not for numbers."""

    def schema(
        self, *, vector_size: int | None = None, numbers: Sequence[int | str] = ()
    ) -> "pa.Schema":
        """The Arrow schema, with the repeated columns for each of `numbers`, which may be names.

        A table with a column of vectors needs their size.
        """
        import pyarrow as pa

        repeated = [
            replace(column, name=column.name.format(number))
            for number in numbers
            for column in self.repeated
        ]

        def field_of(column: Column) -> "pa.Field":
            if column.type == VECTOR:
                if vector_size is None:
                    raise ValueError(f"column {column.name} needs its vector size")
                arrow = pa.list_(pa.field("element", pa.float16(), nullable=False), vector_size)
            else:
                arrow = {"bool": pa.bool_, "string": pa.string}.get(column.type)
                arrow = arrow() if arrow else getattr(pa, column.type)()
            metadata = {"unit": column.unit} if column.unit else None
            return pa.field(column.name, arrow, nullable=column.nullable, metadata=metadata)

        return pa.schema([field_of(column) for column in (*self.columns, *repeated)])

    def to_arrow(
        self,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        numbers: Sequence[int | str] = (),
    ) -> "pa.Table":
        """An Arrow table with the declared schema, from columns by name or a list of rows.

        A column of vectors is an array (n, d). Nullable columns may be left out. ValueError if
        another column is missing, or one is not declared.
        """
        import pyarrow as pa

        if not isinstance(values, Mapping):
            return pa.Table.from_pylist(list(values), schema=self.schema(numbers=numbers))
        vectors = [column.name for column in self.columns if column.type == VECTOR]
        size = values[vectors[0]].shape[1] if vectors else None
        schema = self.schema(vector_size=size, numbers=numbers)
        absent = {field.name for field in schema if not field.nullable} - set(values)
        unknown = set(values) - set(schema.names)
        if absent or unknown:
            raise ValueError(f"columns missing: {sorted(absent)}, not declared: {sorted(unknown)}")
        rows = len(next(iter(values.values())))

        def array_of(field: "pa.Field") -> Any:
            column = values.get(field.name, [None] * rows)
            if field.name in vectors:
                flat = pa.array(column.astype("float16").reshape(-1))
                return pa.FixedSizeListArray.from_arrays(flat, type=field.type)
            return column

        return pa.Table.from_pydict({field.name: array_of(field) for field in schema}, schema)


@dataclass(frozen=True, kw_only=True)
class Array:
    """A NumPy file with one row for each row of its part; readers map it into memory."""

    suffix: str
    dtype: str
    ndim: int


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """A safetensors file; it must hold the tensors in `names`, and may hold others."""

    suffix: str = ".safetensors"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A file whose format another library defines."""

    suffix: str


FileSpec = Table | Array | Tensors | Blob
