"""The command that fits the refinement of embeddings: train."""

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
        typer.Option("--epochs", min=0, help="Number of epochs; 0 trains nothing."),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="Learning rate, but for the cluster head: train.lr_cluster."),
    ] = None,
    eta: Annotated[
        float | None,
        typer.Option(
            "--eta", help="Temperature of cluster memberships; lower makes harder clusters."
        ),
    ] = None,
    features: Annotated[
        int | None,
        typer.Option("--features", help="Number of dimensions of the refined embeddings."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the random draws.")] = None,
    guide: Annotated[
        list[str] | None,
        typer.Option(
            "--guide", help="Pull clusters towards the words of this vocabulary; '' for none."
        ),
    ] = None,
    guide_share: Annotated[
        float | None,
        typer.Option(
            "--guide-share",
            help="Share of the similarity that comes from the guide, above 0 and below 1.",
        ),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside",
            metavar="RUN",
            help="Also use a run of the same images by another model; '' for none.",
        ),
    ] = None,
) -> None:
    """Fit a transform that refines the embeddings.

    The transform is two small networks on top of the embeddings, the heads. By default they whiten
    the embeddings by their near neighbours, in closed form, which takes seconds. With --epochs they
    are then trained on the rate-reduction objective, until the clusters get no more stable. Trained
    heads are kept only if their clusters are clearly more stable than at the start. No label is
    used.

    A guide is a vocabulary, as for captions: images that its words tell apart move apart. With a
    list of colours, places or moods, clusters follow these. --beside also uses the embeddings of
    another run, whose model embedded the same images. Both are off by default.

    A killed training continues from its last checkpoint. --set train.KEY=VALUE changes any setting
    of the table [train]; --config reference takes the paper's settings.

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
