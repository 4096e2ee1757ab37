"""Spectrum and features in, a curve of coding lengths out, and the k where it is least."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..store import ConfigError, Product, Scratch
from ..store.kinds import K_CURVE, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .embedding_rows import write_table
from .landmarks import Landmarks

_RESTARTS = 3
"""Starts of k-means for each k of the curve."""


@dataclass(frozen=True, kw_only=True)
class SelectK(Stage):
    """Coding length L(k) of the landmarks' features for each k of a grid (arXiv 2306.05272).

    All k are read off the same eigenvectors; nothing is trained again.
    """

    name: ClassVar[str] = "select-k"
    kind: ClassVar[Kind] = K_CURVE
    revision: ClassVar[int] = 2
    is_fit: ClassVar[bool] = True

    grid: tuple[int, ...] = ()
    """The k that are tried; none means every small k and ever larger steps up to the spectrum's."""
    eps_sq: float = 0.1
    """ε², the squared distortion."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The spectrum, which holds the landmarks' features too."""
        return ("spectrum",)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Clusters the landmarks for each k and measures the code."""
        import pyarrow as pa
        import torch

        from .algorithms.coding_length import coding_length

        landmarks = Landmarks.of(inputs["spectrum"])
        grid = self._grid(len(landmarks.values))
        z = torch.from_numpy(landmarks.z)
        runtime.progress.start("select-k", len(grid), "values of k")
        lengths = []
        for k in grid:
            labels, _ = landmarks.cluster(k, _RESTARTS)
            clusters = torch.from_numpy(labels).long()
            lengths.append(float(coding_length(z, clusters, k, eps_sq=self.eps_sq).total))
            runtime.progress.advance(1, note=f"k {k}: {lengths[-1]:,.0f} nats")
        chosen = grid[lengths.index(min(lengths))]
        spec = K_CURVE.files["rows"]
        assert isinstance(spec, Table)
        columns = {
            "k": list(grid),
            "coding_length_nats": lengths,
            "chosen": [k == chosen for k in grid],
        }
        write_table(scratch, "rows", pa.Table.from_pydict(columns, schema=spec.schema()))
        return Product(rows=len(grid), shared={"chosen": chosen})

    def _grid(self, k_max: int) -> Sequence[int]:
        if not self.grid:
            return default_grid(k_max)
        beyond = [k for k in self.grid if not 1 <= k <= k_max]
        if beyond:
            raise ConfigError(
                f"select_k.grid holds {beyond[0]}: 1 to {k_max} is allowed, the number of "
                "eigenvectors in the spectrum (spectrum.k_max)"
            )
        return sorted(set(self.grid))


def default_grid(k_max: int) -> list[int]:
    """Every k from 2 to 20, then steps of about a tenth, up to k_max."""
    grid, k = [], 2
    while k <= k_max:
        grid.append(k)
        k += max(1, k // 10 if k >= 20 else 1)
    return grid or [k_max]
