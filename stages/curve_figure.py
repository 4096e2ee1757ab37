"""The curve of coding lengths as a figure: its band, the chosen k, and the k that are as good."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = (8.0, 4.5)
_DOTS_PER_INCH = 120

_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#009e73"
"""The colours of a training's history; colour-blind readers can tell them apart."""


def draw_curve(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a PNG of the columns of a k_curve.

    The bytes depend only on the columns and the version of matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    panel = figure.subplots()
    draw_curve_on(panel, columns)
    figure.legend(frameon=False, loc="outside upper center", ncols=4)
    # By default matplotlib writes its version into the file.
    figure.savefig(path, format="png", metadata={"Software": None})


def draw_curve_on(panel: "Axes", columns: Mapping[str, Sequence[Any]]) -> None:
    """Draws the columns of a k_curve: k on a logarithmic axis, coding lengths in nats."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    k, lengths = columns["k"], columns["coding_length_nats"]
    if columns["low_nats"][0] is not None:
        panel.fill_between(
            k,
            columns["low_nats"],
            columns["high_nats"],
            color=_BLUE,
            alpha=0.2,
            linewidth=0,
            label="resampled: lowest to highest",
        )
    marker = "o" if len(k) <= 40 else ""
    panel.plot(k, lengths, color=_BLUE, linewidth=1.4, marker=marker, markersize=3, label="$L(k)$")
    good = [number for number, is_good in zip(k, columns["as_good"], strict=True) if is_good]
    if len(good) > 1:
        panel.axvspan(
            good[0], good[-1], color=_GREEN, alpha=0.15, label=f"as good: {good[0]} to {good[-1]}"
        )
    marked: dict[int, str] = {}
    for name in ("shortest", "chosen"):
        best = next(number for number, is_it in zip(k, columns[name], strict=True) if is_it)
        marked[best] = f"{marked[best]} and {name}" if best in marked else name
    for (best, name), style in zip(marked.items(), ("--", "-."), strict=False):
        panel.axvline(best, color=_ORANGE, linestyle=style, linewidth=1.2, label=f"{name}: {best}")
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("k, clusters")
    panel.set_ylabel("coding length (nats)")
    panel.grid(color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
