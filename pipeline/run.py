"""A run in Python: its steps, its results, and search."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..store import ConfigError, RunRecord, Store
from ..store.paths import StorePath, expanded
from .arguments import at_least_one, several
from .curated_run import CuratedRun
from .destinations import PAGE, require_file
from .packages import require_package
from .view.answer import open_searcher, search_run
from .view.query import Question, describe_cuts, examples
from .view.scores import read_score
from .view.searcher import Hit, Searcher

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from PIL import Image

    from .comparison.result import ComparedRuns
    from .edits.editor import Editor
    from .notebook.clusters import Cluster, Clusters
    from .notebook.figures import Curve, RunFigure
    from .notebook.hits import Hits
log = logging.getLogger(__name__)

AnyImage: TypeAlias = "str | Path | bytes | Image.Image"
"""A path, a file:// URL, `-` for standard input, encoded bytes, or an image that Pillow opened."""


_ROWS_PER_FILE = 100_000
"""Rows of each Parquet file in `to_huggingface`."""


class Run(CuratedRun):
    """A named run of a store: methods make its steps, read its results and search it.

    `Run.create` begins a run, `Run.open` opens an existing one. Jupyter shows its counts.
    """

    def __init__(self, store: Store, record: RunRecord, device: str = "auto") -> None:
        super().__init__(store, record, device)
        self._searchers: dict[str, Searcher] = {}

    def search(
        self,
        *,
        image: "AnyImage | Sequence[AnyImage] | None" = None,
        text: str | Sequence[str] | None = None,
        key: str | Sequence[str] | None = None,
        vector: "Sequence[float] | np.ndarray | None" = None,
        unlike: Mapping[str, Any] | None = None,
        space: str | None = None,
        n: int = 10,
        cluster: int | Sequence[int] | None = None,
        min_confidence: float | None = None,
        target_recall: float | None = None,
        edits: str | None = None,
        where: str | Sequence[str] | None = None,
    ) -> "Hits":
        """The n rows that are nearest to the examples, best first.

        Each of image, text, key and vector is one example, or a list of several. `unlike` has
        examples, by the same names, that hits must not be like: `unlike={"text": "a drawing"}`.
        `space` is `features` (refined: z and c side by side; the default without texts) or
        `embeddings` (raw; the default with texts). A vector has the size of its space; if z and c
        are the same, z alone is enough. `cluster` and `min_confidence` limit the rows that may be
        found. `target_recall` is the share of the true neighbours to find; higher takes longer.
        `edits` applies decisions (sealed under a name, or `open`): clusters and captions are the
        decided ones, and excluded rows are not found. `where` is a condition on scores, columns or
        fields, such as `"sharpness > 2"`, or a list of several. An index stays open for later
        searches. QueryError for a query that cannot be answered, ConfigError for a value that is
        not allowed, MissingError for features, scores or decisions that are not there.
        """
        clusters = at_least_one(cluster, "cluster")
        question = Question(
            like=examples({"image": image, "text": text, "key": key, "vector": vector}),
            unlike=examples({} if unlike is None else unlike),
            space=space,
            n=n,
            clusters=clusters,
            min_confidence=min_confidence,
            target_recall=target_recall,
            edits=edits,
            conditions=several(where),
        )
        from .notebook.hits import Hits

        hits = Hits(search_run(self, question, self.searcher(question.where)))
        for line in describe_cuts(self.encoder, question) if question.has_text else ():
            log.warning("%s", line)
        return hits

    def clusters(self) -> "Clusters":
        """The clusters that have images, largest first; MissingError before `assign`."""
        from .notebook.clusters import read_clusters

        return read_clusters(self)

    def cluster(self, number: int) -> "Cluster":
        """The cluster of a number: its size, captions, rows, keys and images.

        QueryError if no image is in a cluster of this number.
        """
        from .notebook.clusters import read_cluster

        return read_cluster(self, number)

    def select_k(self, **settings: Any) -> "Curve":
        """Chooses the number of clusters: returns the curve, whose `.k` is this number.

        Takes any key of the table [select_k]: `grid`, `resamples`, `rule` (auto, code or bic),
        `seed`.
        """
        self._made(self._plan(select_k=settings), "k_curve")
        return self.curve

    @property
    def curve(self) -> "Curve":
        """The curve of coding lengths by k; MissingError before `select_k`."""
        from .notebook.figures import Curve
        from .view.curve import read_curve
        from .view.verdict import read_verdict

        curve = self.require_current("k_curve")
        assignments, read = self.current("assignments"), read_curve(curve)
        used = read.chosen.k if assignments is None else int(assignments.facts["k"])
        return Curve(read, read_verdict(curve), used)

    def figure(self, name: str) -> "RunFigure":
        """A figure for print: cosines, singular-values, k-curve, clusters or neighbours.

        `.save("cosines.pdf")` writes it. MissingError if the run lacks what it shows.
        """
        from .notebook.figures import RunFigure
        from .report.print_figures import draw_figure, require_figures

        require_figures([name])
        self._make_needed("assignments", "figures")
        with self._showing_progress():
            return RunFigure(draw_figure(self, name, self._shown))

    def sweep(
        self,
        settings: "Mapping[str, Any] | None" = None,
        *,
        seeds: int | None = None,
        k: "int | str | Sequence[int | str]" = (),
        rivals: bool = False,
        label: str | None = None,
        labels: str | Path | None = None,
    ) -> "ComparedRuns":
        """Makes and compares a run for each combination of settings, seeds and numbers of clusters.

        `settings` are values by TABLE.KEY: `{"spectrum.clusterings": [12, 24]}`; `seeds` is their
        number, from 0; `k` is a number of clusters, "auto", or a list. `rivals`, `label` and
        `labels` are those of `compare`. The runs have the embeddings of this run, are named after
        it and their values, and share equal steps.
        """
        from .comparison.result import compare
        from .comparison.sweep import check_sweep, make_sweep, plan_sweep

        plan, name = self._plan(), self.record.name
        runs = plan_sweep(name, plan.settings, settings or {}, seeds, k)
        table = None if labels is None else expanded(labels)
        check_sweep(self.store, name, runs, label=label, labels=table, rivals=rivals)
        with self._showing_progress():
            names = make_sweep(self.store, name, runs, plan.runtime, plan.say)
        return compare(
            *names,
            store=self.store,
            rivals=rivals,
            label=label,
            labels=labels,
            device=self.device,
            progress=self.progress,
        )

    def to_html(
        self,
        path: str | Path | None = None,
        *,
        label: str | None = None,
        labels: str | Path | None = None,
        images: bool = True,
        edits: str | None = None,
    ) -> str:
        """Writes the run as one HTML page, and returns its path, by default in the store.

        `label` and `labels` are those of `evaluate`; `images=False` leaves images out; `edits`
        applies decisions (`open`, or sealed under a name). MissingError if no image can be read.
        """
        from .report.file import write_report

        out = None if path is None else expanded(path)
        if out is not None:
            require_file(out, PAGE, flag="path")
        plan = self._plan(data={"label": label})
        with self._showing_progress():
            written = write_report(
                plan,
                out,
                labels=None if labels is None else expanded(labels),
                must_score=label is not None or labels is not None,
                has_images=images,
                edits=edits,
            )
        self._reload()
        return written

    def to_numpy(self, slot: str = "embeddings") -> "np.ndarray":
        """Embeddings (n, d), or features z (n, p), of all images: float16, in row order.

        `slot` is `embeddings` or `features`. If features have one part, the array is the mapped
        file, not a copy. MissingError if they are not made yet, or out of date.
        """
        from .view.arrays import read_array

        return read_array(self.require_current(slot))

    def to_arrow(self, *, vectors: bool = False, edits: str | None = None) -> "pa.Table":
        """A row for each image: key, shard, label, cluster, confidence, caption and so on.

        `caption` and `label` came with the image; `cluster_caption` names its cluster. `vectors`
        adds the embeddings and features. `edits` adds the columns of decisions (`open`, or sealed
        under a name); excluded images stay, marked in `excluded`.
        """
        import pyarrow as pa

        from .exports.image_table import EMBEDDING, FEATURE, ImageTable

        names = (EMBEDDING, FEATURE) if vectors else ()
        return pa.concat_tables(ImageTable.of(self, edits).tables(names))

    def to_pandas(self, *, vectors: bool = False, edits: str | None = None) -> Any:
        """The table of `to_arrow` as a DataFrame of pandas, which must be installed.

        Columns of whole numbers stay so even if values are missing: they are `Int64` or `Int32`.
        """
        from .exports.image_table import to_pandas

        pandas = require_package("pandas", "DataFrame")
        return to_pandas(self.to_arrow(vectors=vectors, edits=edits), pandas)

    def to_huggingface(self, folder: str | Path, *, edits: str | None = None) -> Any:
        """The images as a `datasets.Dataset`, whose labels are the clusters.

        Writes Parquet files with the images, byte for byte, and a card into a new `folder`.
        Columns: `image`, `label`, `confidence`, `tags`, `caption`, `given_label` (the label that
        came with the image), `key` and `shard`.
        """
        from .exports.huggingface import export_huggingface
        from .exports.image_table import ImageTable
        from .exports.labelled_images import LabelledImages

        datasets = require_package("datasets", "load_dataset")
        folder = expanded(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists already: name a new folder, nothing is overwritten")
        self.require_current("assignments")
        images = LabelledImages.of(ImageTable.of(self, edits), self.record.sources)
        export_huggingface(images, folder, _ROWS_PER_FILE)
        return datasets.load_dataset(str(folder), split="train")

    def _repr_html_(self) -> str:
        from .notebook.summary import summary_html

        return summary_html(self)

    def __repr__(self) -> str:
        from .notebook.summary import summary_text

        return summary_text(self)

    def _reload(self) -> Self:
        self._searchers.clear()
        return super()._reload()

    def scores(self, name: str) -> "np.ndarray":
        """A score of each image, float32 (n,), in row order; NaN for unreadable images.

        `name` is `sharpness` or another score that `cpp-pipe score` measures, or that was given to
        `cpp-pipe score --name`. ConfigError for an unknown score, MissingError for one that is not
        made or out of date.
        """
        return read_score(self, name)

    @property
    def edits(self) -> "Editor":
        """Decisions about the run: `run.edits.name(12, "steam engines")`."""
        from .edits.editor import Editor

        return Editor(self)

    def searcher(self, space: str) -> Searcher:
        """The searcher of a space, opened once; raises the errors of `open_searcher`."""
        if not isinstance(space, str) or space not in ("features", "embeddings"):
            raise ConfigError(f"space must be 'features' or 'embeddings', got {space!r}")
        if space not in self._searchers:
            self._searchers[space] = open_searcher(self, space)
        return self._searchers[space]


def search(
    *, store: "Store | str | StorePath" = "artifacts", run: str = "default", **query: Any
) -> list[Hit]:
    """Searches a run: `search(text="a red car", n=5)`; see `Run.search` for the queries."""
    return Run.open(store, run).search(**query)
