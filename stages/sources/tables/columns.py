"""The columns of a table that hold images, keys and fields, judged by its schema."""

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

ImageForm = Literal["struct", "bytes", "path"]
"""`struct` of bytes and path, as Hugging Face writes it; plain `bytes`; or `path`."""


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """The role of each column of a table."""

    image: str
    image_form: ImageForm
    key: str | None
    """None if the row number is the key."""
    fields: tuple[str, ...]
    """Columns of single values that describe the image."""
    class_names: tuple[str, ...] = ()
    """Names of the integers in the column `label`, from Hugging Face's metadata."""


def find_columns(schema: "pa.Schema", image_column: str, path: Path) -> TableColumns:
    """The columns of a table by their types and their names, in any case.

    Without an `image_column`, images are a struct of bytes and path, else bytes under a usual name,
    else paths under one, else addresses. ConfigError if no column or several structs hold images,
    or if `image_column` cannot.
    """
    forms: dict[str, ImageForm | None] = {
        column.name: _image_form(column.type) for column in schema
    }
    image = image_column or _find_image(forms, schema, path)
    image_form = forms.get(image)
    if image_form is None:
        possible = ", ".join(name for name, form in forms.items() if form is not None)
        hint = f"name one of {possible}" if possible else "it has none of these"
        raise ConfigError(
            f"--image-column {image!r} of {path} holds no images, which are bytes, a struct of "
            f"bytes and path, or text that names files: {hint}"
        )
    key = _first(KEY_NAMES, [column.name for column in schema if _is_single(column.type)])
    fields = [
        column.name
        for column in schema
        if _is_single(column.type)
        and column.name != key
        and (column.name != image or image_form == "path")
    ]
    return TableColumns(
        image=image,
        image_form=image_form,
        key=key,
        fields=tuple(fields),
        class_names=_class_names(schema),
    )


def _find_image(forms: Mapping[str, ImageForm | None], schema: "pa.Schema", path: Path) -> str:
    structs = [name for name, form in forms.items() if form == "struct"]
    if len(structs) > 1 and (usual := _first(BYTES_NAMES, structs)):
        structs = [usual]
    if len(structs) > 1:
        raise ConfigError(
            f"{path} has images in {', '.join(structs)}: name the one to embed with --image-column"
        )
    binary = [name for name, form in forms.items() if form == "bytes"]
    text = [name for name, form in forms.items() if form == "path"]
    column = (
        _first(tuple(structs), structs)
        or _first(BYTES_NAMES, binary)
        or _first(PATH_NAMES, text)
        or _first(URL_NAMES, text)
    )
    if column is None:
        raise ConfigError(_no_image(schema, path))
    return column


def _no_image(schema: "pa.Schema", path: Path) -> str:
    import pyarrow.types as types

    columns = ", ".join(f"{column.name} ({column.type})" for column in schema)[:400]
    if (path.parent.parent / "img_emb").is_dir():
        return (
            f"{path} belongs to embeddings of clip-retrieval: use cpp-pipe import "
            f"{str(path.parent.parent)!r}"
        )
    message = f"{path} has no column known to hold images, but {columns}: name one with "
    message += "--image-column"
    if any(
        types.is_list(column.type) or types.is_fixed_size_list(column.type) for column in schema
    ):
        message += ", or save lists that are embeddings as .npy for cpp-pipe import"
    return message


def _image_form(data_type: "pa.DataType") -> ImageForm | None:
    """The form in which a column of this type may hold images; None if it cannot."""
    import pyarrow.types as types

    if types.is_dictionary(data_type):  # e.g. categories of pandas
        data_type = data_type.value_type
    if types.is_struct(data_type):
        index = data_type.get_field_index("bytes")
        return "struct" if index >= 0 and _is_bytes(data_type.field(index).type) else None
    if _is_bytes(data_type):
        return "bytes"
    return "path" if _is_text(data_type) else None


def _is_bytes(data_type: "pa.DataType") -> bool:
    import pyarrow.types as types

    return (
        types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_binary_view(data_type)
    )


def _is_text(data_type: "pa.DataType") -> bool:
    import pyarrow.types as types

    return (
        types.is_string(data_type)
        or types.is_large_string(data_type)
        or types.is_string_view(data_type)
    )


def _is_single(data_type: "pa.DataType") -> bool:
    """Whether a column holds one value per row that JSON can hold."""
    import pyarrow.types as types

    return not (
        types.is_nested(data_type) or _is_bytes(data_type) or types.is_fixed_size_binary(data_type)
    )


def _first(names: tuple[str, ...], columns: list[str]) -> str | None:
    """The column named as one of `names`, in any case; earlier names win."""
    by_lower = {name.lower(): name for name in reversed(columns)}
    return next((by_lower[name.lower()] for name in names if name.lower() in by_lower), None)


def _class_names(schema: "pa.Schema") -> tuple[str, ...]:
    """Hugging Face's names of the classes in the column `label`."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = metadata["info"]["features"]["label"]["names"]
    except (ValueError, LookupError, TypeError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
