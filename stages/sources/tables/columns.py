"""Which columns of a table hold pictures, keys and fields, told by its schema."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ....store.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

BYTES_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
PATH_NAMES = ("path", "file", "file_name", "filename", "image_path", "filepath", "image")
URL_NAMES = ("url", "image_url")
KEY_NAMES = ("__key__", "key", "id", "image_id")

How = Literal["struct", "bytes", "path"]


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """What each column of a table is for."""

    image: str
    how: How
    """`struct` of bytes and path, as Hugging Face writes it; plain `bytes`; or `path`."""
    key: str | None
    """None where rows are known by their number."""
    fields: tuple[str, ...]
    """Columns of single values, each of which says something of its picture."""
    class_names: tuple[str, ...] = ()
    """What the whole numbers in the column `label` mean, where Hugging Face's metadata tells."""


def sniff_columns(schema: "pa.Schema", image_column: str, where: Path) -> TableColumns:
    """The columns of a table by their types and names, the latter in any case.

    Pictures are a struct of bytes and path, else bytes under a usual name, else paths under one,
    else addresses. Raises ConfigError where there are none, or several, and none is named.
    """
    kinds: dict[str, How | None] = {one.name: _how(one.type) for one in schema}
    image = image_column or _find_image(kinds, schema, where)
    how = kinds.get(image)
    if how is None:
        known = ", ".join(name for name, how in kinds.items() if how is not None) or "none"
        raise ConfigError(
            f"--image-column {image!r} of {where} is no column of pictures: such are bytes, a "
            f"struct of bytes and path, or text that names files, which are {known}"
        )
    key = _first(KEY_NAMES, [one.name for one in schema if _is_single(one.type)])
    fields = [
        one.name
        for one in schema
        if _is_single(one.type) and one.name != key and (one.name != image or how == "path")
    ]
    return TableColumns(
        image=image,
        how=how,
        key=key,
        fields=tuple(fields),
        class_names=_class_names(schema),
    )


def _find_image(kinds: Mapping[str, How | None], schema: "pa.Schema", where: Path) -> str:
    structs = [name for name, how in kinds.items() if how == "struct"]
    if len(structs) > 1 and (usual := _first(BYTES_NAMES, structs)):
        structs = [usual]
    if len(structs) > 1:
        raise ConfigError(
            f"{where} has pictures in {', '.join(structs)}: --image-column names the one to embed"
        )
    of_bytes = [name for name, how in kinds.items() if how == "bytes"]
    of_text = [name for name, how in kinds.items() if how == "path"]
    found = (
        _first(tuple(structs), structs)
        or _first(BYTES_NAMES, of_bytes)
        or _first(PATH_NAMES, of_text)
        or _first(URL_NAMES, of_text)
    )
    if found is None:
        raise ConfigError(_no_image(schema, where))
    return found


def _no_image(schema: "pa.Schema", where: Path) -> str:
    import pyarrow.types as types

    columns = ", ".join(f"{one.name} ({one.type})" for one in schema)[:400]
    if (where.parent.parent / "img_emb").is_dir():
        return (
            f"{where} belongs to embeddings of clip-retrieval: cpp-pipe import "
            f"{str(where.parent.parent)!r} takes them"
        )
    message = f"{where} has no column that is known to hold pictures, but {columns}"
    if any(types.is_list(one.type) or types.is_fixed_size_list(one.type) for one in schema):
        message += "; lists of numbers are no pictures: save embeddings as .npy for cpp-pipe import"
    return f"{message}; --image-column names one"


def _how(kind: "pa.DataType") -> How | None:
    """How a column of this type may hold pictures."""
    import pyarrow.types as types

    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return "struct" if index >= 0 and _is_bytes(kind.field(index).type) else None
    if _is_bytes(kind):
        return "bytes"
    return "path" if _is_text(kind) else None


def _is_bytes(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_single(kind: "pa.DataType") -> bool:
    """Whether a column has one value a row that JSON can hold."""
    import pyarrow.types as types

    return not (types.is_nested(kind) or _is_bytes(kind) or types.is_fixed_size_binary(kind))


def _first(names: tuple[str, ...], there: list[str]) -> str | None:
    """The column that has one of `names`, in any case; the first of `names` first."""
    by_lower = {name.lower(): name for name in reversed(there)}
    return next((by_lower[name.lower()] for name in names if name.lower() in by_lower), None)


def _class_names(schema: "pa.Schema") -> tuple[str, ...]:
    """Hugging Face's names of the classes in the column `label`."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = told["info"]["features"]["label"]["names"]
    except (ValueError, LookupError, TypeError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
