"""The demonstration: demo."""

import json
import time
from dataclasses import replace

from ..making.plan import Plan
from .app import subcommands
from .evaluate import evaluation_table, score
from .options import LONG, Common, open_plan, takes
from .output import command_line, print_line, print_next, print_text
from .run import make_all
from .search import draw_hits, open_run, print_hits

app = subcommands()


@app.command()
@takes("device", *LONG, "store")
def demo(common: Common) -> None:
    """Run every step on handwritten digits that come with the package.

    The digits are real scans. The small model that embeds them was trained on other digits.

    \b
      cpp-pipe demo
    """
    began = time.monotonic()
    common = replace(common, run="digits", config="digits")
    plan = open_plan(common, begins=True)
    make_all(plan, common)
    evaluation = score(plan)
    print_text("\n" + evaluation_table(evaluation))
    _show_queries(plan, common)
    seconds = time.monotonic() - began
    print_text("")
    print_next(
        common,
        ["clusters"],
        ["report"],
        "cpp-pipe run --images FOLDER   # the same with your own images",
        result=f"run {plan.run} in the store {plan.store.root}",
    )
    figures = {
        "n": evaluation.n,
        "k": evaluation.k,
        "acc": round(evaluation.clusters.acc, 4),
        "nmi": round(evaluation.clusters.nmi, 4),
        "ari": round(evaluation.clusters.ari, 4),
        "chance_acc": round(evaluation.chance.acc, 4),
        "kmeans_acc": round(evaluation.kmeans.acc, 4),
        "seconds": round(seconds, 1),
    }
    # The last line, for programs.
    print_line("\n" + json.dumps(figures, separators=(",", ":")))


def _show_queries(plan: Plan, common: Common) -> None:
    """Searches by an image and by words, and draws the hits."""
    run = open_run(plan)
    folder = plan.store.local_folder / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    query = folder / "query.png"
    run.image(0).save(query)
    for name, image, words in (("picture", query, None), ("text", None, "the number seven")):
        hits = run.search(image=image, text=words, n=5)
        flags = ("--query", str(image)) if image else ("--text", str(words))
        print_line(f"\n{command_line(common, 'search', *flags)}")
        print_hits(hits)
        draw_hits(run, image, words or "", hits, folder / f"{name}-sheet.png")
