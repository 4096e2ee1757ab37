"""The command that chooses images: sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ...stages.edits.edit import require_tag
from ...store import ConfigError
from ..destinations import PARQUET, new_folder, require_file, write_table
from ..run import Run
from ..view.keys import names_of_rows, with_parts
from ..wording import counted
from .app import subcommands
from .options import LONG, READING, Common, open_plan, say, takes
from .output import (
    Column,
    check_inputs,
    narrowing,
    print_json,
    print_next,
    print_table,
    print_text,
)

if TYPE_CHECKING:
    from ..curation.sampling import Pool

app = subcommands()


@app.command()
@takes("as_json", "edits", "where", "device", *LONG, *READING)
def sample(
    common: Common,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of images to choose.")] = 1000,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", help="How to choose: one strategy, or several such as diverse=3,novel=1."
        ),
    ] = "diverse",
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Balance this column: label, caption, a field; clusters if absent."
        ),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option("--beside", help="Take the images in this file of keys as chosen already."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of the random draws.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write the keys as .txt, or a table as .parquet."
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option("--tag", help="Give the images this tag, as a decision; see `edit`."),
    ] = None,
) -> None:
    """Choose representative images, or images to review.

    \b
      diverse    far from each other: every image is near a chosen one
      typical    the most confident of each cluster, in proportion to its size
      balanced   equally many of each cluster, or of each value of --by
      doubtful   the least confident
      novel      the least like the images that clusters were fitted on

    The same seed chooses the same images. The sample is compared with equally many random images.

    \b
      cpp-pipe sample -n 5000 --out keys.txt
      cpp-pipe sample -n 500 --strategy balanced --by label --tag first-look
      cpp-pipe sample -n 1000 --where 'sharpness > 2' --out keys.txt
      cpp-pipe sample -n 300 --strategy doubtful,novel --beside keys.txt --out more.txt
      cpp-pipe curate --keys keys.txt --out shards/
    """
    from ..curation.pools import open_pool, read_strategy
    from ..curation.sampling import choose_sample, measure_coverage, random_rows

    shares = read_strategy(strategy)
    if out is not None:
        require_file(out, (".txt", *PARQUET))
    if tag is not None:
        require_tag(tag)
    plan = open_plan(common)
    check_inputs(plan, out, read=[] if beside is None else [beside])
    pool = open_pool(
        plan, by=by, beside=beside, seed=seed, edits=common.edits, where=common.where or ()
    )
    rows = choose_sample(pool, n, shares)
    if len(rows) < n:
        say(f"only {counted(len(rows), 'image')} can be chosen, not {n:,}")
    run = Run.open(plan.store, plan.run)
    names = names_of_rows(run.artifact("embeddings"), rows)
    if out is not None:
        _write(out, names, run, rows, pool)
    if tag is not None:
        run.edits.tag(tag, images=rows)
        say(f"tagged {counted(len(rows), 'image')} {tag!r}")
    coverages = {
        "this sample": measure_coverage(pool, rows),
        "random": measure_coverage(pool, random_rows(pool, len(rows))),
    }
    if common.as_json:
        values = {name: vars(coverage) for name, coverage in coverages.items()}
        print_json({"keys": names, "coverage": values})
    else:
        _print_coverage(pool, rows, coverages, by)
    if out is not None:
        print_next(
            common, ["curate", "--keys", str(out), "--out", new_folder("shards")], result=out
        )
    elif tag is not None:
        print_next(
            common, ["curate", "--edits", "open", "--tag", tag, "--out", new_folder("shards")]
        )
    else:
        words = ["sample", "-n", str(n), "--strategy", strategy]
        words += [] if by is None else ["--by", by]
        words += [] if beside is None else ["--beside", str(beside)]
        words += ["--seed", str(seed)] if seed else []
        print_next(common, [*words, *narrowing(common), "--out", "keys.txt"])


def _write(path: Path, names: list[str], run: Run, rows: np.ndarray, pool: "Pool") -> None:
    from ..curation.files import whole_file
    from ..curation.selection import is_line
    from ..view.columns import take_rows

    if path.suffix.lower() == ".txt":
        broken = next((name for name in names if not is_line(name)), None)
        if broken is not None:
            raise ConfigError(
                f"the key {broken!r} cannot be a line of text: write the keys as .parquet"
            )
        with whole_file(path) as temporary:
            text = "".join(f"{name}\n" for name in names)
            temporary.write_text(text, encoding="utf-8", newline="\n")
    else:
        import pyarrow as pa

        embeddings = run.artifact("embeddings")
        sources = take_rows(embeddings, rows, ("key", "shard"))
        columns = {
            "row": rows,
            **{name: sources.column(name) for name in sources.column_names},
            "cluster": pool.cluster[rows],
            "confidence": pool.confidence[rows],
        }
        write_table(with_parts(embeddings, pa.table(columns)), path)
    say(f"wrote {path}")


def _print_coverage(pool: "Pool", rows: np.ndarray, both: dict[str, Any], by: str | None) -> None:
    clusters = len(np.unique(pool.cluster[pool.allowed]))
    columns = [
        Column("sample"),
        Column("images", is_right=True),
        Column("distance", is_right=True),
        Column(f"clusters, of {clusters}", is_right=True),
    ]
    if pool.groups is not None:
        columns.append(Column(f"values of {by}", is_right=True, is_cut=True))
    print_table(
        columns,
        [
            (
                name,
                f"{len(rows):,}",
                f"{coverage.distance:.4f}",
                str(coverage.clusters),
                *([] if pool.groups is None else [str(coverage.groups)]),
            )
            for name, coverage in both.items()
        ],
    )
    print_text(
        "distance: from an image to the nearest of the sample, by the cosine of their features, "
        "on average; the lower it is, the better the sample covers the run"
    )
