"""The command that fits the transform of the embeddings: train."""

from typing import Annotated

import typer

from ..making.named_inputs import vocabulary_setting
from .app import subcommands
from .options import CLUSTER, MAKING, Common, open_plan, takes
from .output import print_line, print_next

app = subcommands()


@app.command()
@takes(*CLUSTER, *MAKING)
def train(
    common: Common,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=0, help="Epochs of training; 0 trains nothing."),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate of the training.")] = None,
    eta: Annotated[
        float | None,
        typer.Option("--eta", help="How soft clusters are in training; lower is harder."),
    ] = None,
    features: Annotated[
        int | None, typer.Option("--features", help="Dimensions of the refined embeddings.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all random draws.")] = None,
    guide: Annotated[
        list[str] | None,
        typer.Option(
            "--guide", help="A vocabulary that pulls clusters towards its words; '' for none."
        ),
    ] = None,
    guide_share: Annotated[
        float | None,
        typer.Option("--guide-share", help="Share of the similarity that the guide decides."),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside",
            metavar="RUN",
            help="A run of the same images by another model; '' for none.",
        ),
    ] = None,
) -> None:
    """Fit a transform that refines the embeddings.

    Two small maps on top of the embeddings, the heads, refine them. By default they whiten the
    embeddings by their near neighbours, in closed form, which takes seconds. With --epochs they are
    trained from there on the rate-reduction objective until the clusters get no more stable, and
    the trained heads are kept only if the clusters are clearly more stable than at the start. No
    label is used.

    A guide is a vocabulary, as for captions: images that its words tell apart move apart, so that a
    list of colours, places or moods asks for clusters by these. --beside also uses the embeddings
    of the same images by the model of another run. Both are off by default.

    A killed training continues from its last checkpoint. All settings are in the table [train]:
    --set train.KEY=VALUE changes any of them, --config reference takes the paper's.

    \b
      cpp-pipe train
      cpp-pipe train --epochs 12 --set train.hidden=2048
      cpp-pipe train --guide moods.txt
      cpp-pipe train --beside siglip
      torchrun --nproc-per-node 2 -m cpp_pipe train
    """
    flags = {"epochs": epochs, "lr": lr, "eta": eta, "features": features, "seed": seed}
    views = {
        "guide": None
        if guide is None
        else vocabulary_setting([name for name in guide if name]) or (),
        "guide_share": guide_share,
        "beside": None if beside is None else [name for name in beside if name],
    }
    heads = open_plan(common, train=flags, views=views).make("heads")
    if heads.table(heads.only_part, "history").num_rows:
        print_line(f"history: {heads.path(heads.only_part, 'picture')}")
    print_next(common, ["select-k"], ["search", "--query", "img.jpg"], result=heads.folder)
