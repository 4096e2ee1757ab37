"""The command that builds indexes: index."""

from typing import Annotated

import typer

from ...stages.indexing.factory import Factory
from ...stages.indexing.recall_curve import curve_of, recall_at, width_for
from ...stages.indexing.vectors import SPACES
from ...store import Artifact, ConfigError
from ..config import IndexSettings
from ..making.index_stages import has_lists
from ..text_models import embeds_texts
from ..wording import counted
from .app import subcommands
from .options import MAKING, WORKERS, Common, end_if_left_to_others, open_plan, takes
from .output import print_line, print_next, print_text
from .search import RecallFlag

app = subcommands()


@app.command()
@takes(*WORKERS, *MAKING)
def index(
    common: Common,
    space: Annotated[
        str,
        typer.Option(
            "--space", help="What to index: features (refined), embeddings (raw), or both."
        ),
    ] = "both",
    factory: Annotated[
        str | None,
        typer.Option(
            "--factory", help="Kind of index: a FAISS factory string, such as IVF4096,SQ8, or auto."
        ),
    ] = None,
    target_recall: RecallFlag = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Fit inverted lists and codes to the current rows again."),
    ] = False,
) -> None:
    """Build FAISS indexes, which make search fast.

    Image queries use the index of the features, text queries that of the embeddings. With `auto`, a
    small set is searched exactly, a larger one with a graph, and a very large one with inverted
    lists, which several workers or Ray can build. When rows are added or removed later, only those
    rows are processed.

    \b
      cpp-pipe index
      cpp-pipe index --factory IVF4096,SQ8 --target-recall 0.98
      cpp-pipe index --workers 4      # also --worker 3/8, --engine ray
    """
    spaces = {"both": SPACES}.get(space, (space,))
    if not set(spaces) <= set(SPACES):
        raise ConfigError(f"--space must be features, embeddings or both, got {space!r}")
    plan = open_plan(common, index={"factory": factory, "target_recall": target_recall})
    with end_if_left_to_others():
        for name in spaces:
            if refit and has_lists(plan.settings.index, plan.make(name, asked_by="index")):
                plan.make(f"quantizer/{name}")
            artifact = plan.make(f"index/{name}")
            print_text(index_line(name, artifact, plan.settings.index))
            print_line(f"result: {artifact.folder}")
    takes_words = "embeddings" in spaces and embeds_texts(plan.settings.embed)
    query = ["--text", "a red car"] if takes_words else ["--query", "img.jpg"]
    print_next(common, ["search", *query])


def index_line(space: str, index: Artifact, settings: IndexSettings) -> str:
    """A line with the rows, the kind and the recall of an index."""
    target, facts = settings.target_recall, index.facts
    curve = curve_of(facts)
    width = width_for(curve, target)
    line = (
        f"{space}: {counted(facts['rows'], 'row')}, {facts['factory']}, "
        f"recall@10 {recall_at(curve, width):.3f}"
    )
    shape = Factory.parse(facts["factory"]).shape
    if shape == "lists":
        line += f" with {counted(width, 'list')} visited"
    elif shape == "graph":
        line += f" with {counted(width, 'candidate')}"
    if recall_at(curve, width) < target:
        line += f", which is the best it can do (target {target:g}): finer codes find more"
    return line
