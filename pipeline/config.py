"""The settings of a run: read from TOML files and records, and checked before any work."""

import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from ..stages.algorithms.training_config import LEAST_REAL, MOST, MOST_REAL
from ..stages.assign import Assign
from ..stages.indexing.factory import Factory
from ..stages.merge import Merge
from ..stages.select_k import SelectK
from ..stages.spectrum import Spectrum
from ..stages.train import Train
from ..store import ConfigError, RunRecord, Store

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""The configs that are shipped with the package; `cpp-pipe run NAME` finds them."""

IMAGE_TABLES = ("data", "embed")
"""Tables that say what is embedded, and by which model."""

SHIPPED = "shipped"
"""The value of `embed.pretrained` for the weights in `CONFIGS`."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the images and their labels are; changes no model."""

    shards: tuple[str, ...] = ()
    """Patterns of tar shards, on this machine or at addresses."""
    images: tuple[str, ...] = ()
    """Folders of images."""
    tables: tuple[str, ...] = ()
    """Patterns of Parquet tables."""
    image_column: str = ""
    """The column of images in tables; found by its type and name if empty."""
    builtin: Literal["", "digits"] = ""
    """A data set of a dependency, written as shards into the store on first use."""
    label: str = "cls"
    """The label that scores compare clusters with: `cls` (the .cls files), `folder` (the images'
    folders), or the name of a JSON field."""

    @property
    def is_named(self) -> bool:
        """Whether any input is named."""
        return bool(self.shards or self.images or self.tables or self.builtin)


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Which model embeds."""

    model: str = "ViT-L-14"
    """A model of open_clip, or `timm/NAME`."""
    pretrained: str = "openai"
    """A tag of open_clip, or a local .safetensors file."""
    model_config: str = ""
    """A local JSON file that describes the model."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """The precision of the model's matrix products; bf16 needs a GPU or a CPU that has it."""
    scaled_jpeg: bool = False
    """Decode large JPEGs at a fraction of their size: faster, with slightly different pixels."""
    exif: Literal["ignore", "apply"] = "ignore"
    """`apply` turns images as their EXIF orientation says; CLIP was trained without."""


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """What clusters depend on besides the embeddings; by default nothing."""

    guide: str | tuple[str, ...] = ""
    """Vocabularies, as for captions, that pull images towards what their words name."""
    guide_share: float = 0.3
    """The share of the similarity of two images that the guide decides."""
    templates: tuple[str, ...] = ()
    """Prompts with {} in place of a word of the guide."""
    beside: tuple[str, ...] = ()
    """Other runs of the store, whose models embedded the same images."""

    def __post_init__(self) -> None:
        if not 0 < self.guide_share < 1:
            raise ConfigError(
                f"views.guide_share must be above 0 and below 1, got {self.guide_share}"
            )

    @property
    def is_any(self) -> bool:
        """Whether there is a guide or another model."""
        return bool(self.guide or self.beside)


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """How clusters are named."""

    vocabulary: str | tuple[str, ...] = "imagenet"
    """`imagenet`, `coco`, `wordnet`, a text file with one phrase per line, a Parquet table of
    phrases, or an .npz of names and embeddings; or several of these."""
    templates: tuple[str, ...] = ()
    """Prompts with {} in place of a phrase; if empty, the usual ones of the vocabulary."""
    rule: Literal["contrast", "vote"] = "contrast"
    """`contrast`: words that fit a cluster more than others. `vote`: most votes (the paper)."""
    top: int = 5
    """Words that each image votes for."""
    beside: str = ""
    """Another run of the store, whose embeddings of the same images are compared with words."""


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """The index that makes search fast."""

    factory: str = "auto"
    """A FAISS factory string such as IVF4096,SQ8; `auto` chooses by the number of rows."""
    target_recall: float = 0.95
    """The share of true neighbours that a search should find."""
    seed: int = 0
    """Seed for the rows that the index is fitted to, and those that recall is measured on."""

    def __post_init__(self) -> None:
        if self.factory != "auto":
            Factory.parse(self.factory)
        if not 0 < self.target_recall <= 1:
            raise ConfigError(
                f"index.target_recall must be above 0 and at most 1, got {self.target_recall}"
            )
        if self.seed < 0:
            raise ConfigError(f"index.seed must be at least 0, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run, one table per stage."""

    data: Data = field(default_factory=Data)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    train: Train = field(default_factory=Train)
    spectrum: Spectrum = field(default_factory=Spectrum)
    select_k: SelectK = field(default_factory=SelectK)
    merge: Merge = field(default_factory=Merge)
    assign: Assign = field(default_factory=Assign)
    caption: CaptionSettings = field(default_factory=CaptionSettings)
    index: IndexSettings = field(default_factory=IndexSettings)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], where: str) -> Self:
        """Settings from tables of plain values; ConfigError names an unknown table or key."""
        known = {field.name: field for field in fields(cls)}
        values = {}
        for name, table in tables.items():
            if name not in known:
                raise ConfigError(_describe_unknown(f"table [{name}]", name, known, where))
            if not isinstance(table, Mapping):
                raise ConfigError(f"{where}: {name} must be a table: write [{name}]")
            values[name] = _build_table(known[name].type, table, f"{where}, table [{name}]")
        return cls(**values)

    def with_tables_of(self, other: Self, names: Iterable[str]) -> Self:
        """These settings with some tables replaced by those of `other`."""
        return replace(self, **{name: getattr(other, name) for name in names})

    def tables(self) -> dict[str, Any]:
        """The settings as plain values, by table."""
        return {name: _with_lists(table) for name, table in asdict(self).items()}

    def override(self, table: str, /, **values: Any) -> Self:
        """These settings with new values for some keys of a table; None keeps a value."""
        changes = {key: to_plain(value) for key, value in values.items() if value is not None}
        if not changes:
            return self
        old = getattr(self, table)
        new = _build(type(old), {**_with_lists(asdict(old)), **changes}, f"table [{table}]")
        return replace(self, **{table: new})


def to_plain(value: Any) -> Any:
    """A value with Python's numbers and lists in place of NumPy's numbers and arrays."""
    if isinstance(value, list | tuple):
        return [to_plain(element) for element in value]
    return value.tolist() if hasattr(value, "tolist") else value


def settings_of(store: Store, run: RunRecord) -> Settings:
    """The settings in a run's record; ConfigError, which names its file, if one is wrong."""
    return Settings.from_tables(run.settings, str(store.runs.path(run.name)))


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, unchecked; ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from error


def find_config(name: str) -> Path:
    """The path of a TOML file, given by its path or by the name of a shipped config."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = CONFIGS / f"{name}.toml"
    if shipped.is_file():
        return shipped
    known = sorted(path.stem for path in CONFIGS.glob("*.toml"))
    raise ConfigError(
        f"{name!r} is neither a file nor a shipped config; shipped are {', '.join(known)}"
    )


def _with_lists(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table with lists in place of tuples, as TOML and JSON have it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in table.items()}


def _describe_unknown(what: str, name: str, known: Mapping[str, Any], where: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{where}: unknown {what}, known are {', '.join(sorted(known))}{hint}"


def _build_table(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """The dataclass of a table; every ConfigError says where the table is."""
    try:
        return _build(kind, table, where)
    except ConfigError as error:
        if str(error).startswith(where):
            raise
        raise ConfigError(f"{where}: {error}") from error


def _build(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(_describe_unknown(f"key {key!r}", key, known, where))
        values[key] = _convert(value, hints[key], f"{where}, key {key}")
    return kind(**values)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """The value, converted to a field's type; ConfigError if it does not fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for argument in arguments:
            try:
                return _convert(value, argument, where)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in arguments and not isinstance(value, bool):
            return value
    elif origin is tuple:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(_convert(element, arguments[0], where) for element in value)
    elif hint in (int, float) and isinstance(value, int | hint) and not isinstance(value, bool):
        most = MOST if hint is int else MOST_REAL
        if not abs(value) <= most:  # NaN compares with nothing
            raise ConfigError(f"{where}: must be finite and at most {most}, got {value!r}")
        if 0 < abs(value) < LEAST_REAL:
            raise ConfigError(f"{where}: must be 0, or at least {LEAST_REAL} in size, got {value}")
        return hint(value)
    elif hint not in (int, float) and isinstance(value, hint):
        return value
    raise ConfigError(f"{where}: must be {_describe_type(hint)}, got {value!r}")


def _describe_type(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe_type(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list with each element {_describe_type(arguments[0])}"
    return {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}[hint]
