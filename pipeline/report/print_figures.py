"""Figures of a run for print: those of the paper, in the look of the report."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...stages.contract import Progress
from ...stages.drawing.curve_figure import draw_curve
from ...stages.drawing.figure_style import LIGHT, STYLE
from ...stages.rows.artifact_rows import EMBEDDING
from ...store import ConfigError, MissingError
from ..view.captions import first_captions
from ..view.columns import read_rows
from ..view.curve import read_curve
from ..view.opened_run import OpenedRun
from .contents import Sample, Space, Tally
from .counts import count, surest_and_doubtful
from .figures import draw_heat_map, draw_heat_scale, draw_values
from .fonts import choose_families, fit_text
from .members import Members
from .mosaics import Tiles
from .neighbours import find_nearest
from .reader import sample_rows
from .spaces import measure_space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType
    from PIL import Image

_WIDTH = 6.9
"""Inches: the text of a page in two columns."""

_STYLE: "Mapping[RcKeyType, Any]" = {
    "font.size": 8,
    "axes.labelcolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "axes.titlesize": 8.5,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
"""On paper text is darker than on a screen, and needs no font of the reader's machine."""

_METADATA: Mapping[str, Mapping[str, None]] = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
    "png": {"Software": None},
}
"""Metadata that files of each suffix go without, so that they do not differ from day to day."""

FORMATS = tuple(_METADATA)

_DOTS_PER_INCH = 300
_TILE = 160
"""Pixels of an image."""
_CLUSTERS, _IMAGES = 8, 8
"""Clusters whose images are shown, and images of each."""
_NEIGHBOURHOODS, _NEIGHBOURS = 6, 5


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The values that the figures of a run are drawn from."""

    run: OpenedRun
    members: Members
    tally: Tally
    sample: Sample
    names: Mapping[int, str]

    @classmethod
    def of(cls, run: OpenedRun) -> "_Source":
        members = Members(assignments=run.require_current("assignments"))
        tally = count(members.counted_parts(), members.k)
        captions = run.show("captions")
        return cls(
            run=run,
            members=members,
            tally=tally,
            sample=sample_rows(members, tally),
            names={} if captions is None else first_captions(captions),
        )

    def spaces(self) -> tuple[Space, Space]:
        """The geometry of the sampled rows in the embeddings, and in the features."""
        run = self.run
        return (
            measure_space(run.artifact("embeddings"), EMBEDDING, self.sample),
            measure_space(run.require_current("features"), "z", self.sample),
        )


def draw_figure(run: OpenedRun, name: str, progress: Progress) -> "Figure":
    """A figure of a run, by its name; ConfigError for an unknown one.

    MissingError if the run lacks what it shows, with the command that makes it.
    """
    return draw_figures(run, [name], progress)[name]()


def draw_figures(
    run: OpenedRun, names: Sequence[str], progress: Progress
) -> "Mapping[str, Callable[[], Figure]]":
    """Functions that draw figures of a run, by their names; counts and samples are read once."""
    require_figures(names)
    source = _Source.of(run)
    return {
        name: lambda draw=FIGURES[name]: _styled(lambda: draw(source, progress)) for name in names
    }


def require_figures(names: Sequence[str]) -> None:
    """ConfigError if a name is not that of a figure."""
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ConfigError(f"no figure is called {unknown[0]!r}: they are {', '.join(FIGURES)}")


def _styled(draw: "Callable[[], Figure]") -> "Figure":
    with _print_style():
        return draw()


@contextmanager
def _print_style() -> Iterator[None]:
    """The style of figures for print, while they are drawn and encoded."""
    import matplotlib

    with matplotlib.rc_context({**STYLE, **_STYLE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # choose_families warns of it
        yield


def encode_figure(figure: "Figure", suffix: str) -> bytes:
    """A figure as the bytes of a file: svg, pdf or png. Equal figures give equal bytes."""
    buffer = io.BytesIO()
    with _print_style():
        figure.savefig(buffer, format=suffix, dpi=_DOTS_PER_INCH, metadata={**_METADATA[suffix]})
    return buffer.getvalue()


def _draw_cosines(source: _Source, progress: Progress) -> "Figure":
    from matplotlib.figure import Figure

    rows = source.sample.heat_map_rows
    figure = Figure(figsize=(_WIDTH, 0.5 * _WIDTH), layout="constrained")
    before, after, scale = figure.subplots(1, 3, width_ratios=(24, 24, 1))
    for panel, space, title in zip((before, after), source.spaces(), _SPACES, strict=True):
        draw_heat_map(panel, space.cosines, rows)
        panel.set_title(f"{title}: |cosine|")
    draw_heat_scale(scale)
    return figure


def _draw_values(source: _Source, progress: Progress) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 2.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, space, title in zip(panels, source.spaces(), _SPACES, strict=True):
        draw_values(panel, space)
        panel.set_title(title)
        panel.grid(axis="y")
        panel.tick_params(length=0)
    panels[0].set_ylabel("singular value, share of the largest")
    panels[1].legend(loc="best")
    return figure


_SPACES = ("Embeddings", "Features")


def _draw_curve(source: _Source, progress: Progress) -> "Figure":
    run = source.run
    if run.find("k_curve") is None:
        raise MissingError(f"there is no curve of k yet: run `{run.command('select-k')}`")
    curve = read_curve(run.require_current("k_curve"))
    return draw_curve(curve, int(source.members.assignments.facts["k"]))


def _draw_clusters(source: _Source, progress: Progress) -> "Figure":
    filled = [cluster for cluster in source.tally.largest_first if source.tally.sizes[cluster]]
    chosen = surest_and_doubtful(source.members.parts(), filled[:_CLUSTERS], _IMAGES, 0)
    rows = [surest for surest, _ in chosen.values()]
    titles = [source.names.get(cluster, f"cluster {cluster}") for cluster in chosen]
    sizes = [f" ({source.tally.sizes[cluster]:,})" for cluster in chosen]
    tiles = _read_tiles(source.run, rows, progress)
    return _draw_lines(titles, [tiles], [None], _IMAGES, sizes)


def _draw_neighbours(source: _Source, progress: Progress) -> "Figure":
    run = source.run
    embeddings, features = run.artifact("embeddings"), run.require_current("features")
    if embeddings.rows < 2:
        raise MissingError("a run of one image has no neighbours")
    of_cluster = list(source.sample.of_cluster.items())[:_NEIGHBOURHOODS]
    first = np.array([rows[0] for _, rows in of_cluster])
    nearest = [find_nearest(space, first, _NEIGHBOURS) for space in (embeddings, features)]
    lists = [[row, *near] for row, near in zip(first.tolist(), nearest[0].tolist(), strict=True)]
    before = _read_tiles(run, lists, progress)
    after = _read_tiles(run, nearest[1].tolist(), progress)
    own = np.array([cluster for cluster, _ in of_cluster])[:, None]
    is_other = [_clusters(source, near) != own for near in nearest]
    framed = [np.concatenate([np.zeros((len(first), 1), bool), is_other[0]], axis=1), is_other[1]]
    titles = [source.names.get(cluster, f"cluster {cluster}") for cluster, _ in of_cluster]
    return _draw_lines(titles, [before, after], framed, _NEIGHBOURS + 1)


def _clusters(source: _Source, rows: np.ndarray) -> np.ndarray:
    values = read_rows(source.members.assignments, rows.ravel(), ("cluster",))
    return np.array([value["cluster"] for value in values]).reshape(rows.shape)


def _read_tiles(
    run: OpenedRun, rows: Sequence[Sequence[int]], progress: Progress
) -> "list[list[Image.Image | None]]":
    """Images of rows; MissingError if none can be read."""
    progress.start("figures: images", sum(map(len, rows)), "images")
    tiles, lines = Tiles(run), []
    for images in tiles.read_many(rows, _TILE):
        lines.append(images)
        progress.advance(len(images))
    progress.end()
    if all(image is None for line in lines for image in line):
        raise MissingError(f"no image can be read where it was embedded from: {tiles.trouble}")
    return lines


def _draw_lines(
    titles: Sequence[str],
    blocks: "Sequence[Sequence[Sequence[Image.Image | None]]]",
    framed: Sequence[np.ndarray | None],
    most: int,
    tails: Sequence[str] = (),
) -> "Figure":
    """A line of images below each title, in one block or in two beside each other.

    A title that is too wide is cut before its tail.
    """
    from matplotlib.figure import Figure

    across = sum(max(map(len, block)) for block in blocks) + 0.4 * (len(blocks) - 1)
    side = _WIDTH / max(across, most)
    height = len(titles) * (side + 0.22) + (0.22 if len(blocks) > 1 else 0)
    figure = Figure(figsize=(_WIDTH, height))
    families = choose_families(titles)
    left = 0.0
    for number, (block, marks) in enumerate(zip(blocks, framed, strict=True)):
        if len(blocks) > 1:
            shift = side if number == 0 else 0  # in the first block, the query comes first
            if number == 0:
                figure.text(0, 1 - 0.15 / height, "image", fontsize=8.5, color=LIGHT["ink"])
            figure.text((left + shift) / _WIDTH, 1 - 0.15 / height, _HEADS[number],
                        fontsize=8.5, color=LIGHT["ink"])  # fmt: skip
        for line, images in enumerate(block):
            top = height - (0.22 if len(blocks) > 1 else 0) - line * (side + 0.22)
            if number == 0:
                place = 0, (top - 0.16) / height
                title = figure.text(
                    *place, "", fontsize=8, fontweight="bold", fontfamily=families, parse_math=False
                )
                fit_text(title, titles[line], tails[line] if tails else "")
            for place, image in enumerate(images):
                box = (left + place * side, top - 0.21 - side, 0.96 * side, 0.96 * side)
                panel = figure.add_axes(
                    (box[0] / _WIDTH, box[1] / height, box[2] / _WIDTH, box[3] / height)
                )
                _draw_tile(panel, image, marks is not None and bool(marks[line][place]))
        left += (max(map(len, block)) + 0.4) * side
    return figure


_HEADS = ("nearest by embeddings", "nearest by features")


def _draw_tile(panel: "Axes", image: "Image.Image | None", is_framed: bool) -> None:
    """An image; one of another cluster has a frame, and a missing one is grey."""
    panel.set_xticks([])
    panel.set_yticks([])
    if image is None:
        panel.set_facecolor(LIGHT["line"])
    else:
        panel.imshow(np.asarray(image), interpolation="none")
    for spine in panel.spines.values():
        spine.set_visible(is_framed)
        spine.set(color=LIGHT["orange"], linewidth=2)


FIGURES: "Mapping[str, Callable[[_Source, Progress], Figure]]" = {
    "cosines": _draw_cosines,
    "singular-values": _draw_values,
    "k-curve": _draw_curve,
    "clusters": _draw_clusters,
    "neighbours": _draw_neighbours,
}
"""The function that draws each figure: block-diagonal cosines, singular values (both before and
after), the curve of k, captioned clusters with images, and neighbours in both spaces."""
