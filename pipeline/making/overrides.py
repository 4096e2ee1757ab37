"""Settings of a run, changed by a config and by TABLE.KEY=VALUE: the same for every caller."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ...store import ConfigError, Store
from ..config import Settings, find_config, read_tables, settings_of

_EMBEDDED = ("data", "embed")
"""Tables that say what is embedded, and by which model."""

_OF_HEADS = ("views", "train")
_TABLES: Mapping[str, tuple[str, ...]] = {
    "train": _OF_HEADS,
    "spectrum": (*_OF_HEADS, "spectrum"),
    "select_k": (*_OF_HEADS, "spectrum", "select_k"),
    "merge": (*_OF_HEADS, "spectrum", "merge"),
    "assign": (*_OF_HEADS, "spectrum", "select_k", "merge", "assign"),
    "caption": (*_OF_HEADS, "spectrum", "select_k", "merge", "assign", "caption"),
    "index": (*_OF_HEADS, "index"),
}
"""What a command takes of a config, by the table that holds its flags: its own table, and those of
what it needs. A setting of a later stage would stay in the run and change later commands."""

_OPENING, _CLOSING = "[{", "]}"


class Override(NamedTuple):
    """One setting and the text of its value, from TABLE.KEY=VALUE."""

    table: str
    key: str
    text: str

    @property
    def name(self) -> str:
        """TABLE.KEY."""
        return f"{self.table}.{self.key}"


def read_settings(
    store: Store, run: str, config: str | None, flags: Iterable[str], *, begins: bool
) -> Settings:
    """The settings of a run's record, changed by a config; `flags` are the tables of flags.

    Whoever `begins` a run takes a config as a whole. Later, what was embedded stays what it is: a
    config for training names another data set.
    """
    record = store.runs.read(run)
    settings = settings_of(store, record)
    if config is None:
        return settings
    path = find_config(config)
    given = read_tables(path)
    wanted = Settings.from_tables(given, str(path))
    if begins:
        return wanted
    taken = next((_TABLES[table] for table in flags if table in _TABLES), tuple(given))
    taken = [name for name in taken if name not in _EMBEDDED]
    taken += [] if record.settings else _EMBEDDED
    return settings.with_tables_of(wanted, [name for name in given if name in taken])


def parse_override(settings: Settings, assignment: str) -> Override:
    """TABLE.KEY=VALUE in its parts; ConfigError where it has none, or names no table."""
    name, equals, text = assignment.partition("=")
    table, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"--set must be TABLE.KEY=VALUE, got {assignment!r}")
    if table not in settings.tables():
        raise ConfigError(
            f"--set {assignment!r}: there is no table {table!r}; the tables are "
            f"{', '.join(settings.tables())}"
        )
    return Override(table, key, text)


def apply_override(settings: Settings, assignment: str) -> Settings:
    """The settings with TABLE.KEY=VALUE."""
    table, key, text = parse_override(settings, assignment)
    return settings.override(table, **{key: read_value(text)})


def read_value(text: str) -> Any:
    """The value of a text: that of TOML, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def read_values(text: str) -> list[Any]:
    """The values of a text with commas between them: `0.1,0.2` are two, `[1,2]` is one."""
    return [read_value(part) for part in _split(text) if part.strip()]


def _split(text: str) -> Iterator[str]:
    """What stands between commas, but for those in brackets and in quotes."""
    depth, quote, part = 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += 0 if quote else (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0 and not quote:
            yield part
            part = ""
        else:
            part += letter
    yield part
