"""Figures of a run, and its curve of k: Jupyter shows them, and they can be saved."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...stages.drawing.curve_figure import draw_curve
from ...stages.drawing.figure_style import STYLE
from ...store import ConfigError
from ...store.paths import expanded
from ..curation.files import whole_file
from ..report.print_figures import FORMATS, encode_figure
from ..view.curve import CurvePoint, KCurve
from ..view.verdict import KVerdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunFigure:
    """A figure of a run; `.figure` is the figure of matplotlib, which may be changed."""

    def __init__(self, figure: "Figure") -> None:
        self.figure = figure

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<figure of {width:.1f} by {height:.1f} inches: save('figure.pdf') writes it>"

    def save(self, path: str | Path) -> None:
        """Writes the figure to a file that ends in .svg, .pdf or .png."""
        path = expanded(path)
        suffix = path.suffix.lower().lstrip(".")
        if suffix not in FORMATS:
            raise ConfigError(f"a figure must end in .{', .'.join(FORMATS)}, got {path}")
        with whole_file(path) as temporary:
            temporary.write_bytes(encode_figure(self.figure, suffix))

    def _repr_mimebundle_(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> tuple[Mapping[str, bytes], Mapping[str, Mapping[str, int]]]:
        """The image, and the width to show it at: it has more dots than a screen."""
        return {"image/png": encode_figure(self.figure, "png")}, {"image/png": {"width": 640}}


class Curve:
    """The coding length for each number of clusters, and the number that it favours."""

    def __init__(self, curve: KCurve, verdict: KVerdict, used: int) -> None:
        self.verdict = verdict
        """The verdict on the curve: its sentence, k and advice."""
        self._curve, self._used = curve, used

    @property
    def points(self) -> Sequence[CurvePoint]:
        """A point for each k that was tried, in ascending order."""
        return self._curve.points

    @property
    def k(self) -> int:
        """The number of clusters that is chosen."""
        return self._curve.chosen.k

    @property
    def as_good(self) -> list[int]:
        """The k whose codes are as short as the shortest, given how much codes vary."""
        return [point.k for point in self.points if point.is_as_good]

    @cached_property
    def figure(self) -> RunFigure:
        """The curve as a figure."""
        import matplotlib

        with matplotlib.rc_context({**STYLE}):
            return RunFigure(draw_curve(self._curve, self._used))

    def save(self, path: str | Path) -> None:
        """Writes the figure to a file that ends in .svg, .pdf or .png."""
        self.figure.save(path)

    def __repr__(self) -> str:
        return f"<{self.verdict.sentence}>"

    def _repr_mimebundle_(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> tuple[Mapping[str, bytes], Mapping[str, Mapping[str, int]]]:
        return self.figure._repr_mimebundle_(include, exclude)
