"""Matrix products of a transformer in bf16 on a processor that has them.

The results of products, of attention and of a block's hidden layer are rounded to bf16. Sums over
products, layer norms and values passed from block to block are float32; torch's autocast rounds
those values, too. With ViT-B/32 of random weights, cosines to float32 are 0.99994 and more by
autocast, here 0.99999, and here an image takes less time. A product includes its bias and its
activation, because it is so fast that writing and reading its result takes as long as computing it.

Only forward methods are replaced, so the weights and their digest do not change.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_QUICK = 1.702
"""QuickGELU is x σ(1.702 x)."""

_ROWS = 1024
"""About the number of rows of a product, for which weights are laid out; any number is correct."""


@functools.cache
def bf16_of_processor() -> str:
    """The instructions by which this processor multiplies bf16: `AMX`, `AVX512-BF16`, or none."""
    import torch

    products = torch.ops.mkldnn
    # Private names of torch, which another version may lack.
    has_products = all(
        hasattr(products, n) for n in ("_reorder_linear_weight", "_linear_pointwise")
    )
    if not (torch.backends.mkldnn.is_available() and has_products):
        return ""
    for name, probe in (
        ("AMX", "_is_amx_tile_supported"),
        ("AVX512-BF16", "_is_avx512_bf16_supported"),
    ):
        if getattr(torch.cpu, probe, bool)():
            return name
    return ""


def describe_speed() -> str:
    """Says how transformers embed in bf16 here; only for a processor that multiplies bf16."""
    return f"faster ({bf16_of_processor()})"


def multiply_in_bf16(tower: Any) -> bool:
    """Makes an image tower multiply in bf16; False, without a change, if it is no transformer.

    A transformer has torch's self-attention, or timm's.
    """
    modules = list(tower.modules())
    if not any(_is_torch_attention(module) or _is_timm_attention(module) for module in modules):
        return False
    forwards = dict(change for module in modules for change in _changes(module))
    for module in modules:
        if _is_linear(module):
            forwards.setdefault(module, _Product(module))
    for module, forward in forwards.items():
        module.forward = forward
    return True


@contextlib.contextmanager
def multiplying_in_float32(tower: Any) -> Iterator[None]:
    """Undoes `multiply_in_bf16` for the block, in which only one thread may use the tower."""
    replaced = [
        (module, module.__dict__.pop("forward"))
        for module in tower.modules()
        if "forward" in module.__dict__
    ]
    try:
        yield
    finally:
        for module, forward in replaced:
            module.forward = forward


_Change = tuple[Any, Callable[..., Any]]
"""A module, and its new forward method."""


class _Product:
    """A linear layer of rows in float32 or bf16; its products have the same type, or bf16."""

    def __init__(
        self,
        linear: Any,
        *,
        activation: str = "none",
        scales: tuple[float, float] = (1.0, 1.0),
        is_inner: bool = False,
    ) -> None:
        """`scales` are factors of the weights and the bias; with `is_inner` products are bf16."""
        self._pack(linear.weight, linear.bias, scales)
        self._activation = activation
        self._is_inner = is_inner

    def _pack(self, weight: Any, bias: Any, scales: tuple[float, float]) -> None:
        import torch

        coarse = (weight.detach() * scales[0]).to(torch.bfloat16)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(coarse, _ROWS)
        self._bias = None if bias is None else (bias.detach() * scales[1]).to(torch.bfloat16)
        self._size = len(weight)

    def __call__(self, rows: "torch.Tensor") -> "torch.Tensor":
        """The products (..., n) of rows (..., k)."""
        import torch

        coarse = rows.to(torch.bfloat16).reshape(-1, rows.shape[-1])
        options = (self._activation, [], "none" if self._activation == "gelu" else "")
        products = torch.ops.mkldnn._linear_pointwise(coarse, self._weight, self._bias, *options)
        products = products.view(*rows.shape[:-1], self._size)
        return products if self._is_inner else products.to(rows.dtype)


class _SelfAttention:
    """torch's self-attention; any other use calls the original method."""

    def __init__(self, attention: Any) -> None:
        self._original = attention.forward
        self._heads = int(attention.num_heads)
        self._inner = _Product(_Layer(attention.in_proj_weight, attention.in_proj_bias))
        self._outer = _Product(attention.out_proj)

    def __call__(
        self,
        query: "torch.Tensor",
        key: "torch.Tensor",
        value: "torch.Tensor",
        need_weights: bool = True,
        attn_mask: "torch.Tensor | None" = None,
        **options: Any,
    ) -> tuple["torch.Tensor", "torch.Tensor | None"]:
        """The result of torch's method; attention weights only if they are needed."""
        import torch
        import torch.nn.functional as F

        is_own = query is key and key is value and query.ndim == 3
        if not is_own or need_weights or attn_mask is not None or options:
            options = {"need_weights": need_weights, "attn_mask": attn_mask, **options}
            return self._original(query, key, value, **options)
        images, tokens, width = query.shape
        rows = self._inner(query.to(torch.bfloat16))
        heads = rows.view(images, tokens, 3, self._heads, width // self._heads)
        own, others, values = heads.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(own, others, values)
        rows = attended.transpose(1, 2).reshape(images, tokens, width)
        return self._outer(rows).to(query.dtype), None


class _Layer:
    """A weight and a bias, with the names that a linear layer has."""

    def __init__(self, weight: Any, bias: Any) -> None:
        self.weight, self.bias = weight, bias


def _changes(module: Any) -> Iterator[_Change]:
    """The changes of an attention, or of a block's two linear layers; none of other modules."""
    if _is_torch_attention(module):
        yield module, _SelfAttention(module)
    elif _is_timm_attention(module):
        yield module.qkv, _Product(module.qkv, is_inner=True)
    else:
        yield from _with_activation(module)


def _is_torch_attention(module: Any) -> bool:
    from torch import nn

    is_plain = type(module) is nn.MultiheadAttention and module.batch_first
    return is_plain and module._qkv_same_embed_dim and module.bias_k is None


def _is_timm_attention(module: Any) -> bool:
    timm = sys.modules.get("timm.layers.attention")
    if timm is None or type(module) is not timm.Attention:
        return False
    return getattr(module, "gate", None) is None and module.fused_attn


def _is_linear(module: Any) -> bool:
    from torch import nn

    return type(module) is nn.Linear  # the last layer of torch's attention has a type of its own


def _with_activation(module: Any) -> Iterator[_Change]:
    """A linear layer with the activation that follows it, in a block of open_clip or timm."""
    from torch import nn

    timm = sys.modules.get("timm.layers.mlp")
    if type(module) is nn.Sequential and len(module) == 3:
        first, between, last = module
    elif timm is not None and type(module) is timm.Mlp:
        if not isinstance(module.norm, nn.Identity):
            return
        first, between, last = module.fc1, module.act, module.fc2
    else:
        return
    if not (_is_linear(first) and _is_linear(last)):
        return
    if type(between) is nn.GELU and between.approximate == "none":
        yield first, _Product(first, activation="gelu", is_inner=True)
    elif type(between).__name__ == "QuickGELU":
        # x σ(1.702 x) is swish(1.702 x) / 1.702, and swish(x) is x σ(x).
        yield first, _Product(first, activation="swish", scales=(_QUICK, _QUICK), is_inner=True)
        yield last, _Product(last, scales=(1 / _QUICK, 1.0))
    else:
        return
    yield between, _unchanged


def _unchanged(rows: "torch.Tensor") -> "torch.Tensor":
    return rows
