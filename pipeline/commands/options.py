"""Flags that commands share, and the plan that they make together."""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...store import ConfigError, Store
from ..making.engines import torchrun
from ..making.progress import progress_named

if TYPE_CHECKING:
    from ..config import Settings
    from ..making.plan import Plan

StoreFlag = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="CPP_PIPE_STORE",
        help="The folder that holds the artifacts, or s3://bucket/path.",
    ),
]
RunFlag = Annotated[
    str, typer.Option("--run", help="The run: a name for settings and versions that go together.")
]
ConfigFlag = Annotated[
    str | None,
    typer.Option("--config", help="A TOML file of settings, or the name of a shipped one."),
]
SetFlag = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="One setting, as --set train.epochs=20."),
]
DeviceFlag = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps.")
]
WorkersFlag = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes that make parts side by side, one a GPU."),
]
WorkerFlag = Annotated[
    str,
    typer.Option(
        "--worker", metavar="I/N", help="Which of N that share the parts this is, from 0 to N-1."
    ),
]
WaitFlag = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="For parts that others are still making at the end."),
]
EngineFlag = Annotated[
    str, typer.Option("--engine", help="Where parts are made: local, or ray (a cluster).")
]
AddressFlag = Annotated[
    str | None, typer.Option("--address", help="Of the Ray cluster, if this machine is not in it.")
]
BatchFlag = Annotated[
    int,
    typer.Option("--batch-size", min=1, help="Images that a GPU embeds at once; cores take 16."),
]
SkippedFlag = Annotated[
    float,
    typer.Option("--max-skipped", min=0, max=1, help="Fail when a larger share is skipped."),
]
PartialFlag = Annotated[
    bool,
    typer.Option("--allow-partial", help="Go on without missing shards, and with cut ones."),
]
ProgressFlag = Annotated[
    str, typer.Option("--progress", help="line, json (an object a line, on stderr), or none.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ModelFlag = Annotated[
    str | None, typer.Option("--model", help="A model of open_clip, as ViT-L-14.")
]
PretrainedFlag = Annotated[
    str | None,
    typer.Option("--pretrained", help="A tag of open_clip, as openai, or a .safetensors file."),
]
ModelConfigFlag = Annotated[
    str | None, typer.Option("--model-config", help="A JSON file that describes a local model.")
]

DEFAULT_STORE = "artifacts"
DEFAULT_RUN = "default"
DEFAULT_PROGRESS = "line"
ALONE = "0/1"
"""The worker that shares the parts with none."""

_EMBEDDED = ("data", "embed")
"""Tables that say what is embedded, and by which model."""


def say(line: str) -> None:
    """Tells what is going on, apart from what the command prints as its result.

    Of the processes of torchrun only the first one speaks.
    """
    if torchrun.rank() == 0:
        _shown["progress"].tell(line)


def sum_up(skipped: Mapping[str, int]) -> None:
    """Tells what the command's last count took; `skipped` counts what it left out, by reason."""
    _shown["progress"].sum_up(skipped)


_shown = {"progress": progress_named(DEFAULT_PROGRESS)}
"""Where the command that runs tells how far it is."""


def open_plan(
    store: str | Path,
    run: str,
    config: str | None = None,
    sets: list[str] | None = None,
    *,
    device: str = "auto",
    workers: int | None = None,
    worker: str = ALONE,
    wait: bool = True,
    engine: str = "local",
    address: str | None = None,
    batch_size: int = 64,
    max_skipped: float = 0.1,
    allow_partial: bool = False,
    progress: str = DEFAULT_PROGRESS,
    begins: bool = False,
    **tables: dict[str, Any],
) -> "Plan":
    """The plan of a run: the settings of its record, with a config and flags over them.

    A command that `begins` a run takes a config as a whole; later ones leave alone what says how
    the run was embedded. `tables` hold the values of flags, by table; None is a flag that was not
    given.
    """
    from ...stages.contract import Runtime, Silent
    from ..config import Settings, find_config, read_tables
    from ..making.engines.engine import find_engine
    from ..making.plan import Plan

    _shown["progress"] = progress_named(progress)
    find_engine(engine)
    opened = Store(store)
    record = opened.runs.read(run)
    settings = Settings.from_tables(record.settings, f"run {run}")
    if config is not None:
        path = find_config(config)
        given = read_tables(path)
        wanted = Settings.from_tables(given, str(path))
        # What is embedded already stays what it is: a config for training names another data set.
        kept = () if begins else _EMBEDDED
        settings = settings if record.settings and not begins else wanted
        settings = settings.with_tables_of(wanted, [name for name in given if name not in kept])
    for table, values in tables.items():
        settings = settings.override(table, **values)
    for one in sets or []:
        settings = _apply(settings, one)
    runtime = Runtime(
        device=device,
        workers=workers,
        worker=parse_worker(worker),
        wait=wait,
        engine=engine,
        address=address,
        batch_size=batch_size,
        max_skipped=max_skipped,
        allow_partial=allow_partial,
        progress=_shown["progress"] if torchrun.rank() == 0 else Silent(),
    )
    return Plan(opened, run, settings, runtime, say)


def parse_worker(text: str) -> tuple[int, int]:
    """The i and the n of `--worker i/n`."""
    matched = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(one) for one in matched.groups()) if matched else (0, 0)
    if number >= count:
        allowed = f"0/{count} to {count - 1}/{count} are" if count else "I/N is, as 0/8 to 7/8"
        raise ConfigError(f"--worker {text!r} is not allowed: {allowed}")
    return number, count


def parse_numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them."""
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(",") if number.strip())
    except ValueError as error:
        raise ConfigError(
            f"{flag} must be whole numbers with commas, such as 5,10,20, got {text!r}"
        ) from error


@contextlib.contextmanager
def or_left_to_others() -> Iterator[None]:
    """Ends a command well where `--no-wait` leaves parts to others: says how many, and exits."""
    from ..making.jobs import LeftToOthers

    try:
        yield
    except LeftToOthers as left:
        say(str(left))
        raise typer.Exit from left


def _apply(settings: "Settings", assignment: str) -> "Settings":
    name, equals, text = assignment.partition("=")
    table, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"--set {assignment!r} is not allowed: --set TABLE.KEY=VALUE is")
    if table not in settings.tables():
        raise ConfigError(
            f"--set {assignment!r}: unknown table, known are {', '.join(settings.tables())}"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    return settings.override(table, **{key: value})


def anchored(patterns: list[str]) -> tuple[str, ...]:
    """Patterns of shards that mean the same in whatever folder a later command runs."""
    anchored = []
    for pattern in patterns:
        at, path = ("@", pattern[1:]) if pattern.startswith("@") else ("", pattern)
        is_remote = "://" in path
        anchored.append(at + (path if is_remote else os.path.abspath(os.path.expanduser(path))))
    return tuple(anchored)


def anchored_file(name: str | None) -> str | None:
    """A flag that may name a local file, by a path that means the same everywhere."""
    if not name or not Path(name).expanduser().is_file():
        return name
    return str(Path(name).expanduser().resolve())


def embed_table(
    model: str | None, pretrained: str | None, model_config: str | None
) -> dict[str, str | None]:
    """The flags that name a model, as values of the table `embed`."""
    if model_config is not None and not Path(model_config).expanduser().is_file():
        raise ConfigError(f"--model-config {model_config!r} is no file that is there")
    if model is None and model_config is not None:
        model = Path(model_config).stem
    elif model is not None and model_config is None:
        # A model that is named takes the place of one that a file described.
        model_config = ""
    return {
        "model": model,
        "pretrained": anchored_file(pretrained),
        "model_config": anchored_file(model_config),
    }
