"""A comparison that can be shown, and saved in the format of a file's suffix."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...stages.contract import Runtime
from ...store import ConfigError, Store
from ...store.paths import StorePath, expanded
from ..curation.files import whole_file
from ..making.progress import open_progress
from ..view.opened_run import OpenedRun
from ..wording import counted
from .comparison import Comparison
from .markup_tables import to_latex, to_markdown
from .page import scores_table, write_page
from .run_comparison import compare_runs, require_distinct
from .run_rows import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa


class ComparedRuns:
    """A comparison of runs; Jupyter shows a table of scores, and `print` all tables."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        """The groups, their measures, and how far they agree."""

    def to_markdown(self) -> str:
        """Tables of scores, of settings that differ and of agreement."""
        return to_markdown(self.comparison)

    def to_latex(self) -> str:
        """Tables of scores and of agreement for the package booktabs."""
        return to_latex(self.comparison)

    def to_html(self) -> str:
        """A page with tables and plots, which needs no network."""
        return write_page(self.comparison)

    def to_arrow(self) -> "pa.Table":
        """A row for each run and each fit of a rival."""
        return to_arrow(self.comparison)

    def to_pandas(self) -> Any:
        """`to_arrow` as a DataFrame of pandas, which must be installed."""
        from ..exports.image_table import to_pandas
        from ..packages import require_package

        return to_pandas(self.to_arrow(), require_package("pandas", "DataFrame"))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return self.comparison.to_json()

    def save(self, path: str | Path) -> None:
        """Writes a file whose suffix says how: .csv, .md, .tex, .html, .json or .parquet."""
        path = expanded(path)
        if path.suffix.lower() not in WRITERS:
            raise ConfigError(f"the file must end in {', '.join(WRITERS)}, got {path}")
        with whole_file(path) as temporary:
            WRITERS[path.suffix.lower()](self, temporary)

    def __repr__(self) -> str:
        groups = self.comparison.groups
        runs = sum(len(group.partitions) for group in groups if not group.is_rival)
        rivals = sum(group.is_rival for group in groups)
        beside = f", {counted(rivals, 'rival')}" if rivals else ""
        images = counted(self.comparison.images, "image")
        return f"<{counted(runs, 'run')}{beside} compared over {images}>"

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        return scores_table(self.comparison)


def compare(
    *runs: "str | OpenedRun",
    store: "Store | str | StorePath" = "artifacts",
    rivals: bool = False,
    k: int | None = None,
    label: str | None = None,
    labels: str | Path | None = None,
    device: str = "auto",
    progress: str = "auto",
) -> ComparedRuns:
    """Compares runs: scores, agreement, seconds and settings that differ.

    Runs are names, or opened runs of one store. Those that differ only in their seeds share a line.
    `rivals` adds k-means, Ward, spectral clustering, HDBSCAN and, if installed, UMAP with HDBSCAN,
    and EVoC, of the same embeddings. The first three make `k` clusters; by default as many as there
    are classes or, without labels, as the first run has. `label` and `labels` say where labels are,
    as for `Run.evaluate`. Clusters that a run lacks are made.
    """
    if not runs:
        raise ConfigError("name at least one run")
    odd = [run for run in runs if not isinstance(run, str | OpenedRun)]
    if odd:
        raise ConfigError(
            f"a run is its name or an opened run, got {reprlib.repr(odd[0])}: name runs one by "
            "one, as in compare('a', 'b')"
        )
    opened = [run for run in runs if isinstance(run, OpenedRun)]
    stores = {str(run.store.root): run.store for run in opened}
    if len(stores) > 1:
        raise ConfigError(f"the runs are of several stores: {', '.join(stores)}")
    names = [run if isinstance(run, str) else run.record.name for run in runs]
    require_distinct(names)
    opened_store = store if isinstance(store, Store) else Store(store)
    display = open_progress(progress)
    try:
        comparison = compare_runs(
            opened[0].store if opened else opened_store,
            names,
            Runtime(device=device, progress=display),
            display.report,
            label=label,
            labels=None if labels is None else expanded(labels),
            rivals=rivals,
            k=k,
        )
    finally:
        display.end()
    return ComparedRuns(comparison)


def _write_text(text: Callable[[ComparedRuns], str]) -> Callable[[ComparedRuns, Path], None]:
    def write(compared: ComparedRuns, path: Path) -> None:
        path.write_text(text(compared), encoding="utf-8", errors="replace", newline="\n")

    return write


def _write_csv(compared: ComparedRuns, path: Path) -> None:
    import pyarrow.csv as csv

    csv.write_csv(compared.to_arrow(), path)


def _write_parquet(compared: ComparedRuns, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(compared.to_arrow(), path)


def _to_json_text(compared: ComparedRuns) -> str:
    import json

    return json.dumps(compared.to_json(), indent=1) + "\n"


WRITERS: Mapping[str, Callable[[ComparedRuns, Path], None]] = {
    ".csv": _write_csv,
    ".md": _write_text(ComparedRuns.to_markdown),
    ".tex": _write_text(ComparedRuns.to_latex),
    ".html": _write_text(ComparedRuns.to_html),
    ".json": _write_text(_to_json_text),
    ".parquet": _write_parquet,
}
"""The functions that write a comparison, by the suffix of the file."""

SUFFIXES: Sequence[str] = tuple(WRITERS)
