"""The contents of figures, and their markup."""

import re
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cpp_pipe.pipeline.report import figures
from cpp_pipe.pipeline.report.svg import draw_svg
from cpp_pipe.pipeline.report.theme import DARK, LIGHT
from cpp_pipe.stages.drawing.curve_figure import draw_curve, find_runs

from .contents import CURVE, make_contents, make_rows

CONTENTS = make_contents()

DRAWN: dict[str, tuple[Any, ...]] = {
    "curve": (draw_curve, CURVE, 12),
    "bars": (figures.draw_sizes, np.array([5, 3, 1]), [2, 0, 1]),
    "ranks": (figures.draw_sizes, np.arange(100, 0, -1), list(range(100))),
    "cosines": (figures.draw_cosines, CONTENTS.raw.cosines, CONTENTS.sample.heat_map_rows),
    "values": (figures.draw_singular_values, CONTENTS.raw),
    "confidence": (figures.draw_confidence, CONTENTS.tally.bins),
    "novelty": (figures.draw_novelty, CONTENTS.tally.novelty_bins, 1.0),
    "deciles": (figures.draw_deciles, CONTENTS.evaluation.deciles if CONTENTS.evaluation else ()),
}


def bars(panel: Axes) -> list[Rectangle]:
    """The rectangles of a panel: bars, or a shaded range."""
    return [patch for patch in panel.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_bytes(name):
    assert draw_svg(name, "alt", *DRAWN[name]) == draw_svg(name, "alt", *DRAWN[name])


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_only_the_colours_of_the_theme(name):
    svg = draw_svg(name, "alt", *DRAWN[name])
    colours = set(re.findall(r"#[0-9a-f]{6}", re.sub(r"base64,[^\"]*", "", svg)))
    assert colours == set()
    assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(LIGHT)


@pytest.mark.parametrize("name", DRAWN)
def test_ids_are_unique_and_referenced(name):
    svg = draw_svg(name, "alt", *DRAWN[name])
    ids = re.findall(r' id="([^"]*)"', svg)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    assert len(ids) == len(set(ids))
    assert set(ids) == used
    assert all(id_.startswith(f"{name}-") for id_ in ids)


@pytest.mark.parametrize("name", DRAWN)
def test_markup_has_no_style_no_date_and_no_address(name):
    svg = draw_svg(name, "a < b", *DRAWN[name])
    assert svg.startswith('<svg viewBox="0 0 ') and 'aria-label="a &lt; b"' in svg
    for word in ("http", "<style", "<metadata", "<!--", "<?xml", "DOCTYPE", "xlink"):
        assert word not in svg


def test_features_of_equal_images_are_drawn_without_a_warning():
    """Centred, they are zero, and a logarithmic axis has no place for them."""
    zero = np.zeros(3)
    svg = draw_svg("a", "b", figures.draw_singular_values, replace(
        CONTENTS.refined, overall=zero, of_cluster=[zero, zero]
    ))  # fmt: skip
    assert "all images" in svg


def test_drawing_does_not_change_the_settings_of_matplotlib():
    before = dict(matplotlib.rcParams)
    draw_svg("curve", "alt", *DRAWN["curve"])
    assert dict(matplotlib.rcParams) == before


def test_each_light_colour_has_a_dark_one():
    assert set(DARK) == set(LIGHT)
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_the_curve_marks_the_shortest_k_the_flat_range_and_the_votes():
    lengths, votes = draw_curve(CURVE, used=5).axes
    line, dot = lengths.get_lines()
    assert np.asarray(line.get_ydata()).tolist() == [300, 100, 10, 0, 40, 200, 600]
    assert np.asarray(dot.get_xydata()).tolist() == [[5, 0]]
    (shade,) = bars(lengths)
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (3.5, 6.5)
    assert votes.get_ylabel() == "votes"
    assert lengths.get_xscale() == "log"


def test_a_curve_without_resamples_has_no_band_no_votes_and_no_shade():
    points = tuple(
        replace(point, low=None, high=None, votes=None, is_as_good=point.is_shortest)
        for point in CURVE.points
    )
    (panel,) = draw_curve(replace(CURVE, points=points), used=5).axes
    assert not panel.patches and not panel.collections
    assert len(draw_curve(CURVE, used=5).axes[0].collections) == 1


def test_the_number_of_clusters_in_use_is_marked_on_the_curve():
    for used, expected in ((5, ["k = 5"]), (12, ["k = 5", "this run: 12"]), (99, ["k = 5"])):
        panel = draw_curve(CURVE, used).axes[0]
        assert [text.get_text() for text in panel.texts] == expected


def test_a_curve_with_a_single_k_can_be_drawn():
    curve = replace(CURVE, points=CURVE.points[3:4])
    assert "k = 5" in draw_svg("curve", "alt", draw_curve, curve, 5)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], []),
        ([False], []),
        ([True], [(0, 0)]),
        ([True, True, False, True], [(0, 1), (3, 3)]),
    ],
)
def test_runs_of_true_values_are_found(claims, expected):
    assert find_runs(claims) == expected


def test_few_sizes_are_bars_and_many_are_a_curve():
    few = figures.draw_sizes(np.array([5, 3, 1]), [2, 0, 1]).axes[0]
    assert [bar.get_height() for bar in bars(few)] == [5, 3, 1]
    assert [label.get_text() for label in few.get_xticklabels()] == ["2", "0", "1"]
    many = figures.draw_sizes(np.arange(100, 0, -1), list(range(100))).axes[0]
    assert not many.patches and many.get_yscale() == "log"


def test_the_heat_map_shows_cosines_cluster_by_cluster():
    x, cluster = make_rows(3, rows=60)
    counts = {2: 20, 0: 20, 1: 20}
    order = np.concatenate([np.flatnonzero(cluster == number) for number in counts])
    unit = x[order] / np.linalg.norm(x[order].astype(np.float32), axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)
    panel = figures.draw_cosines(cosines, counts).axes[0]
    shown = np.asarray(panel.images[0].get_array())
    # Half of one of the 64 levels.
    assert np.abs(shown - np.clip(cosines, 0, 1)).max() <= 0.5 / 63 + 1e-6
    assert [label.get_text() for label in panel.get_xticklabels()] == ["2", "0", "1"]
    assert panel.get_xticks().tolist() == [9.5, 29.5, 49.5]
    blocks = shown.reshape(3, 20, 3, 20).mean(axis=(1, 3))
    assert blocks.argmax(axis=1).tolist() == [0, 1, 2]


def test_confidence_is_drawn_in_twenty_bars():
    bins = np.zeros(1000, int)
    bins[[0, 49, 999]] = 1
    heights = [bar.get_height() for bar in bars(figures.draw_confidence(bins).axes[0])]
    assert heights == [2, *[0] * 18, 1]
