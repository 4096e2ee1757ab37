"""A training's history as tables and as a figure: rates, and the stability of its clusters."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...store import Scratch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = (8.0, 6.0)
_DOTS_PER_INCH = 120

_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072b2", "#d55e00", "#009e73", "#6a3d9a"
"""Colours that colour-blind readers can tell apart; the first three are Okabe and Ito's."""


class Check(NamedTuple):
    """One check of the heads during training: a row of the file `checks`."""

    step: int
    stability: float
    kept: bool


def write_history(
    scratch: Scratch,
    terms: Mapping[str, Sequence[float]],
    checks: Sequence[Check],
    eta: float,
    kept_step: int,
    warmup_steps: int,
) -> None:
    """Writes the files `history`, `checks` and `picture` of heads.

    `terms` hold one number per step: rate, conditional_rate, regulariser and loss. `eta` is the
    temperature of the whole training; every row of `checks` repeats it.
    """
    steps = range(1, len(terms["loss"]) + 1)
    history = {
        "step": list(steps),
        "is_warmup": [step <= warmup_steps for step in steps],
        "rate_nats": terms["rate"],
        "conditional_rate_nats": terms["conditional_rate"][:],
        "regulariser": terms["regulariser"][:],
        "loss": terms["loss"],
    }
    for name in ("conditional_rate_nats", "regulariser"):
        pairs = zip(history["is_warmup"], history[name], strict=True)
        history[name] = [None if is_warmup else value for is_warmup, value in pairs]
    scratch.write_table("history", history)
    columns = {
        "eta": [eta] * len(checks),
        "step": [check.step for check in checks],
        "stability": [check.stability for check in checks],
        "kept": [check.kept for check in checks],
    }
    scratch.write_table("checks", columns)
    draw_history(scratch.path("picture"), history, columns, kept_step)


def draw_history(
    path: Path,
    history: Mapping[str, Sequence[float | None]],
    checks: Mapping[str, Sequence[float]],
    kept_step: int,
) -> None:
    """Writes a PNG of R, R_c and ΔR = R − R_c in nats and, if there are checks, of stability.

    `history` has the columns step, rate_nats and conditional_rate_nats, which is None during the
    warm-up and leaves a gap there; `checks` has step and stability, from 0 to 1, or nothing. The
    bytes depend only on the arguments and the version of matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    has_checks = len(checks.get("step", ())) > 0
    if has_checks:
        panels = list(figure.subplots(2, sharex=True, height_ratios=(2, 1)))
        _draw_stability(panels[1], checks)
    else:
        panels = [figure.subplots()]
    _draw_rates(panels[0], history)
    for panel in panels:
        line = panel.axvline(kept_step, color="0.25", linestyle="--", linewidth=1.2, zorder=1)
        if panel is panels[0]:
            line.set_label("kept")
        panel.grid(color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper center", ncols=4)
    panels[-1].set_xlabel("step")
    panels[-1].xaxis.set_major_locator(
        MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    )
    figure.align_ylabels(panels)
    # By default matplotlib writes its version into the file.
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw_rates(panel: "Axes", history: Mapping[str, Sequence[float | None]]) -> None:
    steps, rates = _numbers(history["step"]), _numbers(history["rate_nats"])
    conditional = _numbers(history["conditional_rate_nats"])
    differences = [r - r_c for r, r_c in zip(rates, conditional, strict=True)]
    marker = "o" if len(steps) == 1 else ""  # a line through one point shows nothing
    for values, label, color in (
        (rates, "$R$", _BLUE),
        (conditional, "$R_c$", _ORANGE),
        (differences, r"$\Delta R = R - R_c$", _GREEN),
    ):
        if not all(map(isnan, values)):
            panel.plot(steps, values, label=label, color=color, linewidth=1.4, marker=marker)
    panel.set_ylabel("rate (nats)")


def _draw_stability(panel: "Axes", checks: Mapping[str, Sequence[float]]) -> None:
    panel.plot(
        checks["step"], checks["stability"], color=_PURPLE, linewidth=1.4, marker="o", markersize=5
    )
    panel.set_ylim(-0.05, 1.05)
    panel.set_ylabel("stability (0 to 1)")


def _numbers(column: Sequence[float | None]) -> list[float]:
    return [nan if value is None else value for value in column]
