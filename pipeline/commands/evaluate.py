"""The command that scores clusters against labels: eval."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..making.plan import Plan
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    ConfigFlag,
    JsonFlag,
    RunFlag,
    StoreFlag,
    open_plan,
)

if TYPE_CHECKING:
    from ..view.evaluation import Evaluation
    from ..view.labels import Scope

_WORST = 5
"""Clusters and mistakes that are printed."""

app = subcommands()


@app.command(name="eval")
def evaluate(
    label: Annotated[
        str | None, typer.Option("--label", help="cls, or the name of a JSON field.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A .csv or .parquet of key and label.")
    ] = None,
    part: Annotated[
        str,
        typer.Option("--part", help="all, fitted (rows that were fitted on), or held-out."),
    ] = "all",
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="FIELD=VALUE", help="Rows with this JSON field alone."),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="One of several numbers of clusters.")
    ] = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Score the clusters against labels, beside chance and k-means.

    Held out are rows of shards that were added after `train` and `spectrum`. A part is scored
    beside k-means that was fitted on the same rows as the clusters were.

    \b
      cpp-pipe eval
      cpp-pipe eval --label category --json
      cpp-pipe eval --labels labels.csv
      cpp-pipe eval --part held-out
      cpp-pipe eval --where split=test
      cpp-pipe eval --k 20       # after assign has made columns for several k
    """
    from ..view.labels import Scope

    scope = Scope(part=part, where=where)
    plan = open_plan(store, run, config, data={"label": label})
    found = score(plan, labels, scope, k)
    typer.echo(json.dumps(found.to_json()) if as_json else evaluation_report(found))


def score(
    plan: Plan, labels: Path | None = None, scope: "Scope | None" = None, k: int | None = None
) -> "Evaluation":
    """Scores the clusters of a run, which are made where they are missing."""
    from ..view.evaluation import evaluate as evaluate_run
    from ..view.labels import Scope, fitted_parts

    assignments = plan.make("assignments", asked_by="eval")
    embeddings = plan.make("embeddings", asked_by="eval")
    scope = scope or Scope()
    fitted = None if scope.is_everything else fitted_parts(plan.store, assignments)
    label = plan.settings.data.label
    return evaluate_run(embeddings, assignments, label, labels, k=k, scope=scope, fitted=fitted)


def evaluation_report(found: "Evaluation") -> str:
    """The scores as a table, and where the clusters fail."""
    accuracies = " ".join(f"{one.accuracy:.2f}" for one in found.deciles)
    lines = [evaluation_table(found), f"accuracy by confidence, lowest tenth first: {accuracies}"]
    mixed = [one for one in found.per_cluster if one.purity < 1]
    mixed.sort(key=lambda one: one.size * (one.purity - 1))
    lines += ["clusters with the most rows outside their majority class:"] if mixed else []
    for one in mixed[:_WORST]:
        size = f"{one.size:,} rows"
        lines.append(f"  {one.cluster}: {size}, purity {one.purity:.2f}, mostly {one.majority}")
    lines += ["largest mistakes:"] if found.mistakes else []
    for one in found.mistakes[:_WORST]:
        matched = "left over" if one.matched is None else f"matched to {one.matched}"
        lines.append(
            f"  {one.label} -> cluster {one.cluster} ({matched}), {one.rows:,} rows, "
            f"{one.share:.0%} of {one.label}"
        )
    return "\n".join([*lines, "--json has all"])


def evaluation_table(found: "Evaluation") -> str:
    """The scores as a table of three rows."""
    rows = [
        ("clusters", found.clusters),
        ("k-means on the embeddings", found.kmeans),
        ("chance (same sizes, dealt blindly)", found.chance),
    ]
    head = f"n {found.n:,}   k {found.k}   classes {found.classes}"
    head += "" if found.part == "all" else f"   part {found.part}"
    head += "" if found.where is None else f"   where {found.where}"
    if found.unlabelled:
        head += f"   unlabelled, left out {found.unlabelled:,}"
    lines = [head, f"{'':<36}{'ACC':>7}{'NMI':>7}{'ARI':>7}"]
    lines += [f"{name:<36}{one.acc:>7.3f}{one.nmi:>7.3f}{one.ari:>7.3f}" for name, one in rows]
    return "\n".join(lines)
