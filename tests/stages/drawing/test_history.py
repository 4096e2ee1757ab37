"""The figure of a training's history."""

import pytest
from PIL import Image

from cpp_pipe.stages.drawing.history import draw_history

STEPS = range(0, 60, 2)
WARMUP_STEPS = 10
HISTORY: dict[str, list[float | None]] = {
    "step": [*STEPS],
    "rate_nats": [60 + step**0.5 for step in STEPS],
    "conditional_rate_nats": [None if step < WARMUP_STEPS else 40 - step**0.5 for step in STEPS],
    "loss": [-20 - step**0.5 for step in STEPS],
}
CHECKS = {"step": [20.0, 40.0, 58.0], "stability": [0.4, 0.8, 0.9]}
NO_CHECKS: dict[str, list[float]] = {"step": [], "stability": []}


@pytest.mark.parametrize("checks", [CHECKS, NO_CHECKS, {}], ids=["checks", "none", "no columns"])
def test_the_figure_is_a_png_of_eight_by_six_inches(tmp_path, checks):
    path = tmp_path / "history.png"
    draw_history(path, HISTORY, checks, 40)
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        assert opened.size == (960, 720)


def test_the_same_history_gives_the_same_bytes(tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        draw_history(path, HISTORY, CHECKS, 40)
    assert first.read_bytes() == second.read_bytes()
    assert b"matplotlib" not in first.read_bytes()


def test_the_kept_step_is_drawn(tmp_path):
    early, late = tmp_path / "early.png", tmp_path / "late.png"
    draw_history(early, HISTORY, CHECKS, 20)
    draw_history(late, HISTORY, CHECKS, 40)
    assert early.read_bytes() != late.read_bytes()


def test_the_rate_is_drawn_for_a_history_of_only_warm_up(tmp_path):
    path, other = tmp_path / "history.png", tmp_path / "other.png"
    warm_up = {**HISTORY, "conditional_rate_nats": [None] * len(STEPS)}
    draw_history(path, warm_up, NO_CHECKS, 58)
    draw_history(other, {**warm_up, "rate_nats": [60.0] * len(STEPS)}, NO_CHECKS, 58)
    assert path.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("checks", [{"step": [0.0], "stability": [1.0]}, NO_CHECKS])
def test_a_single_step_is_drawn_as_points(tmp_path, checks):
    path, without = tmp_path / "history.png", tmp_path / "without.png"
    single = {"step": [0], "rate_nats": [60.0], "conditional_rate_nats": [40.0], "loss": [-20.0]}
    draw_history(path, single, checks, 0)
    draw_history(without, {**single, "conditional_rate_nats": [None]}, checks, 0)
    assert path.read_bytes() != without.read_bytes()
