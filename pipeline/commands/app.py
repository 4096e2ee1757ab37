"""The application `cpp-pipe`: its commands, loaded when they are called, and how errors look."""

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from ...store.errors import CppPipeError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "pack": ("pack", "Make tar shards of a folder of pictures, with all folders below it."),
    "embed": ("embed", "Embed the images of shards, folders or tables with a CLIP-like model."),
    "import": ("import_embeddings", "Take over embeddings that were made elsewhere."),
    "train": (
        "train",
        "Fit heads to the embeddings: whitening by near neighbours, and training where asked.",
    ),
    "project": ("project", "Refine all embeddings with the trained heads."),
    "spectrum": ("spectrum", "Compute the leading eigenvectors of an affinity of landmark rows."),
    "select-k": ("select_k", "Find how many clusters there are: the k with the shortest code."),
    "merge": ("hierarchy", "Merge the finest clusters down to one: a hierarchy of clusters."),
    "assign": ("assign", "Put every image in a cluster, with a confidence."),
    "caption": ("caption", "Name every cluster in words that fit it, and fit others less."),
    "index": ("index", "Build FAISS indexes: of features for images, of embeddings for texts."),
    "search": ("search", "Find the images that are nearest to pictures, to words, or to keys."),
    "duplicates": ("duplicates", "Find near-duplicates, and the one to keep of each group."),
    "outliers": ("outliers", "Rank pictures that are far from every cluster, the farthest first."),
    "curate": ("curate", "Copy chosen samples into new tar shards, byte for byte as they were."),
    "export": ("export", "Write the run as other tools read it."),
    "eval": ("evaluate", "Score the clusters against labels, beside chance and k-means."),
    "report": ("report", "Draw a run as one page: clusters, how many, and how sure."),
    "map": ("map", "Put every image in a plane, so that what is alike lies together."),
    "serve": ("serve", "Show a run in a browser: clusters, pictures, search and a map."),
    "run": ("run", "Walk the whole path, from pictures to captions and search."),
    "demo": ("demo", "Walk the whole path on handwritten digits that come along."),
    "status": ("status", "List what the runs of a store hold, and what is half done."),
    "lineage": ("lineage", "Tell what an artifact was made from, back to the shards."),
    "verify": ("verify", "Read every byte of the store, and name each file that was damaged."),
    "gc": ("gc", "List, or remove, what no run refers to."),
    "doctor": ("doctor", "Tell versions, devices and faults of the installation."),
}
"""Each command's module and its line in the help, in the order in which they are used."""


class _Commands(TyperGroup):
    """Loads the module of a command when it is called: help and status need no other."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        group: Any = typer.main.get_command(module.app)
        return group.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CppPipeError as error:
            typer.echo(f"cpp-pipe: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.echo(
                "cpp-pipe: stopped; what was finished is kept, the same command goes on from there",
                err=True,
            )
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def cpp_pipe(
    version: bool = typer.Option(False, "--version", is_eager=True, help="Print the version."),
) -> None:
    """Make sense of a large pile of images.

    Embeds them once, refines the embeddings, clusters all of them, says how many clusters there
    are, names each in words, and searches them.

    \b
      cpp-pipe run --images photos/

    \b
      cpp-pipe embed --shards 'laion/{000..999}.tar'
      cpp-pipe train
      cpp-pipe search --query img.jpg

    A command makes what is missing between what the store holds and what it needs. `cpp-pipe demo`
    shows it all in a minute, on digits that come along.
    """
    if version:
        import importlib.metadata

        typer.echo(f"cpp-pipe {importlib.metadata.version('cpp-pipe')}")
        raise typer.Exit


def subcommands() -> typer.Typer:
    """An application that holds some of the commands, to be found by `COMMANDS`."""
    made = typer.Typer(rich_markup_mode=None, add_completion=False)
    made.callback()(lambda: None)
    return made


def main() -> None:
    """Runs the command line."""
    app()
