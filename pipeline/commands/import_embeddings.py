"""The command that imports embeddings: import."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .app import subcommands
from .embed import print_counts
from .options import LONG, READING, Common, embed_table, open_plan, takes
from .output import print_next

app = subcommands()


@app.command(name="import")
@takes("model_config", "max_skipped", "workers", *LONG, "config", "sets", *READING, begins=True)
def import_(
    common: Common,
    paths: Annotated[
        list[Path], typer.Argument(help="Embeddings: .npz, .npy, or a clip-retrieval folder.")
    ],
    model: Annotated[str, typer.Option("--model", help="Model that made the embeddings.")],
    pretrained: Annotated[
        str, typer.Option("--pretrained", help="Weights of the model.")
    ] = "openai",
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Keys of the rows, as .npy or .txt.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Labels of the rows, as .npy or .txt.")
    ] = None,
) -> None:
    """Import embeddings that were made elsewhere.

    Files of embeddings do not say which model made them, and a query must be embedded with the
    same one: name it. An .npz holds the vectors as x, their keys as key, and labels as y. Where
    labels are numbers, the array class_name names the classes, for each row or for each number.

    \b
      cpp-pipe import clip.npz --model ViT-B-32 --pretrained openai
      cpp-pipe import img_emb.npy --keys keys.txt --model ViT-L-14
      cpp-pipe import my-clip-retrieval-folder --model ViT-L-14
    """
    from ...stages.import_embeddings import Import
    from ...stages.sources.embeddings.files import find_embeddings
    from ...stages.sources.shards import by_part

    sources = [part for path in paths for part in find_embeddings(path, keys=keys, labels=labels)]
    plan = open_plan(
        common,
        begins=True,
        embed=embed_table(replace(common, model=model, pretrained=pretrained)),
        data={"shards": (), "images": (), "tables": (), "builtin": ""},
    )
    embeddings = plan.import_embeddings(
        Import(model=plan.settings.embed.model, pretrained=Path(pretrained).name),
        by_part(sources)[0],
    )
    print_counts(common, embeddings)
    print_next(common, ["train"], result=embeddings.folder)
