"""What the page of a run says, as plain values: gathered in one place, drawn and told in others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from ..view.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The curve of coding lengths: one entry for each k that was tried, ascending."""

    k: Sequence[int]
    nats: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    """The lowest and the highest length among resamples."""
    votes: Sequence[float | None]
    """Share of the resamples in which the code is the shortest at this k."""
    as_good: Sequence[bool]
    """Whether the code is longer than the shortest by no more than they vary."""
    shortest: int
    """The k with the shortest code."""
    is_guide: bool = True
    """Whether that was taken for the number of clusters."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What is counted over every row, in one pass."""

    sizes: "np.ndarray"
    """(k,) rows of each cluster."""
    confidence: "np.ndarray"
    """(k,) mean confidence of each cluster; nan where it has no rows."""
    far: "np.ndarray"
    """(k,) rows of each cluster that are far from everything that was fitted."""
    bins: "np.ndarray"
    """Rows by confidence, in equal steps from 0 to 1."""
    novelty_bins: "np.ndarray"
    """Rows by novelty, in equal steps from 0 to 2; all beyond are in the last."""
    surest: Sequence[str | None]
    """The key of the row with the highest confidence in each cluster."""

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.sizes.sum())

    @property
    def largest_first(self) -> Sequence[int]:
        """Clusters by size, then by number."""
        return [int(cluster) for cluster in (-self.sizes).argsort(kind="stable")]

    @property
    def median_confidence(self) -> float:
        """To within one bin."""
        half = int((self.bins.cumsum() * 2 >= self.rows).argmax())
        return (half + 0.5) / len(self.bins)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The rows that figures are drawn from."""

    overall: "np.ndarray"
    """Ascending numbers of rows, of all clusters alike."""
    of_cluster: "Mapping[int, np.ndarray]"
    """Numbers of rows of some clusters, the largest first, in random order."""
    pictured: "Mapping[int, int]"
    """How many of them stand in the picture of cosines."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """How rows lie among the embeddings, or among the features."""

    size: int
    """Numbers of a row: d or p."""
    overall: "np.ndarray"
    """Singular values of the sampled rows, over the largest."""
    of_cluster: "Sequence[np.ndarray]"
    """The same for each sampled cluster."""
    cosines: "np.ndarray"
    """(m, m) |cosine| between the pictured rows, cluster by cluster."""
    within: float
    """Mean |cosine| of two pictured rows of one cluster; nan where each cluster has one row."""
    between: float
    """The same for rows of two clusters; nan where there is one cluster."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture of the page."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """Pictures of one cluster, drawn as one."""

    cluster: int
    drawn: Drawn
    surest: int
    doubtful: int
    """How many of each there are."""


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """A row, and the rows nearest to it in either space."""

    key: str
    cluster: int
    picture: Drawn
    before: Drawn
    after: Drawn
    of: int
    """How many are nearest in each."""
    same_before: int
    same_after: int
    """How many of them are in the same cluster."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that the page could show, and the command that would add it."""

    what: str
    command: str
    adds: str


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """One artifact of the run."""

    slot: str
    version: str
    stage: str
    rows: int
    made_from: Sequence[str]
    date: str
    seconds: float | None
    device: str
    settings: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that the page of a run says."""

    run: str
    cpp_pipe: str
    """The version that wrote the page."""
    model: str
    seen: int
    embedded: int
    skipped: Mapping[str, int]
    """Samples that were skipped, by reason."""
    tally: Tally
    sample: Sample
    raw: Space
    refined: Space
    curve: Curve | None = None
    captions: Mapping[int, Sequence[tuple[str, float]]] = field(default_factory=dict)
    """For each cluster its captions, best first, with their share."""
    evaluation: "Evaluation | None" = None
    missing: Mapping[str, Missing] = field(default_factory=dict)
    """By what is absent: curve, captions, labels or pictures."""
    versions: Sequence[VersionRow] = ()
    mosaics: Sequence[Mosaic] = ()
    """Of clusters, the largest first."""
    neighbourhoods: Sequence[Neighbourhood] = ()

    @property
    def k(self) -> int:
        """How many clusters there are, empty ones too."""
        return len(self.tally.sizes)

    @property
    def made_at(self) -> str:
        """When the newest of what is shown was made: the same run gives the same page."""
        return max((row.date for row in self.versions), default="")
