"""Features and spectrum in, a curve of coding lengths out, and the k where it is least."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..store import ConfigError, Product, Scratch
from ..store.kinds import K_CURVE, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .curve_figure import draw_curve
from .embedding_rows import write_table
from .landmarks import gather_features, open_landmarks

if TYPE_CHECKING:
    from .algorithms.clustering.code_lengths import Ruler


@dataclass(frozen=True, kw_only=True)
class SelectK(Stage):
    """Coding length L(k) of all rows for each k of a grid (arXiv 2306.05272).

    All k are read off the same eigenvectors; nothing is trained again. Curves of other landmarks
    and seeds tell how sure the choice is.
    """

    name: ClassVar[str] = "select-k"
    kind: ClassVar[Kind] = K_CURVE
    revision: ClassVar[int] = 3
    is_fit: ClassVar[bool] = True

    grid: tuple[int, ...] = ()
    """The k that are tried; none means from 2 to the spectrum's k_max, denser where it matters."""
    eps_sq: float = 0.1
    """ε², the squared distortion."""
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
        return ("features", "spectrum")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Measures the codes, and judges."""
        import numpy as np

        from .algorithms.clustering.code_lengths import Ruler, explore, resampled_curves
        from .algorithms.clustering.sampling import choose_rows
        from .algorithms.clustering.verdict import judge

        total = inputs["features"].rows
        landmarks = open_landmarks(inputs["spectrum"], runtime.device)
        k_max = len(landmarks.values)
        self._check_grid(k_max)
        sample = choose_rows(total, self.rows, self.seed)
        z, points = gather_features(inputs["features"], sample)
        ruler = Ruler.of(landmarks, z, points, total=total, eps_sq=self.eps_sq)
        progress = runtime.progress
        progress.start("select-k", len(self.grid) or 30, "values of k")
        found = {}
        fixed = ((k, ruler.length(k)) for k in sorted(set(self.grid)))
        for k, length in fixed if self.grid else explore(ruler.length, k_max):
            found[k] = length
            progress.advance(1, note=f"k {k}: {length:,.0f} nats")
        grid = sorted(found)
        progress.start("select-k", self.resamples, "resampled curves")
        curves = []
        for curve in resampled_curves(ruler, points, grid, self.resamples, self.seed):
            curves.append(curve)
            progress.advance(1)
        resampled = np.array(curves, np.float64).reshape(len(curves), len(grid))
        lengths = [found[k] for k in grid]
        verdict = judge(grid, lengths, resampled)
        band = {
            "low_nats": resampled.min(0).tolist() if curves else [None] * len(grid),
            "high_nats": resampled.max(0).tolist() if curves else [None] * len(grid),
            "votes": list(verdict.votes) if curves else [None] * len(grid),
        }
        columns = {
            "k": grid,
            "coding_length_nats": lengths,
            **band,
            "as_good": [k in verdict.as_good for k in grid],
            "chosen": [k == verdict.chosen for k in grid],
        }
        _write(scratch, columns)
        facts = self._facts(ruler, verdict.chosen, verdict.runners_up)
        return Product(rows=len(grid), shared=facts)

    def _facts(self, ruler: "Ruler", chosen: int, runners_up: Sequence[int]) -> dict[str, Any]:
        return {
            "chosen": chosen,
            "runners_up": list(runners_up),
            "one_cluster_nats": ruler.length(1),
            "loose": ruler.loose(chosen),
            "k_max": len(ruler.landmarks.values),
            "rows_measured": len(ruler.z),
            "rows_in_all": ruler.total,
            "resamples": self.resamples,
        }

    def _check_grid(self, k_max: int) -> None:
        beyond = [k for k in self.grid if not 1 <= k <= k_max]
        if beyond:
            raise ConfigError(
                f"select_k.grid holds {beyond[0]}: 1 to {k_max} is allowed, the number of "
                "eigenvectors in the spectrum (spectrum.k_max)"
            )


def _write(scratch: Scratch, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    spec = K_CURVE.files["rows"]
    assert isinstance(spec, Table)
    write_table(scratch, "rows", pa.Table.from_pydict(columns, schema=spec.schema()))
    draw_curve(scratch.path("picture"), columns)
