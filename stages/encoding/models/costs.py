"""What the image towers of open_clip's models cost, and which model would be cheaper."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

GFLOPS: Mapping[str, float] = {
    "ViT-B-32": 8.8,
    "ViT-B-16": 35.1,
    "ViT-L-14": 162.0,
    "ViT-L-14-336": 381.9,
    "ViT-H-14": 334.6,
    "ViT-g-14": 534.1,
    "ViT-bigG-14": 967.5,
}
"""Billions of operations for an image, by torch.utils.flop_counter: a multiplication and an
addition are two."""

_EQUAL_ENDINGS = ("-quickgelu", "-CLIPA", "-worldwide")
"""Endings of names of models that cost the same."""

_CHEAPER: Mapping[str, str] = {"ViT-B-32": "openai", "ViT-B-16": "openai", "ViT-L-14": "openai"}
"""Models that may be advised, with a tag of their weights."""

_TARGET = 1 / 10
"""The share of the cost that an advised model should have, as nearly as possible."""

_MOST = 0.3
"""A model that costs a larger share is not advised: it would change little."""


@dataclass(frozen=True, kw_only=True)
class CheaperModel:
    """A model that embeds an image for a fraction of the cost of another."""

    model: str
    pretrained: str
    share: float
    """Its cost as a share of the other model's cost."""

    @property
    def flags(self) -> str:
        """The flags of a command that choose it."""
        return f"--model {self.model} --pretrained {self.pretrained}"


def cheaper_model(model: str) -> CheaperModel | None:
    """The model that costs about a tenth of a model; None for one that is cheap or not known."""
    cost = GFLOPS.get(family(model))
    if cost is None:
        return None
    others = [
        CheaperModel(model=name, pretrained=tag, share=GFLOPS[name] / cost)
        for name, tag in _CHEAPER.items()
        if GFLOPS[name] / cost <= _MOST
    ]
    return min(others, key=lambda other: abs(math.log(other.share / _TARGET)), default=None)


def family(model: str) -> str:
    """The name of a model without the endings of those that cost the same."""
    for ending in _EQUAL_ENDINGS:
        model = model.removesuffix(ending)
    return model
