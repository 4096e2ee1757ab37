"""The command that scores clusters against labels: eval."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import ConfigError
from ..making.plan import Plan
from ..wording import counted, in_one_line
from .app import subcommands
from .options import LONG, READING, Common, LabelFlag, LabelsFlag, open_plan, takes
from .output import narrowing, print_json, print_next, print_text

if TYPE_CHECKING:
    from ..view.evaluation import Evaluation
    from ..view.labels import Scope

_WORST = 5
"""Clusters and mistakes to print, at most."""

app = subcommands()


@app.command(name="eval")
@takes("as_json", "edits", *LONG, "config", *READING)
def evaluate(
    common: Common,
    label: LabelFlag = None,
    labels: LabelsFlag = None,
    part: Annotated[
        str,
        typer.Option(
            "--part", help="Score all rows, only fitted ones (see above), or held-out ones."
        ),
    ] = "all",
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="FIELD=VALUE",
            help="Score only rows whose JSON field has this value.",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--k", min=1, help="Score the clusters for this k, if `assign` made several."),
    ] = None,
) -> None:
    """Score the clusters against labels, next to chance and k-means.

    Labels are the .cls files of the images; --label takes a JSON field or the images' folders
    instead, --labels a table. `held-out` rows came with shards that were added after `train` and
    `spectrum`; `fitted` rows were there before. k-means is fitted on all rows, or, with --part or
    --where, on those that the clusters were fitted on; above 100,000 rows by mini-batches.

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
    plan = open_plan(common, data={"label": label})
    if k is not None and common.edits is not None:
        raise ConfigError(
            "--edits and --k exclude each other: decisions are about the first clusters"
        )
    evaluation = score(plan, labels, scope, k, common.edits)
    if common.as_json:
        print_json(evaluation.to_json())
    else:
        print_text(evaluation_report(evaluation))
    flags = [] if label is None else ["--label", label]
    flags += [] if labels is None else ["--labels", str(labels)]
    print_next(common, ["report", *flags, *narrowing(common)])


def score(
    plan: Plan,
    labels: Path | None = None,
    scope: "Scope | None" = None,
    k: int | None = None,
    edits: str | None = None,
) -> "Evaluation":
    """Scores the clusters of a run, which are made where they are missing."""
    from ..view.applied_edits import open_edited
    from ..view.evaluation import evaluate as evaluate_run
    from ..view.labels import Scope, fitted_parts, require_labels
    from ..view.opened_run import OpenedRun

    scope, label = scope or Scope(), plan.settings.data.label
    embeddings = plan.make("embeddings", asked_by="eval")
    require_labels(embeddings, label, labels)
    if scope.where is not None:
        Scope(where=scope.where).rows(embeddings, None)  # before the work, too
    assignments = plan.make("assignments", asked_by="eval")
    fitted = None if scope.is_everything else fitted_parts(plan.store, assignments)
    edited = None if edits is None else open_edited(OpenedRun.open(plan.store, plan.run), edits)
    return evaluate_run(
        embeddings, assignments, label, labels, k=k, scope=scope, fitted=fitted, edited=edited
    )


def evaluation_report(evaluation: "Evaluation") -> str:
    """The scores as a table, and where the clusters fail."""
    accuracies = " ".join(f"{decile.accuracy:.2f}" for decile in evaluation.deciles)
    lines = [
        evaluation_table(evaluation),
        f"accuracy by confidence, lowest tenth first: {accuracies}",
    ]
    mixed = [cluster for cluster in evaluation.per_cluster if cluster.purity < 1]
    mixed.sort(key=lambda cluster: cluster.size * (cluster.purity - 1))
    lines += ["clusters with the most rows outside their majority class:"] if mixed else []
    for cluster in mixed[:_WORST]:
        size = counted(cluster.size, "row")
        lines.append(
            f"  {cluster.cluster}: {size}, purity {cluster.purity:.2f}, mostly "
            f"{in_one_line(cluster.majority)}"
        )
    lines += ["largest mistakes:"] if evaluation.mistakes else []
    for mistake in evaluation.mistakes[:_WORST]:
        label = in_one_line(mistake.label)
        matched = "left over"
        if mistake.matched is not None:
            matched = f"matched to {in_one_line(mistake.matched)}"
        lines.append(
            f"  {label} -> cluster {mistake.cluster} ({matched}), "
            f"{counted(mistake.rows, 'row')}, {mistake.share:.0%} of {label}"
        )
    return "\n".join([*lines, "--json prints all clusters and mistakes"])


def evaluation_table(evaluation: "Evaluation") -> str:
    """The scores as a table of three rows."""
    rows = [
        ("clusters", evaluation.clusters),
        (f"{evaluation.kmeans_method} on the embeddings", evaluation.kmeans),
        ("chance (random, same sizes)", evaluation.chance),
    ]
    head = f"n {evaluation.n:,}   k {evaluation.k}   classes {evaluation.classes}"
    head += "" if evaluation.part == "all" else f"   part {evaluation.part}"
    head += "" if evaluation.where is None else f"   where {evaluation.where}"
    if evaluation.unlabelled:
        head += f"   unlabelled, left out {evaluation.unlabelled:,}"
    lines = [head, f"{'':<36}{'ACC':>7}{'NMI':>7}{'ARI':>7}"]
    lines += [
        f"{name:<36}{scores.acc:>7.3f}{scores.nmi:>7.3f}{scores.ari:>7.3f}" for name, scores in rows
    ]
    return "\n".join(lines)
