"""Features and spectrum in, a curve of coding lengths and a number of clusters out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..store import ConfigError, Product, Scratch
from ..store.kinds import K_CURVE, Kind
from .contract import Inputs, Part, Runtime, Stage
from .drawing.curve_figure import write_curve
from .rows.landmarks import gather_embeddings, gather_features, open_landmarks

if TYPE_CHECKING:
    from .algorithms.clustering.k_choice import KChoice


@dataclass(frozen=True, kw_only=True)
class SelectK(Stage):
    """Measures the coding length L(k) of all rows for each k of a grid (arXiv 2306.05272).

    Every k uses the same eigenvectors; nothing is trained again. Curves with resampled landmarks
    and other seeds show how certain the choice is. Clusters with fewer rows than features have
    dimensions never shorten the code. So where the code gets little shorter, and the BIC of k-means
    (Pelleg and Moore, 2000) on the embeddings finds such small clusters, BIC decides. Where the
    code is not clear, the number of communities that Leiden (Traag, Waltman and van Eck, 2019)
    finds is reported as a second opinion, if igraph is installed.
    """

    name: ClassVar[str] = "select-k"
    kind: ClassVar[Kind] = K_CURVE
    revision: ClassVar[int] = 9

    grid: tuple[int, ...] = ()
    """The k to try; empty means from 2 to the spectrum's k_max, denser around the best k."""
    eps_sq: float = 0.1
    """ε², the squared distortion."""
    rule: Literal["auto", "code", "bic"] = "auto"
    """What decides: the shortest code, the highest BIC, or `auto`. `auto` takes BIC where the code
    is not clear and BIC's clusters have fewer rows than features have dimensions, else the code. A
    BIC that still rises at k_max never decides under `auto`."""
    clear: float = 0.3
    """Share of nats that clusters must save for the code to be clear."""
    rows: int = 50_000
    """Rows whose code is measured, at most; of a larger set, a sample."""
    resamples: int = 8
    """Curves of resampled landmarks."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.require_at_least(rows=2, resamples=0, seed=0)
        self.require_distortion()
        self.require_between("clear", 0, 1)

    @property
    def needs(self) -> tuple[str, ...]:
        """Embeddings for BIC, features for the code, and the spectrum for the clusters."""
        return ("embeddings", "features", "spectrum")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Measures the code of each k, and chooses one."""
        from .algorithms.clustering.code_lengths import Ruler
        from .algorithms.clustering.k_choice import choose_k
        from .algorithms.clustering.sampling import choose_rows

        total = inputs["features"].rows
        landmarks = open_landmarks(inputs["spectrum"], runtime.device)
        self._check_grid(len(landmarks.values))
        sample = choose_rows(total, self.rows, self.seed)
        z, points = gather_features(inputs["features"], sample, landmarks, draw=runtime.draw)
        self.require_distortion(z.shape[1])
        choice = choose_k(
            Ruler.of(landmarks, z, points, total=total, eps_sq=self.eps_sq),
            gather_embeddings(inputs["embeddings"], sample, draw=runtime.draw),
            resamples=self.resamples,
            seed=self.seed,
            grid=self.grid,
            rule=self.rule,
            clear=self.clear,
            second_opinion=True,
            steps=runtime.progress,
        )
        curve = columns(choice)
        scratch.write_table("rows", curve)
        write_curve(scratch.path("picture"), curve)
        facts = {
            "chosen": choice.k,
            "shortest": choice.verdict.chosen,
            "decided_by": choice.rule,
            "bic": choice.bic,
            "communities": choice.communities,
            "span_low": choice.span[0],
            "span_high": choice.span[1],
            "runners_up": list(choice.verdict.runners_up),
            "one_cluster_nats": choice.one_cluster,
            "loose": choice.loose,
            "k_max": len(landmarks.values),
            "rows_measured": len(sample),
            "rows_in_all": total,
            "resamples": self.resamples,
        }
        return Product(rows=len(choice.grid), shared=facts)

    def _check_grid(self, k_max: int) -> None:
        beyond = [k for k in self.grid if not 1 <= k <= k_max]
        if beyond:
            raise ConfigError(
                f"select_k.grid: every k must be from 1 to {k_max}, the number of eigenvectors in "
                f"the spectrum (spectrum.k_max), got {beyond[0]}"
            )


def columns(choice: "KChoice") -> dict[str, list[Any]]:
    """The columns of a k_curve."""
    curves, verdict, empty = choice.resampled, choice.verdict, [None] * len(choice.grid)
    has_band = len(curves) > 0
    return {
        "k": list(choice.grid),
        "coding_length_nats": list(choice.lengths),
        "low_nats": curves.min(0).tolist() if has_band else empty,
        "high_nats": curves.max(0).tolist() if has_band else empty,
        "votes": list(verdict.votes) if has_band else empty,
        "as_good": [k in verdict.as_good for k in choice.grid],
        "shortest": [k == verdict.chosen for k in choice.grid],
        "chosen": [k == choice.k for k in choice.grid],
    }
