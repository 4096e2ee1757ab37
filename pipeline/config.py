"""Settings: what a run is told, by a TOML file, its record and flags; checked before work."""

import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from ..stages.assign import Assign
from ..stages.indexing.factory import Factory
from ..stages.merge import Merge
from ..stages.select_k import SelectK
from ..stages.spectrum import Spectrum
from ..stages.train import Train
from ..store import ConfigError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""The configs that ship with the package; `cpp-pipe run NAME` finds them."""

SHIPPED = "shipped"
"""The value of `embed.pretrained` that means the weights beside the configs."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the pictures are and where their labels stand; changes no model."""

    shards: tuple[str, ...] = ()
    """Patterns of tar shards, on this machine or at addresses."""
    images: tuple[str, ...] = ()
    """Folders of pictures."""
    tables: tuple[str, ...] = ()
    """Patterns of Parquet tables."""
    image_column: str = ""
    """The column of pictures in tables; found by its type and name if empty."""
    builtin: Literal["", "digits"] = ""
    """A data set that comes with a dependency, written as shards into the store on first use."""
    label: str = "cls"
    """`cls` for the shards' .cls members, or the name of a JSON field; only `eval` reads it."""

    @property
    def is_named(self) -> bool:
        """Whether there is anything to embed."""
        return bool(self.shards or self.images or self.tables or self.builtin)


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Which model embeds."""

    model: str = "ViT-L-14"
    pretrained: str = "openai"
    """A tag of open_clip, or a local .safetensors file."""
    model_config: str = ""
    """A local JSON file that describes the model."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the model's products are computed in; bf16 is for GPUs that have it."""
    scaled_jpeg: bool = False
    """Whether large JPEGs are decoded at a fraction of their size: faster, and pixels differ a
    little."""


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """What heads see of an image beside its embedding; by default nothing."""

    guide: str | tuple[str, ...] = ""
    """Words that pull images towards what they name: a vocabulary as for captions, or several."""
    guide_share: float = 0.3
    """Of the similarity of two images, what the guide decides."""
    templates: tuple[str, ...] = ()
    """Prompts with {} for the words of the guide."""
    beside: tuple[str, ...] = ()
    """Other runs of the store, whose models see the same images."""

    def __post_init__(self) -> None:
        if not 0 < self.guide_share < 1:
            raise ConfigError(
                f"views.guide_share must be above 0 and below 1, got {self.guide_share}"
            )

    @property
    def is_any(self) -> bool:
        """Whether heads see more than embeddings."""
        return bool(self.guide or self.beside)


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """What clusters may be called."""

    vocabulary: str | tuple[str, ...] = "imagenet"
    """`imagenet`, `coco`, `wordnet`, a text file with a phrase a line, a Parquet table of phrases,
    or .npz of names and embeddings; or several of these."""
    templates: tuple[str, ...] = ()
    """Prompts with {} for the phrase; none means those that the vocabulary is known for."""
    rule: Literal["contrast", "vote"] = "contrast"
    """Words that fit a cluster more than others, or those with most votes: the paper's rule."""
    top: int = 5
    """Words that an image votes for."""


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """What search is fast by."""

    factory: str = "auto"
    """A FAISS factory string, as IVF4096,SQ8; `auto` chooses by the number of rows."""
    target_recall: float = 0.95
    """The share of true neighbours that a search is wide enough to find."""
    seed: int = 0
    """Draws the rows that lists are fitted to, and those that recall is measured on."""

    def __post_init__(self) -> None:
        if self.factory != "auto":
            Factory.parse(self.factory)
        if not 0 < self.target_recall <= 1:
            raise ConfigError(
                f"index.target_recall = {self.target_recall} is not allowed: above 0, to 1, is"
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a run is told: a table a stage."""

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
        known = {one.name: one for one in fields(cls)}
        made = {}
        for name, table in tables.items():
            if name not in known:
                raise ConfigError(_unknown(f"table [{name}]", name, known, where))
            if not isinstance(table, Mapping):
                raise ConfigError(f"{where}: {name} is a table: write [{name}]")
            made[name] = _build(known[name].type, table, f"{where}, table [{name}]")
        return cls(**made)

    def with_tables_of(self, other: Self, names: Iterable[str]) -> Self:
        """These settings with some tables of others in place of their own."""
        return replace(self, **{name: getattr(other, name) for name in names})

    def tables(self) -> dict[str, Any]:
        """Plain values for the run's record."""
        return {name: _plain(table) for name, table in asdict(self).items()}

    def override(self, table: str, **values: Any) -> Self:
        """These settings with some keys of one table replaced; None leaves a key as it is."""
        given = {key: value for key, value in values.items() if value is not None}
        if not given:
            return self
        old = getattr(self, table)
        checked = _build(type(old), {**_plain(asdict(old)), **given}, f"table [{table}]")
        return replace(self, **{table: checked})


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file as they stand there; ConfigError when it is none."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from error


def find_config(name: str) -> Path:
    """A TOML file by its path, or a config that ships with the package by its name."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = CONFIGS / f"{name}.toml"
    if shipped.is_file():
        return shipped
    known = sorted(one.stem for one in CONFIGS.glob("*.toml"))
    raise ConfigError(
        f"{name!r} is no file and no config of cpp-pipe, which are {', '.join(known)}"
    )


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(one) if isinstance(one, tuple) else one for key, one in table.items()}


def _unknown(what: str, name: str, known: Mapping[str, Any], where: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{where}: unknown {what}, known are {', '.join(sorted(known))}{hint}"


def _build(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {one.name: one for one in fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(_unknown(f"key {key!r}", key, known, where))
        values[key] = _convert(value, hints[key], f"{where}, key {key}")
    return kind(**values)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type that a field declares; ConfigError says what is allowed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for one in arguments:
            try:
                return _convert(value, one, where)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in arguments and not isinstance(value, bool):
            return value
    elif origin is tuple:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(_convert(one, arguments[0], where) for one in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: {value!r} is not allowed, {_allowed(hint)} is")


def _allowed(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_allowed(one) for one in arguments)
    if origin is Literal:
        return " or ".join(repr(one) for one in arguments)
    if origin is tuple:
        return f"a list, each {_allowed(arguments[0])}"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]
