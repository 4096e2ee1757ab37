"""Flags that commands share, and the plan that they lead to."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ...store import ConfigError, CppPipeError, MissingError, Store
from ..command_line import DEFAULT_RUN, DEFAULT_STORE, STORE_VARIABLE, name_run
from ..making.engines import torchrun
from ..wording import counted
from .flag_values import parse_worker
from .messages import AUTO, say, show_progress

if TYPE_CHECKING:
    from ..making.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Common:
    """Values of the flags that commands share, in the order in which `--help` lists them.

    A flag that a command does not take has its default.
    """

    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model: a name of open_clip, such as ViT-L-14, or timm/NAME."),
    ] = None
    pretrained: Annotated[
        str | None,
        typer.Option(
            "--pretrained",
            help="Weights: a tag of open_clip, such as openai, or .safetensors.",
        ),
    ] = None
    model_config: Annotated[
        str | None, typer.Option("--model-config", help="A JSON file that describes a local model.")
    ] = None
    max_skipped: Annotated[
        float,
        typer.Option("--max-skipped", min=0, max=1, help="Fail if a larger share is skipped."),
    ] = 0.1
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="Continue without missing shards; accept truncated ones."
        ),
    ] = False
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1, help="Number of images in a batch on a GPU; a CPU uses 16."
        ),
    ] = 64
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Number of processes; by default one for each GPU, else one."
        ),
    ] = None
    worker: Annotated[
        str,
        typer.Option(
            "--worker",
            metavar="I/N",
            help="Work as number I, from 0, of N workers that share the parts, such as 3/8.",
        ),
    ] = "0/1"
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="At the end, wait for the parts that other workers make."
        ),
    ] = True
    engine: Annotated[
        str, typer.Option("--engine", help="Do the work here (local) or on a Ray cluster (ray).")
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="Address of the Ray cluster, if this machine is not part of it."
        ),
    ] = None
    device: Annotated[
        str,
        typer.Option("--device", help="Device: auto (CUDA if any), cpu, cuda, cuda:1, mps."),
    ] = "auto"
    progress: Annotated[
        str,
        typer.Option(
            "--progress",
            help="Form of the progress: auto, bar, log (a line every 10 s), json or none.",
        ),
    ] = AUTO
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file", metavar="FILE", help="Also append messages and progress to this file."
        ),
    ] = None
    edits: Annotated[
        str | None,
        typer.Option(
            "--edits",
            metavar="NAME",
            help="Apply the decisions sealed under this name, or all that were made (open).",
        ),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="'NAME > VALUE'",
            help="Only images that meet this condition on a score or field; repeatable.",
        ),
    ] = None
    config: Annotated[
        str | None,
        typer.Option("--config", help="Settings: a TOML file, or the name of a shipped config."),
    ] = None
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Change a setting, such as train.epochs=20; repeatable.",
        ),
    ] = None
    run: Annotated[
        str | None,
        typer.Option(
            "--run", help="Name of the run; if absent, `default`, or the only run of the store."
        ),
    ] = None
    store: Annotated[
        str,
        typer.Option(
            "--store",
            envvar=STORE_VARIABLE,
            help="Folder of the artifacts, or s3://bucket/path.",
        ),
    ] = DEFAULT_STORE


MODEL = ("model", "pretrained", "model_config")
"""Which model embeds."""

CLUSTER = ("engine", "address")
"""Where parts of an artifact are made, and rows of a sample are read."""

WORKERS = ("workers", "worker", "wait", *CLUSTER)
"""Which processes make the parts of an artifact."""

READING = ("run", "store")
"""Flags of a command that reads a run."""

LONG = ("progress", "log_file")
"""Flags of a command that may take long: where it shows its progress."""

MAKING = ("device", *LONG, "config", "sets", *READING)
"""Flags of a command that makes an artifact of a run."""


LabelFlag = Annotated[
    str | None,
    typer.Option("--label", help="Labels of the images: folder, cls, or a JSON field."),
]
LabelsFlag = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="Labels from a .csv or .parquet of key (or SHARD:KEY) and label."
    ),
]

_NEW_RUN = Annotated[
    str | None, typer.Option("--run", help="Name of the run; `default` if absent.")
]


def takes(
    *names: str, begins: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds shared flags to a command, by their names in `Common`.

    The command receives them as its argument `common`. `--help` lists them after its own flags.
    A command that `begins` a run works on `default` if no run is named, whatever runs the store
    has, so that it never puts other images into somebody's only run.
    """
    hints = _hints(Common)
    if begins:
        hints["run"] = _NEW_RUN
    shared = [
        inspect.Parameter(
            flag.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=flag.default,
            annotation=hints[flag.name],
        )
        for flag in fields(Common)
        if flag.name in names
    ]
    assert len(shared) == len(names), f"{names} are not all fields of Common"

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            common = Common(**{name: values.pop(name) for name in names})
            show_progress(common.progress, common.log_file)
            try:
                command(common=common, **values)
            except CppPipeError as error:
                # So that the commands in the message are for this run and this store.
                message = name_run(str(error), run=common.run, store=common.store)
                error.args = (message, *error.args[1:])
                raise

        own_hints = _hints(command)
        own = [
            flag.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[name])
            for name, flag in inspect.signature(command).parameters.items()
            if name != "common"
        ]
        # typer reads the parameters of a command from both.
        run.__dict__["__signature__"] = inspect.Signature([*own, *shared])
        run.__annotations__ = {flag.name: flag.annotation for flag in (*own, *shared)}
        return run

    return add


def _hints(annotated: Any) -> dict[str, Any]:
    return get_type_hints(annotated, include_extras=True)


def open_store(common: Common) -> Store:
    """The store of a command that begins none; MissingError if it does not exist."""
    store = Store(common.store)
    if not store.exists:
        raise MissingError(f"there is no store {common.store}: name one with --store")
    return store


def find_run(store: Store, name: str | None) -> str:
    """The run that a command works on: the named one, else `default`, else the only one.

    A run that holds nothing, which a failed command may leave, does not count. ConfigError if the
    store has several runs and none of them is `default`.
    """
    if name is not None:
        return name
    if store.runs.read(DEFAULT_RUN).versions:
        return DEFAULT_RUN
    names = [run for run in store.runs.names() if store.runs.read(run).versions]
    if not names:
        return DEFAULT_RUN
    if len(names) > 1:
        raise ConfigError(
            f"the store {store.root} has {counted(len(names), 'run')}: name one of them with "
            f"--run: {', '.join(names)}"
        )
    return names[0]


def open_plan(common: Common, *, begins: bool = False, **tables: dict[str, Any]) -> "Plan":
    """The plan of a run: the settings of its record, changed by a config and by flags.

    A command that `begins` a run takes a whole config; later commands do not change which images
    were embedded by which model. `tables` holds the values of flags, by table; None is a flag that
    was not given.
    """
    from ...stages.contract import Runtime, Silent
    from ..making.engines.engine import find_engine
    from ..making.overrides import apply_override, read_settings
    from ..making.plan import Plan

    progress = show_progress(common.progress, common.log_file)
    find_engine(common.engine)
    store = Store(common.store)
    run = common.run or DEFAULT_RUN if begins else find_run(store, common.run)
    if common.edits is not None:
        from ..view.applied_edits import require_sealed

        require_sealed(store.runs.read(run), common.edits)
    settings = read_settings(store, run, common.config, tables, begins=begins)
    for table, values in tables.items():
        settings = settings.override(table, **values)
    for assignment in common.sets or []:
        settings = apply_override(settings, assignment)
    runtime = Runtime(
        device=common.device,
        workers=common.workers,
        worker=parse_worker(common.worker),
        wait=common.wait,
        engine=common.engine,
        address=common.address,
        batch_size=common.batch_size,
        max_skipped=common.max_skipped,
        allow_partial=common.allow_partial,
        progress=progress if torchrun.rank() == 0 else Silent(),
    )
    return Plan(store, run, settings, runtime, say)


@contextlib.contextmanager
def end_if_left_to_others() -> Iterator[None]:
    """Ends a command with exit code 0 where `--no-wait` leaves work to other workers."""
    from ..making.jobs import PartsInProgress

    try:
        yield
    except PartsInProgress as error:
        say(str(error))
        raise typer.Exit from error


def embed_table(common: Common) -> dict[str, str | None]:
    """The flags that name a model, as values of the table `embed`."""
    from ..making.named_inputs import model_table

    return model_table(common.model, common.pretrained, common.model_config)
