"""Figures of the method, drawn from a run of the digits and with the code that made it.

No figure uses labels: colours and groups are the clusters of the run.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.view.spectra import (
    absolute_cosines,
    contrast,
    second_moment,
    singular_values,
)
from cpp_pipe.stages.algorithms.heads import principal_directions, unit_rows
from cpp_pipe.stages.algorithms.rates import coding_rate, conditional_rate
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.rows.artifact_rows import gather

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
"""Okabe's and Ito's colours, which colour-blind readers can tell apart."""

HEAT = "cividis"
EPS_SQ = 0.1
"""ε² of the paper, and of every default."""

COLOURS = 128
"""Colours of a PNG's palette."""

ROWS_OF_A_CLUSTER = 30
"""Digits per cluster in a heat map: few enough that a row of ten clusters stays visible."""

STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "svg.hashsalt": "cpp-pipe",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Digits:
    """Contents of a run of the digits, with rows sorted by cluster."""

    run: Run
    x: np.ndarray
    """(n, d) embeddings, float32."""
    z: np.ndarray
    """(n, p) features, float32."""
    c: np.ndarray
    """(n, p) cluster features, float32."""
    clusters: np.ndarray
    confidence: np.ndarray
    rows: np.ndarray
    """Row numbers in the run."""

    @classmethod
    def of(cls, run: Run) -> "Digits":
        """Reads a run that has clusters."""
        clusters = np.array(run.artifact("assignments").column("cluster"))
        order = np.argsort(clusters, kind="stable")
        features = run.artifact("features")
        return cls(
            run=run,
            x=gather(run.artifact("embeddings"))[order].astype(np.float32),
            z=gather(features, "z")[order].astype(np.float32),
            c=gather(features, "c")[order].astype(np.float32),
            clusters=clusters[order],
            confidence=np.array(run.artifact("assignments").column("confidence"))[order],
            rows=order,
        )

    @property
    def k(self) -> int:
        """The number of clusters."""
        return int(self.clusters.max()) + 1

    def first_of_each(self, count: int) -> np.ndarray:
        """Indices of the first rows of each cluster, one cluster after another."""
        return np.concatenate(
            [np.flatnonzero(self.clusters == cluster)[:count] for cluster in range(self.k)]
        )

    def words(self) -> dict[int, list[tuple[str, float]]]:
        """Each cluster's captions and their shares of its votes, best first."""
        captions = self.run.artifact("captions")
        words: dict[int, list[tuple[str, float]]] = {}
        for row in captions.table(captions.only_part).to_pylist():
            words.setdefault(row["cluster"], []).append((row["caption"], row["score"]))
        return words


def draw_embeddings(digits: Digits) -> Figure:
    """Digits at the positions of their embeddings on the two leading principal directions."""
    mean, directions = principal_directions(torch.from_numpy(digits.x), 2)
    positions = (digits.x - mean.numpy()) @ directions.numpy().T
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(positions[:, 0], positions[:, 1], s=3, color="#cccccc")
    for index in digits.first_of_each(14):
        ink = np.asarray(digits.run.image(int(digits.rows[index])).convert("L"))
        # Black, with the ink as opacity: overlapping digits stay legible.
        rgba = np.zeros((*ink.shape, 4), np.uint8)
        rgba[..., 3] = ink
        image = OffsetImage(rgba, zoom=18 / len(ink))
        axes.add_artist(AnnotationBbox(image, tuple(positions[index]), frameon=False, pad=0))
    axes.set(xlabel="first principal direction", ylabel="second principal direction")
    return figure


def draw_rates(_: Digits) -> Figure:
    """The two rates of three sets of unit vectors in the plane, each in two groups."""
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.06, size=60)
    halves = np.repeat([0, 1], 30)
    around = generator.uniform(0, 2 * np.pi, 60)
    angles = {"all in one place": noise + 0.6, "groups at right angles": halves * np.pi / 2 + noise}
    angles |= {"groups mixed": around}
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, (title, angle) in zip(figure.subplots(1, 3), angles.items(), strict=True):
        z = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], 1))
        pi = torch.eye(2, dtype=z.dtype)[torch.from_numpy(halves)]
        rate = float(coding_rate(z, eps_sq=EPS_SQ))
        parts = float(conditional_rate(z, pi, eps_sq=EPS_SQ))
        for group, colour in enumerate((BLUE, ORANGE)):
            x, y = z[halves == group].numpy().T
            axes.plot([x * 0, x], [y * 0, y], color=colour, lw=0.6)
            axes.scatter(x, y, s=8, color=colour)
        axes.set_title(f"{title}\nR = {rate:.2f}   Rc = {parts:.2f}   R − Rc = {rate - parts:.2f}")
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
    return figure


def draw_cosines(digits: Digits) -> Figure:
    """|cosine| between digits, sorted by cluster, before and after training."""
    indices = digits.first_of_each(ROWS_OF_A_CLUSTER)
    counts = np.bincount(digits.clusters[indices]).tolist()
    before = _start(digits)[indices]
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, title, rows in zip(
        panels, ("before training", "after training"), (before, digits.z[indices]), strict=True
    ):
        cosines = absolute_cosines(rows)
        within, between = contrast(cosines, counts)
        _draw_heat(axes, cosines, 1)
        axes.set_title(f"{title}: {within:.2f} within a cluster, {between:.2f} between")
    colours = ScalarMappable(Normalize(0, 1), HEAT)
    figure.colorbar(colours, ax=panels, shrink=0.8, label="|cosine|, and its means above")
    return figure


def _start(digits: Digits) -> np.ndarray:
    """The features at the start of training: unit rows on the principal directions."""
    mean, directions = principal_directions(torch.from_numpy(digits.x), digits.z.shape[1])
    return unit_rows((torch.from_numpy(digits.x) - mean) @ directions.T).numpy()


def draw_memberships(digits: Digits) -> Figure:
    """The memberships of the same digits at three temperatures."""
    indices = digits.first_of_each(ROWS_OF_A_CLUSTER)
    clusters = digits.clusters[indices]
    c = torch.from_numpy(digits.c[indices])
    even = 1 / ROWS_OF_A_CLUSTER  # if a row belongs equally to all rows of its cluster
    figure = Figure(figsize=(9.6, 3.5), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, eta in zip(panels, (0.05, 0.13, 0.5), strict=True):
        pi = membership((c @ c.mT).abs(), eta=eta).numpy()
        _draw_heat(axes, pi, even)
        inside = np.equal.outer(clusters, clusters)
        share = (pi * inside).sum() / pi.sum()
        axes.set_title(f"η = {eta:g}: {share:.0%} inside clusters")
    colours = ScalarMappable(Normalize(0, even), HEAT)
    figure.colorbar(colours, ax=panels, shrink=0.8, label="membership", extend="max")
    return figure


def draw_directions(digits: Digits) -> Figure:
    """Singular values of each cluster, before and after training: the directions that it fills."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    before = _start(digits)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, rows in zip(
        panels, ("before training", "after training"), (before, digits.z), strict=True
    ):
        values = singular_values(second_moment(rows), len(rows))
        axes.plot(range(1, len(values) + 1), values, color=GREY, lw=2.5, label="all digits")
        for cluster in range(digits.k):
            members = rows[digits.clusters == cluster]
            values = singular_values(second_moment(members), len(members))
            label = "one cluster" if cluster == 0 else None
            axes.plot(range(1, len(values) + 1), values, color=BLUE, lw=0.8, label=label)
        axes.set(title=title, xlabel="direction", ylim=(0, 1.05))
    panels[0].set_ylabel("singular value, of the largest")
    panels[0].legend(frameon=False)
    return figure


def draw_clusters(digits: Digits) -> Figure:
    """A row per cluster: its caption, its most confident digits, and its least confident ones."""
    most, least = 9, 4
    words = digits.words()
    figure = Figure(figsize=(8, 0.52 * digits.k + 0.5), layout="constrained")
    grid = figure.subplots(digits.k, most + 1 + least, squeeze=False)
    for cluster, row in enumerate(grid):
        members = np.flatnonzero(digits.clusters == cluster)
        members = members[np.argsort(-digits.confidence[members], kind="stable")]
        shown = [*members[:most], None, *members[-least:]]
        for axes, index in zip(row, shown, strict=True):
            axes.axis("off")
            if index is not None:
                axes.imshow(digits.run.image(int(digits.rows[index])).convert("L"), cmap="gray")
        row[0].text(
            -0.25, 0.5, words[cluster][0][0], ha="right", va="center", transform=row[0].transAxes
        )
    grid[0][most // 2].set_title("most confident", fontsize=9)
    grid[0][most + 1 + least // 2].set_title("least confident", fontsize=9)
    return figure


def draw_votes(digits: Digits) -> Figure:
    """The shares of each cluster's votes for its three best captions."""
    words = digits.words()
    figure = Figure(figsize=(7, 0.3 * digits.k + 0.8), layout="constrained")
    axes = figure.subplots()
    for rank, colour in enumerate((BLUE, ORANGE, GREEN)):
        starts = [sum(score for _, score in captions[:rank]) for captions in words.values()]
        widths = [captions[rank][1] for captions in words.values()]
        axes.barh(list(words), widths, left=starts, color=colour, height=0.8)
        for cluster, start, width in zip(words, starts, widths, strict=True):
            if width > 0.06:
                middle, caption = start + width / 2, words[cluster][rank][0]
                axes.text(middle, cluster, caption, ha="center", va="center", color="white")
    axes.set(xlim=(0, 1), xlabel="share of the cluster's votes", ylabel="cluster")
    axes.set_yticks(list(words))
    axes.invert_yaxis()
    return figure


def draw_hierarchy(digits: Digits) -> Figure:
    """The tree that merges the finest clusters, each with its caption.

    The run's clusters must be the finest level, so that a cluster's number is that of its leaf.
    """
    hierarchy = digits.run.artifact("hierarchy")
    rows = hierarchy.table(hierarchy.only_part).to_pylist()
    leaves, mergings = rows[0]["level"], rows[1:]
    children = {row["parent"]: (row["left"], row["right"]) for row in mergings}
    heights = {row["parent"]: leaves - row["level"] for row in mergings}
    positions = {leaf: float(x) for x, leaf in enumerate(_leaves_below(max(children), children))}
    sizes, words = np.bincount(digits.clusters, minlength=leaves), digits.words()
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for parent, pair in children.items():
        left, right = (positions[child] for child in pair)
        feet = [heights.get(child, 0) for child in pair]
        top = heights[parent]
        axes.plot([left, left, right, right], [feet[0], top, top, feet[1]], color=BLUE, lw=1)
        positions[parent] = (left + right) / 2
    names = {leaf: f"{words[leaf][0][0]} ({sizes[leaf]})" for leaf in range(leaves)}
    axes.set_xticks([positions[leaf] for leaf in names], list(names.values()), rotation=70)
    counts = range(0, leaves, max(1, leaves // 10))
    axes.set_yticks(list(counts), [str(leaves - count) for count in counts])
    axes.set_ylabel("clusters left")
    axes.tick_params(length=0)
    return figure


def _leaves_below(node: int, children: Mapping[int, tuple[int, int]]) -> list[int]:
    if node not in children:
        return [node]
    return [leaf for child in children[node] for leaf in _leaves_below(child, children)]


def _draw_heat(axes: Axes, values: np.ndarray, most: float) -> None:
    """Draws a matrix as a heat map, without a frame."""
    axes.imshow(values, cmap=HEAT, vmin=0, vmax=most, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


OF_CLUSTERS: Sequence[Callable[[Digits], Figure]] = (
    draw_embeddings,
    draw_rates,
    draw_cosines,
    draw_memberships,
    draw_directions,
    draw_clusters,
    draw_votes,
)
OF_LEVELS: Sequence[Callable[[Digits], Figure]] = (draw_hierarchy,)

AS_SVG = (draw_rates, draw_directions, draw_votes, draw_hierarchy)
"""Figures of lines and words; those with pixels are smaller as PNG."""


def draw_all(clusters: Run, levels: Run) -> dict[str, bytes]:
    """The bytes of every figure by file name.

    `clusters` is a run of the digits with captions; in `levels` the clusters are the finest level
    of the hierarchy.
    """
    drawn = {}
    for run, figures in ((clusters, OF_CLUSTERS), (levels, OF_LEVELS)):
        digits = Digits.of(run)
        for draw in figures:
            suffix = "svg" if draw in AS_SVG else "png"
            with rc_context(STYLE):
                drawn[f"{draw.__name__.removeprefix('draw_')}.{suffix}"] = _saved(
                    draw(digits), suffix
                )
    return drawn


def _saved(figure: Figure, suffix: str) -> bytes:
    file = io.BytesIO()
    if suffix == "svg":
        # Without a date, the same run gives the same bytes.
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()
    figure.savefig(file, format="png", dpi=130)
    # A palette takes a third of the bytes without a visible difference.
    small = io.BytesIO()
    Image.open(file).convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()
