"""What the kinds of the store hold, in Markdown, from the schemas that the store declares."""

from collections.abc import Iterable, Iterator

from cpp_pipe.store.kinds import Kind
from cpp_pipe.store.specs import Array, Blob, Column, FileSpec, Table, Tensors


def kinds_section(kinds: Iterable[Kind]) -> str:
    """Markdown that describes the files of every kind: their columns, types and tensors."""
    return "\n".join(line for kind in kinds for line in _kind(kind))


def _kind(kind: Kind) -> Iterator[str]:
    yield f"### `{kind.name}`, format {kind.format}\n"
    for role, spec in kind.files.items():
        yield f"{_file(role, spec)}\n"
        if isinstance(spec, Table):
            yield from _columns(spec)


def _file(role: str, spec: FileSpec) -> str:
    named = f"`PART{spec.suffix}`, role `{role}`"
    if isinstance(spec, Table):
        rows = "one row for each row of its part" if spec.is_aligned else "any number of rows"
        return f"{named}: Parquet, {rows}."
    if isinstance(spec, Array):
        return f"{named}: NumPy, {spec.dtype}, {spec.ndim} axes, one row for each row of its part."
    if isinstance(spec, Tensors):
        names = ", ".join(f"`{name}`" for name in spec.names)
        return f"{named}: safetensors" + (f" with at least {names}." if names else ".")
    assert isinstance(spec, Blob)
    return f"{named}."


def _columns(spec: Table) -> Iterator[str]:
    yield "| column | type | may be null | unit |"
    yield "|---|---|---|---|"
    for column in spec.columns:
        yield _column(column, column.name)
    for column in spec.repeated:
        mark, each = ("NAME", "each NAME") if spec.are_named else ("K", "each further K")
        yield _column(column, f"{column.name.format(mark)}, for {each}")
    yield ""


def _column(column: Column, name: str) -> str:
    kind = "fixed-size list of float16" if column.type == "vector" else column.type
    code, comma, rest = name.partition(",")
    cells = (f"`{code}`{comma}{rest}", kind, "yes" if column.nullable else "no", column.unit)
    return f"| {' | '.join(cells)} |"
