"""The application `cpp-pipe`: its commands, loaded when they are called; errors and exit codes."""

import contextlib
import errno
import functools
import importlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ...store.errors import NO_THREADS, ConfigError, CppPipeError, find_limit, one_line
from ...store.paths import expanded
from .. import signals
from ..making.engines import torchrun
from . import messages
from .lasting_terminal import lasting
from .usage import PROGRAM, UsageError, check_command, usage_line

GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Start": {
        "demo": ("demo", "Run every step on handwritten digits that come with the package."),
        "run": ("run", "Run every step, from images to captions and search."),
        "embed": ("embed", "Embed the images of folders, shards or tables."),
        "import": ("import_embeddings", "Import embeddings that were made elsewhere."),
        "pack": ("pack", "Write the images of a folder into tar shards."),
        "fetch": ("fetch", "Get a research data set as tar shards."),
        "reproduce": (
            "reproduce",
            "Repeat the paper's experiments, and compare with published scores.",
        ),
    },
    "Clusters": {
        "train": ("train", "Fit a transform that refines the embeddings."),
        "select-k": ("select_k", "Find how many clusters there are."),
        "assign": ("assign", "Put every image in a cluster, with a confidence."),
        "hierarchy": ("hierarchy", "Make a hierarchy: merge clusters step by step, down to one."),
        "caption": ("caption", "Name every cluster in words."),
        "clusters": ("clusters", "List the clusters: size, confidence and caption."),
        "eval": (
            "evaluate",
            "Score the clusters against labels, next to chance and k-means.",
        ),
        "sweep": ("sweep", "Make a run for each combination of settings, and compare them."),
        "compare": ("compare", "Compare runs: scores, agreement, settings that differ."),
    },
    "Search and view": {
        "search": ("search", "Find the images nearest to images, words or keys."),
        "serve": ("serve", "Show a run in a browser: clusters, images, search and a map."),
        "report": ("report", "Write a run as one HTML page."),
        "figures": ("figures", "Draw a run as figures for print: SVG, PDF or PNG."),
    },
    "Curate": {
        "duplicates": ("duplicates", "Find near-duplicates, and the one to keep of each group."),
        "outliers": ("outliers", "Rank the images that are far from every cluster."),
        "score": ("score", "Score images: sharpness, likeness to a text, a linear head."),
        "edit": ("edit", "Decide about clusters and images: name, merge, tag, exclude, undo."),
        "sample": ("sample", "Choose representative images, or images to review."),
        "curate": ("curate", "Copy the samples that you choose into new tar shards."),
        "export": ("export", "Write a run in the format of another tool."),
    },
    "Store": {
        "status": ("status", "List the artifacts of each run, and what is unfinished."),
        "skipped": ("skipped", "List the samples that were not embedded, with reasons."),
        "lineage": ("lineage", "Show what an artifact was made from, back to the shards."),
        "verify": ("verify", "Read every byte of the store, and name each damaged file."),
        "gc": ("gc", "List, or remove, data that no run uses."),
        "doctor": ("doctor", "Report versions, devices and faults of the installation."),
    },
    "Single steps (other commands run them when needed)": {
        "project": ("project", "Refine all embeddings."),
        "spectrum": ("spectrum", "Compute the eigenvectors that clustering uses."),
        "index": ("index", "Build FAISS indexes, which make search fast."),
        "map": ("map", "Place every image in a plane, similar ones close together."),
    },
}
"""The groups of the help: for each command its module, and its line in the help."""

COMMANDS: Mapping[str, tuple[str, str]] = {
    name: entry for group in GROUPS.values() for name, entry in group.items()
}
"""Each command's module and its line in the help."""

RENAMED: Mapping[str, str] = {"merge": "hierarchy"}
"""Old names of commands, which still work and say the new name."""

EXIT_CODES: Mapping[int, str] = {
    0: "The command did its work, --no-wait left the rest to others, or serve was stopped.",
    1: "verify found damaged files, doctor found faults, or cpp-pipe has a bug.",
    2: "The command cannot run as given; one line on stderr says what to do.",
    130: "Stopped by Ctrl-C, SIGTERM or SIGHUP; the same command continues where it stopped.",
}
"""Exit codes of commands, with their meaning."""


_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|(?:can't|cannot|failed to) allocate|ALLOC_FAILED",
    re.IGNORECASE,
)


class _Commands(TyperGroup):
    """Loads the module of a command when it is called: --help and status load no other.

    The groups of the help are written here, because the panels of typer would load every command.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        group: Any = typer.main.get_command(module.app)
        return group.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        for word in args:
            try:
                is_text = b"\0" not in os.fsencode(word)
            except UnicodeEncodeError:
                is_text = False
            if not is_text:  # shells cannot pass it, but other programs can
                raise ConfigError(f"{word!r} is neither text nor the name of a file")
        if args[0] in RENAMED:
            name = RENAMED[args[0]]
            typer.echo(f"`{args[0]}` is now called `{name}`: cpp-pipe {name}", err=True)
            args = [name, *args[1:]]
        check_command(args[0], COMMANDS, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), line) for name, (_, line) in commands.items()]
                )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])

    def make_context(self, *args: Any, **named: Any) -> Any:
        with _usage_in_one_line():
            return super().make_context(*args, **named)

    def invoke(self, ctx: Any) -> Any:
        with contextlib.suppress(ValueError):  # outside the main thread there are no signals
            signals.stop_as_ctrl_c()
        # A closed stream is None: output then goes nowhere.
        sys.stdout, sys.stderr = (
            stream or open(os.devnull, "w")  # noqa: SIM115
            for stream in (sys.stdout, sys.stderr)
        )
        for stream in (sys.stdout, sys.stderr):
            if isinstance(
                stream, io.TextIOWrapper
            ):  # names of files may hold bytes that are no text
                stream.reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
        try:
            with _usage_in_one_line():
                return super().invoke(ctx)
        except CppPipeError as error:
            _end_with(find_limit(error) or str(error), error)
        except OSError as error:
            if error.errno in (
                None,
                errno.EPIPE,
            ):  # a bug; a reader, such as `head`, that has ended
                raise
            _end_with(_describe_os_error(error), error)
        except UnicodeEncodeError as error:  # e.g. of Arrow
            _end_with(f"{error.object!r} is not UTF-8: rename the file or folder", error)
        except (MemoryError, RuntimeError) as error:
            if "can't start new thread" in str(error):
                _end_with(NO_THREADS, error)
            if not is_of_memory(error):
                raise
            _end_with(f"not enough memory ({error}): use fewer rows, or smaller numbers", error)
        except KeyboardInterrupt as error:
            message = "stopped; what is finished is kept, and the same command continues from there"
            _end_with(message, error, code=130)
        finally:
            with contextlib.suppress(OSError):  # the terminal may be gone
                messages.finish()


def is_of_memory(error: Exception) -> bool:
    """Whether there was too little memory, which torch only says in words."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def _describe_os_error(error: OSError) -> str:
    """An error of the operating system; where it names no file, the disks to check."""
    limit = find_limit(error)
    if limit is not None:
        return limit
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        return "the working directory was removed: change to one that exists"
    return (
        f"{error.strerror}, and the system does not say of which file: check the disks of the "
        "images, of the store and of temporary files (TMPDIR)"
    )


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _usage_in_one_line() -> Iterator[None]:
    """Reports an error of usage, where typer would print four lines."""
    try:
        yield
    except UsageError as error:
        messages.say_error(usage_line(error))
        raise typer.Exit(2) from error


def _end_with(message: str, error: BaseException, *, code: int = 2) -> NoReturn:
    """Prints an error as one line, and ends with an exit code."""
    with contextlib.suppress(OSError):  # stderr may be full, or its terminal gone
        messages.say_error(one_line(message))
    raise typer.Exit(code) from error


app = typer.Typer(
    cls=_Commands,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def cpp_pipe(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", is_eager=True, help="Print the version."),
) -> None:
    """Make sense of a large pile of images.

    Embeds them once, refines the embeddings, clusters all images, says how many clusters there
    are, names each in words, and searches them.

    \b
      cpp-pipe run --images photos/

    \b
      cpp-pipe embed --shards 'laion/{000..999}.tar'
      cpp-pipe train
      cpp-pipe search --query img.jpg

    Each command first runs the earlier steps that are still missing. `cpp-pipe demo` shows every
    step in a minute, on digits that come with the package.
    """
    if version:
        import importlib.metadata

        typer.echo(f"cpp-pipe {importlib.metadata.version('cpp-pipe')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


class _Command(TyperCommand):
    """A command: its help shows `[default: …]` as it is, its errors name it, and its paths may
    begin with `~`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def get_help(self, ctx: Any) -> str:
        # typer escapes brackets for rich also where rich does not print the help (seen in 0.20).
        return super().get_help(ctx).replace("\\[", "[")

    def invoke(self, ctx: Any) -> Any:
        for name, value in ctx.params.items():
            if isinstance(value, Path):
                ctx.params[name] = expanded(value)
            elif isinstance(value, list | tuple):
                ctx.params[name] = [expanded(v) if isinstance(v, Path) else v for v in value]
        return super().invoke(ctx)


def subcommands() -> typer.Typer:
    """An application for the commands of one module, which `COMMANDS` names."""
    made = typer.Typer(rich_markup_mode=None, add_completion=False)
    made.callback()(lambda: None)
    made.command = functools.partial(made.command, cls=_Command)
    return made


def main() -> None:
    """Runs the command line."""
    try:
        app(prog_name=PROGRAM)
    except SystemExit as end:
        torchrun.end_process(end.code if isinstance(end.code, int) else 0)
        raise
