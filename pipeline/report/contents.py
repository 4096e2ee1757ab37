"""The contents of the report of a run, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..view.captions import Caption
from ..view.curve import KCurve
from ..view.evaluation import Evaluation
from ..view.facts import Absence, SampleCounts, Version


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts over all rows."""

    sizes: np.ndarray
    """(k,) rows of each cluster."""
    confidence: np.ndarray
    """(k,) mean confidence of each cluster; nan if it has no rows."""
    far: np.ndarray
    """(k,) rows of each cluster that are far from everything that was fitted."""
    bins: np.ndarray
    """Rows by confidence, in equal steps from 0 to 1."""
    novelty_bins: np.ndarray
    """Rows by novelty, in equal steps from 0 to 2; the last holds all beyond."""
    surest: Sequence[str | None]
    """The key of the row with the highest confidence in each cluster."""
    are_empty_hidden: bool = False
    """Whether clusters without rows are left out, because decisions emptied them."""

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.sizes.sum())

    @property
    def largest_first(self) -> Sequence[int]:
        """Clusters by falling size; equal sizes by number."""
        order = [int(cluster) for cluster in (-self.sizes).argsort(kind="stable")]
        return [number for number in order if self.sizes[number] or not self.are_empty_hidden]

    @property
    def median_confidence(self) -> float:
        """The median to within one bin."""
        half = int((self.bins.cumsum() * 2 >= self.rows).argmax())
        return (half + 0.5) / len(self.bins)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The rows that figures are drawn from."""

    overall: np.ndarray
    """Ascending row numbers, drawn from all clusters."""
    of_cluster: Mapping[int, np.ndarray]
    """Row numbers of some clusters, in random order; the largest cluster comes first."""
    heat_map_rows: Mapping[int, int]
    """The number of rows of each cluster in the heat map of cosines."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The geometry of rows in one space: the embeddings, or the features."""

    size: int
    """Numbers in a row: d or p."""
    overall: np.ndarray
    """Singular values of the sampled rows, over the largest."""
    of_cluster: Sequence[np.ndarray]
    """Singular values of each sampled cluster, over its largest."""
    cosines: np.ndarray
    """(m, m) |cosine| between the rows of the heat map, cluster by cluster."""
    within: float
    """Mean |cosine| of two of these rows in one cluster; nan if each cluster has one row."""
    between: float
    """Mean |cosine| of two of these rows in two clusters; nan if there is one cluster."""


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """An encoded image that the report holds."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """Images of one cluster, drawn as one."""

    cluster: int
    image: Jpeg
    surest: int
    doubtful: int
    """The numbers of surest and of doubtful images that it shows."""


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """A row, and the rows nearest to it in either space."""

    key: str
    cluster: int
    image: Jpeg
    before: Jpeg
    after: Jpeg
    count: int
    """The number of nearest rows that are shown for each space."""
    same_before: int
    same_after: int
    """The nearest rows that are in the row's cluster: before refining, and after."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Decisions about clusters and images."""

    name: str
    """The name of sealed decisions, or `open`."""
    names: Mapping[int, str]
    """Given names of clusters."""
    tags: Mapping[str, int]
    """Images that are not excluded, by tag."""
    tags_of: Mapping[int, Mapping[str, int]]
    """Such images by tag, for each cluster that has any."""
    excluded: np.ndarray
    """(k,) excluded images of each cluster."""
    moved: int
    """Images that are not excluded and in another cluster than was assigned."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of the report of a run."""

    run: str
    cpp_pipe: str
    """The version that wrote the report."""
    model: str
    counts: SampleCounts
    tally: Tally
    sample: Sample
    raw: Space
    refined: Space
    curve: KCurve | None = None
    verdict: str = ""
    """The verdict of the curve, in one sentence."""
    captions: Mapping[int, Sequence[Caption]] = field(default_factory=dict)
    """The captions of each cluster, best first."""
    evaluation: Evaluation | None = None
    absences: Mapping[str, Absence] = field(default_factory=dict)
    """Things that are not shown, by name: k_curve, captions, labels or images."""
    versions: Sequence[Version] = ()
    mosaics: Sequence[Mosaic] = ()
    """The largest cluster comes first."""
    neighbourhoods: Sequence[Neighbourhood] = ()
    decisions: Decisions | None = None

    @property
    def k(self) -> int:
        """The number of clusters, empty ones included unless decisions emptied them."""
        return len(self.tally.largest_first)

    def given_name(self, cluster: int) -> str | None:
        """The name that people gave a cluster."""
        return None if self.decisions is None else self.decisions.names.get(cluster)

    def name_of(self, cluster: int) -> str | None:
        """The given name of a cluster, else its first caption."""
        captions = self.captions.get(cluster, ())
        return self.given_name(cluster) or (captions[0].words if captions else None)

    @property
    def made_at(self) -> str:
        """The date of the newest artifact, so that the same run gives the same report."""
        return max((version.date for version in self.versions), default="")
