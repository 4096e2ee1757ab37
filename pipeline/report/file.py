"""Writes the report of a run into a file, or into its store."""

from pathlib import Path

from ..curation.files import whole_file
from ..making.plan import Plan
from ..view.labels import require_labels
from ..view.opened_run import OpenedRun
from .page import write_page
from .reader import read_contents


def write_report(
    plan: Plan,
    out: Path | None,
    *,
    labels: Path | None,
    must_score: bool,
    has_images: bool,
    edits: str | None,
) -> str:
    """Makes what the report needs and writes it; returns its path, STORE/reports/RUN.html for None.

    MissingError if no row has a label and `must_score`, or if no image can be read although the
    report `has_images`.
    """
    label = plan.settings.data.label
    if must_score:
        require_labels(plan.make("embeddings", asked_by="report"), label, labels)
    plan.make("assignments", asked_by="report")
    plan.say("report: collecting counts and samples")
    run = OpenedRun.of(plan)
    contents = read_contents(
        run,
        label,
        labels,
        must_score=must_score,
        progress=plan.runtime.progress if has_images else None,
        edits=edits,
    )
    # What UTF-8 cannot hold, such as a lone surrogate of a label in JSON, becomes a question mark.
    page = write_page(contents).encode(errors="replace")
    if out is None:
        return str(plan.store.write(f"reports/{plan.run}.html", page))
    with whole_file(out) as temporary:
        temporary.write_bytes(page)
    return str(out)
