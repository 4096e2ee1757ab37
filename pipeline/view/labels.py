"""Labels of rows, and which rows are scored."""

import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...stages.rows.image_names import image_names
from ...stages.sources.fields import plain_value, whole_number
from ...stages.sources.tables.values import find_repeated, plain_column, table_errors
from ...stages.sources.user_files import read_bytes
from ...store import Artifact, ConfigError, MissingError, Store
from ...store.kinds import EMBEDDINGS, HEADS, HIERARCHY, K_CURVE, KINDS, SPECTRUM
from ..wording import counted
from .columns import read_rows
from .extra_fields import parse_extra
from .keys import without_point

_FITS = tuple(kind.name for kind in (HEADS, SPECTRUM, K_CURVE, HIERARCHY))
"""Kinds that are learned from rows; all others follow row by row."""

_PARTS = ("all", "fitted", "held-out")

CLASS_NAMES = ("class_name", "class_names", "label_name")
"""JSON fields with the name of a class whose label is a number: of `fetch` and .npz files, and of
tables."""

_MOST_NAMED = 10_000
"""Classes that are looked up: more numbers are no classes."""

_MOST_VALUES = 10
"""Values of a field that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which rows are scored."""

    part: str = "all"
    """`fitted` are the rows that anything was fitted on, `held-out` all other rows."""
    where: str | None = None
    """FIELD=VALUE keeps the rows whose JSON field has this value."""

    def __post_init__(self) -> None:
        if self.part not in _PARTS:
            raise ConfigError(f"--part must be {_join_or(_PARTS)}, got {self.part!r}")
        if self.where is not None and not all(self.where.partition("=")[:2]):
            raise ConfigError(f"--where must be FIELD=VALUE, e.g. split=test, got {self.where!r}")

    @property
    def is_everything(self) -> bool:
        """Whether all rows are scored."""
        return self == Scope()

    @property
    def flags(self) -> str:
        """The flags that ask for it; empty if all rows are scored."""
        part = [] if self.part == "all" else [f"--part {self.part}"]
        return " ".join(part if self.where is None else [*part, f"--where {self.where}"])

    def rows(self, embeddings: Artifact, fitted: Collection[str] | None) -> np.ndarray:
        """Whether each row is scored; MissingError if none is.

        `fitted` is from `fitted_parts`; it may be None if all parts are scored.
        """
        chosen = np.ones(embeddings.rows, bool)
        if self.part != "all":
            assert fitted is not None, f"--part {self.part} needs the fitted parts"
            chosen = fitted_rows(embeddings, fitted) == (self.part == "fitted")
        if self.part == "held-out" and not chosen.any():
            raise MissingError(
                f"--part held-out has no rows: {_join_or(_FITS)} were fitted on each of the "
                f"{counted(embeddings.rows, 'row')} of the run: `cpp-pipe embed` (or import) of "
                f"the old "
                "shards and new ones adds rows that are held out until a command such as `cpp-pipe "
                "train` fits again; --where FIELD=VALUE names a split"
            )
        return chosen if self.where is None else chosen & self._rows_where(embeddings, chosen)

    def _rows_where(self, embeddings: Artifact, chosen: np.ndarray) -> np.ndarray:
        assert self.where is not None
        field, _, wanted = self.where.partition("=")
        values = [_text(extra.get(field)) for extra in _extras(embeddings)]
        is_wanted = np.array([value == wanted for value in values])
        if not (is_wanted & chosen).any():
            of_chosen = {value for value, is_in in zip(values, chosen, strict=True) if is_in}
            held = sorted(value for value in of_chosen if value is not None)
            more = f" and {len(held) - _MOST_VALUES:,} more" if len(held) > _MOST_VALUES else ""
            has = f"{field} is {', '.join(held[:_MOST_VALUES])}{more}"
            raise MissingError(f"{self.flags} has no rows: {has if held else _fields(embeddings)}")
        return is_wanted


def fitted_parts(store: Store, assignments: Artifact) -> frozenset[str]:
    """Contents of the parts of embeddings that any ancestor of the assignments was fitted on."""
    return frozenset(
        part.content
        for fit in _ancestors(store, assignments)
        if fit.kind.name in _FITS
        for used in _ancestors(store, fit)
        if used.kind.name == EMBEDDINGS.name
        for part in used.parts
    )


def _ancestors(store: Store, artifact: Artifact) -> Iterator[Artifact]:
    for used in artifact.manifest.inputs.values():
        ancestor = store.open(KINDS[used.kind], used.version)
        yield ancestor
        yield from _ancestors(store, ancestor)


def fitted_rows(embeddings: Artifact, fitted: Collection[str]) -> np.ndarray:
    """Whether each row lies in a fitted part."""

    parts = embeddings.parts
    return np.repeat([part.content in fitted for part in parts], [part.rows for part in parts])


def read_labels(embeddings: Artifact, label: str, table: Path | None) -> list[str | None]:
    """The label of each row, from the shards or from a table of the user; None if it has none."""
    if table is not None:
        return _labels_by_name(embeddings, table)
    if label == "cls":
        return [label_of(value) for value in embeddings.column("label")]
    return [label_of(extra.get(label)) for extra in _extras(embeddings)]


def name_classes(embeddings: Artifact, labels: Sequence[str], rows: np.ndarray) -> list[str]:
    """The names of classes whose labels are numbers, from the JSON fields of one row of each.

    The labels themselves where they are no numbers, or where a class has no name of its own.
    """
    if len(labels) > _MOST_NAMED or not all(label.isdecimal() for label in labels):
        return list(labels)
    extras = [parse_extra(row["extra"]) for row in read_rows(embeddings, rows, ("extra",))]
    for field in CLASS_NAMES:
        names = [name for extra in extras if (name := label_of(extra.get(field))) is not None]
        if len(set(names)) == len(labels):
            return names
    return list(labels)


def first_rows(codes: np.ndarray, count: int) -> np.ndarray:
    """(count,) the first row with each code from 0; every code must occur. Other codes are -1."""
    rows = np.flatnonzero(codes >= 0)
    first = np.zeros(count, np.int64)
    first[codes[rows[::-1]]] = rows[::-1]  # of several rows the last that is assigned stays
    return first


def require_labels(embeddings: Artifact, label: str, table: Path | None) -> None:
    """MissingError where no row has a label: for a command that would score after long work."""
    if all(value is None for value in read_labels(embeddings, label, table)):
        raise MissingError(explain_no_labels(embeddings, label, table, embeddings.rows))


def _labels_by_name(embeddings: Artifact, table: Path) -> list[str | None]:
    """Labels by KEY or SHARD:KEY; ConfigError where a KEY is in several shards."""
    labels, keys = read_label_table(table), embeddings.column("key")
    counts, names = Counter(keys), keys
    if any(name not in counts for name in labels):
        names = image_names(embeddings)
        if any(without_point(name) != name for name in labels if name not in counts):
            known = {*keys, *names}
            labels = {
                name if name in known else without_point(name): label
                for name, label in labels.items()
            }
    repeated = next((key for key in labels if counts[key] > 1), None)
    if repeated is not None:
        example = image_names(embeddings)[keys.index(repeated)]
        raise ConfigError(
            f"--labels {table}: {counted(counts[repeated], 'image')} have the key {repeated!r}: "
            f"write SHARD:KEY, such as {example}"
        )
    return [labels.get(name, labels.get(key)) for name, key in zip(names, keys, strict=True)]


def label_of(value: Any) -> str | None:
    """A label as text; None for a gap: nothing, blank text or NaN, which are no class."""
    is_gap = value is None or value != value or not str(value).strip()
    return None if is_gap else str(value)


def explain_no_labels(embeddings: Artifact, label: str, table: Path | None, rows: int) -> str:
    """Why none of the rows that were asked for has a label."""
    if table is not None:
        if not read_label_table(table):
            return f"--labels {table} has no labels: write a key and a label into each row"
        return (
            f"no key of {table} is among the {counted(rows, 'row')} to score: write keys such as "
            f"{next(iter(embeddings.column('key')))}"
        )
    folders = "--label folder takes the images' folders, " if has_folders(embeddings) else ""
    return (
        f"none of the {counted(rows, 'row')} to score has the label {label!r}: {folders}"
        f"--label cls reads .cls members, --label FIELD a JSON field ({_fields(embeddings)}), "
        "--labels FILE a table of key and label"
    )


def has_folders(embeddings: Artifact) -> bool:
    """Whether images come from several folders, which may be their labels."""
    folders = {
        part.facts.get("shard") for part in embeddings.parts if part.facts.get("source") == "images"
    }
    return len(folders) > 1


def read_label_table(path: Path) -> Mapping[str, str]:
    """The labels of a table of the user, by key; ConfigError where it is none, or has two of one.

    The table is Parquet or CSV, with the columns `key` and `label`. Rows without a key are left
    out, as those of other images are.
    """
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            table = pq.read_table(path, partitioning=None)
        else:
            table = csv.read_csv(
                io.BytesIO(read_bytes(path)),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types={"key": "string", "label": "string"}
                ),
            )
        columns = table.column_names
    except OSError as error:
        raise ConfigError(
            f"--labels {path} cannot be read ({error.strerror or error}): name a .csv or .parquet "
            "of key and label"
        ) from error
    except table_errors() as error:
        raise ConfigError(
            f"--labels {path} cannot be read as a table ({error}): write it as .csv in UTF-8, or "
            "as .parquet, with the columns key and label"
        ) from error
    if not {"key", "label"} <= set(columns):
        raise ConfigError(
            f"--labels {path} must have the columns key and label, separated by commas, got "
            f"{', '.join(columns)}"
        )
    if repeated := find_repeated(columns, ("key", "label")):
        raise ConfigError(f"--labels {path} has several columns {repeated}: rename the others")
    keys, labels = (map(plain_value, plain_column(table.column(name))) for name in ("key", "label"))
    named: dict[str, str] = {}
    for key, value in zip(keys, labels, strict=True):
        label = label_of(whole_number(value))
        if key is None or key == "" or label is None:  # a gap names no image, and is no class
            continue
        if named.setdefault(str(key), label) != label:
            raise ConfigError(
                f"--labels {path}: {str(key)!r} has two labels, {named[str(key)]} and {label}"
            )
    return named


def _extras(embeddings: Artifact) -> Iterator[Mapping[str, Any]]:
    return (parse_extra(text) for text in embeddings.column("extra"))


def _join_or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _fields(embeddings: Artifact) -> str:
    fields = ", ".join(next(_extras(embeddings)))
    return f"the first row has {f'the JSON fields {fields}' if fields else 'no JSON fields'}"


def _text(value: Any) -> str | None:
    """A JSON value as it is written on a command line."""
    return value if value is None or isinstance(value, str) else json.dumps(value)
