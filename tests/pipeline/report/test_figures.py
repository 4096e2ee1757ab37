"""Figures: what they show of what they are given, and what their markup holds."""

import re
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cpp_pipe.pipeline.report import figures
from cpp_pipe.pipeline.report.svg import inline
from cpp_pipe.pipeline.report.theme import DARK, LIGHT

from .contents import CURVE, some_contents, spread

CONTENTS = some_contents()

DRAWN: dict[str, tuple[Any, ...]] = {
    "curve": (figures.draw_curve, CURVE, 12),
    "bars": (figures.draw_sizes, np.array([5, 3, 1]), [2, 0, 1]),
    "ranks": (figures.draw_sizes, np.arange(100, 0, -1), list(range(100))),
    "cosines": (figures.draw_cosines, CONTENTS.raw.cosines, CONTENTS.sample.pictured),
    "values": (figures.draw_singular_values, CONTENTS.raw),
    "confidence": (figures.draw_confidence, CONTENTS.tally.bins),
    "novelty": (figures.draw_novelty, CONTENTS.tally.novelty_bins, 1.0),
    "deciles": (figures.draw_deciles, CONTENTS.evaluation.deciles if CONTENTS.evaluation else ()),
}


def bars(panel: Axes) -> list[Rectangle]:
    """The rectangles of a panel: its bars, or its shade."""
    return [patch for patch in panel.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_bytes(name):
    assert inline(name, "alt", *DRAWN[name]) == inline(name, "alt", *DRAWN[name])


@pytest.mark.parametrize("name", DRAWN)
def test_the_colours_of_a_figure_are_those_of_the_page(name):
    svg = inline(name, "alt", *DRAWN[name])
    colours = set(re.findall(r"#[0-9a-f]{6}", re.sub(r"base64,[^\"]*", "", svg)))
    assert colours == set()
    assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(LIGHT)


@pytest.mark.parametrize("name", DRAWN)
def test_ids_are_unique_to_the_figure_and_lead_somewhere(name):
    svg = inline(name, "alt", *DRAWN[name])
    ids = re.findall(r' id="([^"]*)"', svg)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    assert len(ids) == len(set(ids))
    assert set(ids) == used
    assert all(one.startswith(f"{name}-") for one in ids)


@pytest.mark.parametrize("name", DRAWN)
def test_markup_holds_no_style_no_date_and_no_address(name):
    svg = inline(name, "a < b", *DRAWN[name])
    assert svg.startswith('<svg viewBox="0 0 ') and 'aria-label="a &lt; b"' in svg
    for word in ("http", "<style", "<metadata", "<!--", "<?xml", "DOCTYPE", "xlink"):
        assert word not in svg


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    inline("curve", "alt", *DRAWN["curve"])
    assert dict(matplotlib.rcParams) == before


def test_dark_has_a_colour_for_each_light_one():
    assert set(DARK) == set(LIGHT)
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_the_curve_marks_the_chosen_k_the_flat_range_and_the_votes():
    lengths, votes = figures.draw_curve(CURVE, used=5).axes
    line, chosen = lengths.get_lines()
    assert np.asarray(line.get_ydata()).tolist() == [300, 100, 10, 0, 40, 200, 600]
    assert np.asarray(chosen.get_xydata()).tolist() == [[5, 0]]
    (shade,) = bars(lengths)
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (3.5, 6.5)
    assert votes.get_ylabel() == "votes"
    assert lengths.get_xscale() == "log"


def test_a_curve_without_resamples_has_no_band_no_votes_and_no_shade():
    nothing = [None] * len(CURVE.k)
    alone = tuple(k == CURVE.shortest for k in CURVE.k)
    bare = replace(CURVE, low=nothing, high=nothing, votes=nothing, as_good=alone)
    (panel,) = figures.draw_curve(bare, used=5).axes
    assert not panel.patches and not panel.collections
    assert len(figures.draw_curve(CURVE, used=5).axes[0].collections) == 1


def test_a_number_of_clusters_that_was_not_chosen_is_marked_where_the_curve_has_it():
    told = [[one.get_text() for one in figures.draw_curve(CURVE, k).axes[0].texts] for k in (5, 12)]
    assert told == [["k = 5"], ["k = 5", "this run: 12"]]
    beyond = figures.draw_curve(CURVE, used=99).axes[0]
    assert [one.get_text() for one in beyond.texts] == ["k = 5"]


def test_a_curve_of_one_k_can_be_drawn():
    one = replace(
        CURVE,
        **{name: getattr(CURVE, name)[3:4] for name in ("k", "nats", "low", "high", "votes")},
        as_good=(True,),
    )
    assert "k = 5" in inline("curve", "alt", figures.draw_curve, one, 5)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], []),
        ([False], []),
        ([True], [(0, 0)]),
        ([True, True, False, True], [(0, 1), (3, 3)]),
    ],
)
def test_runs_are_neighbours_that_are_all_true(claims, expected):
    assert figures.runs_of(claims) == expected


def test_few_sizes_are_bars_and_many_are_a_curve():
    few = figures.draw_sizes(np.array([5, 3, 1]), [2, 0, 1]).axes[0]
    assert [bar.get_height() for bar in bars(few)] == [5, 3, 1]
    assert [one.get_text() for one in few.get_xticklabels()] == ["2", "0", "1"]
    many = figures.draw_sizes(np.arange(100, 0, -1), list(range(100))).axes[0]
    assert not many.patches and many.get_yscale() == "log"


def test_the_picture_of_cosines_keeps_rows_cluster_by_cluster():
    x, cluster = spread(3, rows=60)
    pictured = {2: 20, 0: 20, 1: 20}
    order = np.concatenate([np.flatnonzero(cluster == one) for one in pictured])
    unit = x[order] / np.linalg.norm(x[order].astype(np.float32), axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)
    panel = figures.draw_cosines(cosines, pictured).axes[0]
    shown = np.asarray(panel.images[0].get_array())
    # Half a level of the 64 that are told apart.
    assert np.abs(shown - np.clip(cosines, 0, 1)).max() <= 0.5 / 63 + 1e-6
    assert [one.get_text() for one in panel.get_xticklabels()] == ["2", "0", "1"]
    assert panel.get_xticks().tolist() == [9.5, 29.5, 49.5]
    blocks = shown.reshape(3, 20, 3, 20).mean(axis=(1, 3))
    assert blocks.argmax(axis=1).tolist() == [0, 1, 2]


def test_confidence_is_gathered_into_bars():
    bins = np.zeros(1000, int)
    bins[[0, 49, 999]] = 1
    heights = [bar.get_height() for bar in bars(figures.draw_confidence(bins).axes[0])]
    assert heights == [2, *[0] * 18, 1]
