"""Features and spectrum in, a curve of coding lengths out, and how many clusters to take."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..store import ConfigError, Product, Scratch
from ..store.kinds import K_CURVE, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .curve_figure import draw_curve
from .landmarks import gather_embeddings, gather_features, open_landmarks
from .part_tables import write_table

if TYPE_CHECKING:
    from .algorithms.clustering.choice import Choice


@dataclass(frozen=True, kw_only=True)
class SelectK(Stage):
    """Coding length L(k) of all rows for each k of a grid (arXiv 2306.05272).

    All k are read off the same eigenvectors; nothing is trained again. Curves of other landmarks
    and seeds tell how sure the choice is. Clusters that have fewer rows than features have
    dimensions make no code shorter: where it is little shorter, and the BIC of k-means (Pelleg and
    Moore, 2000) of the embeddings sees such clusters, BIC decides. Where the code is not
    clear, the number of communities that Leiden (Traag, Waltman and van Eck, 2019) finds is a
    second opinion, if igraph is installed.
    """

    name: ClassVar[str] = "select-k"
    kind: ClassVar[Kind] = K_CURVE
    revision: ClassVar[int] = 6
    is_fit: ClassVar[bool] = True

    grid: tuple[int, ...] = ()
    """The k that are tried; none means from 2 to the spectrum's k_max, denser where it matters."""
    eps_sq: float = 0.1
    """ε², the squared distortion."""
    rule: Literal["auto", "code", "bic"] = "auto"
    """What decides: the shortest code, the highest BIC, or `auto`: the code, but where it is not
    clear and BIC's clusters have fewer rows than features have dimensions, BIC. One that is still
    rising at k_max decides nothing."""
    clear: float = 0.3
    """The share of nats that clusters must save for the code to be clear."""
    rows: int = 50_000
    """Rows whose code is measured, at most; a larger set is told by so many of them."""
    resamples: int = 8
    """Curves of resampled landmarks."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 2 or self.resamples < 0:
            raise ConfigError(
                f"select_k has rows = {self.rows} and resamples = {self.resamples}; allowed: "
                "2 or more, and 0 or more"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Whose code is measured, and what tells clusters."""
        return ("embeddings", "features", "spectrum")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Measures the codes, and judges."""
        from .algorithms.clustering.choice import choose
        from .algorithms.clustering.code_lengths import Ruler
        from .algorithms.clustering.sampling import choose_rows

        total = inputs["features"].rows
        landmarks = open_landmarks(inputs["spectrum"], runtime.device)
        self._check_grid(len(landmarks.values))
        sample = choose_rows(total, self.rows, self.seed)
        z, points = gather_features(inputs["features"], sample)
        found = choose(
            Ruler.of(landmarks, z, points, total=total, eps_sq=self.eps_sq),
            points,
            gather_embeddings(inputs["embeddings"], sample),
            resamples=self.resamples,
            seed=self.seed,
            grid=self.grid,
            rule=self.rule,
            clear=self.clear,
            second_opinion=True,
            steps=runtime.progress,
        )
        _write(scratch, columns(found))
        facts = {
            "chosen": found.k,
            "shortest": found.verdict.chosen,
            "decided_by": found.rule,
            "bic": found.bic,
            "communities": found.communities,
            "span_low": found.span[0],
            "span_high": found.span[1],
            "runners_up": list(found.verdict.runners_up),
            "one_cluster_nats": found.one_cluster,
            "loose": found.loose,
            "k_max": len(landmarks.values),
            "rows_measured": len(sample),
            "rows_in_all": total,
            "resamples": self.resamples,
        }
        return Product(rows=len(found.grid), shared=facts)

    def _check_grid(self, k_max: int) -> None:
        beyond = [k for k in self.grid if not 1 <= k <= k_max]
        if beyond:
            raise ConfigError(
                f"select_k.grid holds {beyond[0]}: 1 to {k_max} is allowed, the number of "
                "eigenvectors in the spectrum (spectrum.k_max)"
            )


def columns(found: "Choice") -> dict[str, list[Any]]:
    """The columns of a k_curve."""
    curves, verdict, empty = found.resampled, found.verdict, [None] * len(found.grid)
    has_band = len(curves) > 0
    return {
        "k": list(found.grid),
        "coding_length_nats": list(found.lengths),
        "low_nats": curves.min(0).tolist() if has_band else empty,
        "high_nats": curves.max(0).tolist() if has_band else empty,
        "votes": list(verdict.votes) if has_band else empty,
        "as_good": [k in verdict.as_good for k in found.grid],
        "shortest": [k == verdict.chosen for k in found.grid],
        "chosen": [k == found.k for k in found.grid],
    }


def _write(scratch: Scratch, curve: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    spec = K_CURVE.files["rows"]
    assert isinstance(spec, Table)
    write_table(scratch, "rows", pa.Table.from_pydict(curve, schema=spec.schema()))
    draw_curve(scratch.path("picture"), curve)
