"""The command that imports embeddings: import."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import subcommands
from .embed import print_counts
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    ConfigFlag,
    ModelConfigFlag,
    RunFlag,
    SetFlag,
    SkippedFlag,
    StoreFlag,
    open_plan,
)

app = subcommands()


@app.command(name="import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help=".npz, .npy, or a clip-retrieval folder.")],
    model: Annotated[str, typer.Option("--model", help="The model that made them.")],
    pretrained: Annotated[str, typer.Option("--pretrained", help="Its weights.")] = "openai",
    model_config: ModelConfigFlag = None,
    keys: Annotated[Path | None, typer.Option("--keys", help=".npy or .txt of keys.")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help=".npy or .txt of labels.")] = None,
    max_skipped: SkippedFlag = 0.1,
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Take over embeddings that were made elsewhere.

    Files of embeddings do not say which model made them, and a query must be embedded with the
    same one: name it.

    \b
      cpp-pipe import clip.npz --model ViT-B-32 --pretrained openai
      cpp-pipe import img_emb.npy --keys keys.txt --model ViT-L-14
      cpp-pipe import my-clip-retrieval-folder --model ViT-L-14
    """
    from ...stages.import_embeddings import Import
    from ...stages.sources.embeddings.files import find_embeddings

    sources = [part for path in paths for part in find_embeddings(path, keys=keys, labels=labels)]
    plan = open_plan(
        store,
        run,
        config,
        sets,
        max_skipped=max_skipped,
        begins=True,
        embed=options.embed_table(model, pretrained, model_config),
        data={"shards": (), "images": (), "tables": (), "builtin": ""},
    )
    made = plan.take_over(
        Import(model=plan.settings.embed.model, pretrained=Path(pretrained).name),
        {part.part_name: part for part in sources},
    )
    print_counts(made)
