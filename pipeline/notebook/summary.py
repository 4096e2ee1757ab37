"""A run in a few numbers, as Jupyter shows it."""

from ..report.markup import Child, Html, tag
from ..view.facts import count_samples, find_readable, name_model
from ..view.opened_run import OpenedRun
from ..wording import counted


def summarise(run: OpenedRun) -> list[tuple[str, str]]:
    """Names and values of what a run holds, a line each."""
    lines = [("run", f"{run.record.name} in {run.store_name}")]
    embeddings = find_readable(run, "embeddings")
    if embeddings is None:
        return [*lines, ("images", "none yet: run.embed(images=...) embeds them")]
    counts = count_samples(embeddings)
    skipped = sum(counts.skipped.values())
    lines += [
        ("images", f"{counts.embedded:,} embedded, {skipped:,} skipped"),
        ("model", name_model(embeddings)),
    ]
    assignments = find_readable(run, "assignments")
    if assignments is not None:
        lines.append(("clusters", f"{int(assignments.facts['k']):,}{_age(run, 'assignments')}"))
    captions = find_readable(run, "captions")
    if captions is not None:
        lines.append(("captions", f"by {captions.facts['rule']}{_age(run, 'captions')}"))
    shown = ("embeddings", "assignments", "captions")
    others = [slot for slot in run.slots.names if slot not in shown]
    return [*lines, ("also holds", ", ".join(others))] if others else lines


def _age(run: OpenedRun, slot: str) -> str:
    state = run.slots.state(slot)
    return "" if state == "current" else f" ({state})"


def summary_html(run: OpenedRun) -> str:
    """`summarise` as an HTML table."""
    rows: list[Html] = [
        tag("tr", tag("th", name, scope="row", style="text-align:left"), _cell(value))
        for name, value in summarise(run)
    ]
    return tag("table", tag("tbody", *rows))


def _cell(value: Child) -> Html:
    return tag("td", value, style="text-align:left")


def summary_text(run: OpenedRun) -> str:
    """The run in one line, for a prompt."""
    embeddings = find_readable(run, "embeddings")
    rows = 0 if embeddings is None else embeddings.rows
    return f"<run {run.record.name} of {counted(rows, 'image')} in {run.store_name}>"
