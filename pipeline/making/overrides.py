"""Changes the settings of a run by a config and by TABLE.KEY=VALUE, for commands and Python."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ...store import ConfigError, Store
from ..config import IMAGE_TABLES, Settings, find_config, read_tables, settings_of

_HEAD_TABLES = ("views", "train")
_TABLES: Mapping[str, tuple[str, ...]] = {
    "train": _HEAD_TABLES,
    "spectrum": (*_HEAD_TABLES, "spectrum"),
    "select_k": (*_HEAD_TABLES, "spectrum", "select_k"),
    "merge": (*_HEAD_TABLES, "spectrum", "merge"),
    "assign": (*_HEAD_TABLES, "spectrum", "select_k", "merge", "assign"),
    "caption": (*_HEAD_TABLES, "spectrum", "select_k", "merge", "assign", "caption"),
    "index": (*_HEAD_TABLES, "index"),
}
"""The tables that a command takes from a config, by the table of its flags: its own, and those of
the stages that it needs. A table of a later stage would stay in the run, and change what later
commands do."""

_OPENING, _CLOSING = "[{", "]}"


class Override(NamedTuple):
    """A setting and the text of its value, from TABLE.KEY=VALUE."""

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
    """The settings of a run, changed by a config; `flags` are the tables of the command's flags.

    A command that `begins` a run takes the whole config. Any other leaves `data` and `embed` as
    they are, because a config for training may name another data set.
    """
    record = store.runs.read(run)
    settings = settings_of(store, record)
    if config is None:
        return settings
    path = find_config(config)
    tables = read_tables(path)
    config_settings = Settings.from_tables(tables, str(path))
    if begins:
        return config_settings
    allowed = next((_TABLES[table] for table in flags if table in _TABLES), tuple(tables))
    allowed = [name for name in allowed if name not in IMAGE_TABLES]
    allowed += [] if record.settings else IMAGE_TABLES
    return settings.with_tables_of(config_settings, [name for name in tables if name in allowed])


def parse_override(settings: Settings, assignment: str) -> Override:
    """Parses TABLE.KEY=VALUE; ConfigError for another form, or for an unknown table."""
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
    """The settings, changed by TABLE.KEY=VALUE."""
    table, key, text = parse_override(settings, assignment)
    return settings.override(table, **{key: read_value(text)})


def read_value(text: str) -> Any:
    """The value of a text that is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def read_values(text: str) -> list[Any]:
    """The values between commas: `0.1,0.2` are two, `[1,2]` is one."""
    return [read_value(part) for part in _split_at_commas(text) if part.strip()]


def _split_at_commas(text: str) -> Iterator[str]:
    """The pieces between commas; commas in brackets and quotes do not separate."""
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
