"""The trainable part of CPP (arXiv 2306.05272): a trunk, a feature head and a cluster head."""

import math

import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor, nn

from .distributed import GlobalBatchNorm
from .training_rows import TrainingRows


class Heads(nn.Module):
    """Maps frozen embeddings to unit features `z` and unit cluster features `c`.

    Without `skip`, names and numbers are the reference's. With `skip`, both heads add a linear map
    of the centred embedding, and `start_from` makes that map the whole head at first: the
    reference's random trunk loses the embedding's structure before the first step. With `h` = 0
    there is no trunk, only that linear map. With `shared_heads`, as in the reference's ImageNet
    recipe, there is no cluster head and `c` is `z`. Initial weights have torch's default
    distributions, drawn from `generator`.
    """

    center: Tensor

    def __init__(
        self,
        *,
        d: int,
        h: int,
        p: int,
        shared_heads: bool = False,
        skip: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        assert skip or h > 0, "heads without a trunk need a skip"
        self.skip, self.shared_heads, self.embedding_size = skip, shared_heads, d
        self.has_trunk = h > 0
        if self.has_trunk:
            self.pre_feature = nn.Sequential(
                _linear(d, h, generator),
                GlobalBatchNorm(h),
                nn.ReLU(),
                _linear(h, h, generator),
                nn.ReLU(),
            )
            self.subspace = nn.Sequential(_linear(h, p, generator))  # as the reference names it
            if not shared_heads:
                self.cluster = nn.Sequential(_linear(h, p, generator))
        if skip:
            self.register_buffer("center", torch.zeros(d))
            self.subspace_skip = _linear(d, p, generator, bias=False)
            if not shared_heads:
                self.cluster_skip = _linear(d, p, generator, bias=False)

    def forward(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
        """Features and cluster features, both unit rows; a zero row stays zero."""
        if self.skip:
            x = x - self.center
        hidden = self.pre_feature(x) if self.has_trunk else None
        z = self._head("subspace", x, hidden)
        return z, z if self.shared_heads else self._head("cluster", x, hidden)

    def _head(self, name: str, x: Tensor, hidden: Tensor | None) -> Float[Tensor, "n p"]:
        if hidden is None:
            return unit_rows(self.get_submodule(f"{name}_skip")(x))
        out = self.get_submodule(name)(hidden)
        return unit_rows(out + self.get_submodule(f"{name}_skip")(x) if self.skip else out)

    @property
    def weight(self) -> Float[Tensor, "p in"]:
        """A weight of the feature head, for its size, type and device."""
        return self.get_parameter("subspace.0.weight" if self.has_trunk else "subspace_skip.weight")

    def before_batchnorm(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n h"]:
        """The input of the trunk's BatchNorm."""
        return self.pre_feature[0](x - self.center if self.skip else x)

    @torch.no_grad()
    def start_from(self, mean: Float[Tensor, " d"], components: Float[Tensor, "p d"]) -> None:
        """Makes both outputs exactly the normalised projections of the centred embedding.

        Needs `skip`. The trunk keeps its random weights; it contributes once training moves its
        heads away from zero.
        """
        assert self.skip, "only heads with a skip can start from directions"
        self.center.copy_(mean)
        for name in ("subspace",) if self.shared_heads else ("subspace", "cluster"):
            self.get_parameter(f"{name}_skip.weight").copy_(components)
            if self.has_trunk:
                self.get_parameter(f"{name}.0.weight").zero_()
                self.get_parameter(f"{name}.0.bias").zero_()

    @torch.no_grad()
    def copy_feature_head_to_cluster_head(self) -> None:
        """Ends the warm-up; does nothing with shared heads."""
        if self.shared_heads:
            return
        if self.has_trunk:
            self.cluster.load_state_dict(self.subspace.state_dict())
        if self.skip:
            self.cluster_skip.load_state_dict(self.subspace_skip.state_dict())

    def cluster_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters of the cluster head alone, by name."""
        return {k: v for k, v in self.named_parameters() if k.startswith("cluster")}


def unit_rows(x: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
    """Rows of unit length; a row of zeros stays, and its gradient is zero instead of huge.

    Non-finite numbers stay, and are detected in the terms of the loss.
    """
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    floor = torch.finfo(x.dtype).tiny
    return torch.where(length <= floor, 0.0, x / length.clamp_min(floor))


def centred_unit_rows(x: Float32[ndarray, "n d"]) -> Float32[ndarray, "n d"]:
    """Rows minus their mean, of unit length; a row equal to the mean becomes zero."""
    return unit_rows(torch.from_numpy(x - x.mean(0))).numpy()


def principal_directions(
    x: TrainingRows, p: int, *, device: torch.device | None = None, chunk: int = 8192
) -> tuple[Float[Tensor, " d"], Float[Tensor, "p d"]]:
    """Mean and `p` leading principal directions of the rows, in float32 or wider.

    Directions without variance, beyond the rank, are zero rows. Signs are fixed: the entry of
    largest size is positive. Reads the rows twice, in chunks of `chunk` rows, and sums the chunks
    in float64.
    """
    n, d = x.shape
    device = x.device if device is None else device
    dtype = torch.promote_types(x.dtype, torch.float32)
    chunks = [slice(i, i + chunk) for i in range(0, n, chunk)]
    total = torch.zeros(d, dtype=torch.float64, device=device)
    for rows in chunks:
        total += x[rows].to(device, torch.float64).sum(0)
    mean = (total / n).to(dtype)
    moment = torch.zeros(d, d, dtype=torch.float64, device=device)
    for rows in chunks:
        centred = x[rows].to(device, dtype) - mean
        moment += centred.mT @ centred
    return mean, _leading_eigenvectors(moment, p, dtype)


def leading_directions(rows: Float[Tensor, "n d"], p: int) -> Float[Tensor, "p d"]:
    """The `p` leading principal directions of rows in memory, as in `principal_directions`."""
    centred = rows - rows.mean(0)
    return _leading_eigenvectors((centred.mT @ centred).double(), p, rows.dtype)


def _leading_eigenvectors(
    moment: Float[Tensor, "d d"], p: int, dtype: torch.dtype
) -> Float[Tensor, "p d"]:
    """Eigenvectors of the `p` largest eigenvalues, signs fixed; zero rows beyond the rank."""
    values, vectors = torch.linalg.eigh(moment)
    values, leading = values.flip(0)[:p], vectors.mT.flip(0)[:p]
    leading = leading * (values > 10 * torch.finfo(dtype).eps * values[0])[:, None]
    largest = leading.gather(1, leading.abs().argmax(1, keepdim=True))
    leading = torch.where(largest < 0, -leading, leading).to(dtype)
    return torch.nn.functional.pad(leading, (0, 0, 0, p - len(leading)))


class _EmptyLinear(nn.Linear):
    """A linear layer whose weights are not set yet.

    `nn.utils.skip_init` does the same on the meta device, and loads SymPy for it: half a second.
    """

    def reset_parameters(self) -> None:
        """Leaves the weights as they are, and torch's global generator, too."""


def _linear(
    inputs: int, outputs: int, generator: torch.Generator | None, *, bias: bool = True
) -> nn.Linear:
    layer = _EmptyLinear(inputs, outputs, bias=bias)
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer
