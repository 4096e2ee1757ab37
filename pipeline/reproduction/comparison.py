"""Our scores on a data set and published ones, as a table and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..datasets.catalog import DataSet
from ..view.evaluation import Scores
from ..wording import counted
from .published import Published
from .recipes import TITLES
from .trials import Trial, figures

Row = tuple[str, str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Our trials on one data set, and what others report on it."""

    data_set: DataSet
    run: str
    """The run of the embeddings; the runs of the trials begin with its name."""
    file: str | None
    """The file of the embeddings; None where images were embedded."""
    model: str
    """The model of the embeddings."""
    trials: tuple[Trial, ...]
    unlabelled: int
    """Number of rows without a label: they are clustered, but not scored."""
    kmeans: tuple[Scores, ...]
    """Scores of k-means on the embeddings with one cluster a class, by seed."""
    kmeans_method: str
    """`k-means`, or for many rows `mini-batch k-means`."""
    published: tuple[Published, ...]
    changed: tuple[str, ...]
    """Settings that the user changed, as `--set` names them."""

    @property
    def heading(self) -> str:
        """What was clustered, in one line."""
        scored, seeds = self.trials[0].rows, len({trial.seed for trial in self.trials})
        rows = counted(scored + self.unlabelled, "row")
        rows += f", {scored:,} with labels" if self.unlabelled else ""
        file = "" if self.file is None else f" ({self.file})"
        return (
            f"{self.data_set.title}{file}: {rows}, k {self.data_set.classes}, "
            f"{counted(seeds, 'seed')}; scores in per cent"
        )

    def rows(self) -> list[Row]:
        """Method, model, ACC, NMI and ARI: ours, baselines, then published ones."""
        rows = [
            self._row(title, [trial.clusters for trial in self.trials if trial.recipe == recipe])
            for recipe, title in TITLES.items()
        ]
        first = [trial for trial in self.trials if trial.recipe == self.trials[0].recipe]
        rows.append(self._row(self.kmeans_method, self.kmeans))
        rows.append(self._row("chance, same sizes", [trial.chance for trial in first]))
        for other in self.published:
            acc, nmi, ari = (_cell(value) for value in (other.acc, other.nmi, other.ari))
            rows.append((f"{other.method}, published", other.model, acc, nmi, ari))
        return rows

    def _row(self, title: str, scores: Sequence[Scores]) -> Row:
        acc, nmi, ari = figures(scores)
        return title, self.model, str(acc), str(nmi), str(ari)

    def differences(self) -> list[str]:
        """What differs between the rows of the table, a sentence each."""
        rows, k = self.trials[0].rows, self.data_set.classes
        which = "all rows"
        if self.unlabelled:
            every = counted(rows + self.unlabelled, "row")
            which = f"the {counted(rows, 'row')} with labels; all {every} are clustered"
        lines = [f"ours: scores over {which}; labels only score"]
        # 0.9, because of ImageNet only the split train is clustered.
        if rows < 0.9 * self.data_set.images:
            lines.append(
                f"only {rows:,} of {counted(self.data_set.images, 'image')} are here: do not "
                "compare with published scores"
            )
        for recipe, title in TITLES.items():
            joined = ", ".join(
                f"{trial.k} with seed {trial.seed}"
                for trial in self.trials
                if trial.recipe == recipe and trial.k != k
            )
            if joined:
                lines.append(
                    f"{title}: not {counted(k, 'cluster')}, because overlapping pieces were "
                    f"joined: {joined}"
                )
        if self.changed:
            lines.append(f"settings changed by --set: {', '.join(self.changed)}")
        lines.append(
            "the paper's recipe, here: clusters on landmarks of all rows instead of one batch, "
            "memberships that converge, running statistics in BatchNorm (configs/reference.toml)"
        )
        for other in self.published:
            source = "" if other.source is None else f"; figures from {other.source}"
            lines.append(f"{other.method}, {other.model} ({other.paper}): {other.differs}{source}")
        empty = [o.method for o in self.published if None in (o.acc, o.nmi, o.ari)]
        if empty:
            names = ", ".join(dict.fromkeys(empty))
            lines.append(
                f"empty cells of {names} are not recorded in published.toml, which has sources"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values; our scores are from 0 to 1, published ones in per cent."""
        return {
            "data_set": self.data_set.name,
            "embeddings": self.file,
            "rows": self.trials[0].rows,
            "unlabelled": self.unlabelled,
            "k": self.data_set.classes,
            "run": self.run,
            "model": self.model,
            "changed": list(self.changed),
            "trials": [trial.to_json() for trial in self.trials],
            "kmeans": [asdict(scores) for scores in self.kmeans],
            "kmeans_method": self.kmeans_method,
            "published_percent": [other.to_json() for other in self.published],
        }


def _cell(value: float | None) -> str:
    # A whole number was published without decimals.
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.1f}"
