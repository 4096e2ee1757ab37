"""Every benchmark runs to its last line at a tiny size."""

import importlib
import json
import math
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import benchmarks

LIBRARIES = {
    "answers", "card", "card_embed", "card_rows", "card_tests", "card_training", "clip_like",
    "clip_retrieval_inference", "embed_ways", "growth", "made_copies", "made_photographs",
    "measure", "ours", "plain_ways", "planted", "rules", "serve_store",
}  # fmt: skip
"""Modules of the folder that benchmarks import; all others are benchmarks."""

FAST = {"guard", "read", "retrieval", "select_k", "serve", "train_step"}
"""Benchmarks whose tiny size takes less than ten seconds."""

NAMES = sorted({module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - LIBRARIES)


def numbers(value: Any) -> Iterator[float]:
    """All numbers in a value of JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from numbers(entry)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NAMES]
)
def test_a_benchmark_prints_finite_numbers_as_json_in_its_last_line(
    name: str, shared, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", [name, "--tiny"])
    importlib.import_module(f"benchmarks.{name}").main()
    figures = list(numbers(json.loads(capfd.readouterr().out.splitlines()[-1])))
    assert figures
    assert all(math.isfinite(figure) for figure in figures)
