"""The command that fits heads: train."""

from typing import Annotated

import typer

from .app import subcommands
from .caption import vocabulary_setting
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    ConfigFlag,
    DeviceFlag,
    RunFlag,
    SetFlag,
    StoreFlag,
    open_plan,
)

app = subcommands()


@app.command()
def train(
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=0, help="Train so long; 0 keeps the heads as they start."),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate of both heads.")] = None,
    eta: Annotated[float | None, typer.Option("--eta", help="Temperature of Π.")] = None,
    features: Annotated[int | None, typer.Option("--features", help="p, feature size.")] = None,
    seed: Annotated[int | None, typer.Option("--seed")] = None,
    guide: Annotated[
        list[str] | None,
        typer.Option("--guide", help="Words that pull clusters towards what they name; '' none."),
    ] = None,
    guide_share: Annotated[
        float | None,
        typer.Option("--guide-share", help="Of similarity, what the guide decides; 0.3."),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="RUN", help="A run by another model; '' none."),
    ] = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Fit heads to the embeddings: whitening by near neighbours, and training where asked.

    By default heads stay where they start, whitened by near neighbours, which takes seconds. With
    --epochs they are trained from there on the rate-reduction objective, until clusters get no more
    stable, and kept only where clusters are clearly more stable than at the start. No label enters.

    A guide is a vocabulary, as for captions: images that its words tell apart get apart, so that a
    file of colours, places or moods asks for clusters by these. --beside takes the embeddings of
    the same images by the model of another run, too. Both are off by default.

    A killed training goes on from its last checkpoint. All settings are in the table [train]:
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
    plan = open_plan(store, run, config, sets, device=device, train=flags, views=views)
    heads = plan.make("heads")
    if heads.table(heads.only_part, "history").num_rows:
        typer.echo(f"history: {heads.path(heads.only_part, 'picture')}")
