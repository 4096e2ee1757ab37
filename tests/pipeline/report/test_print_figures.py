"""`cpp-pipe figures`: the files that it writes, and their contents."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.report.fonts import choose_families
from cpp_pipe.pipeline.report.print_figures import (
    FIGURES,
    _draw_lines,  # pyright: ignore[reportPrivateUsage]
    _styled,  # pyright: ignore[reportPrivateUsage]
    draw_figures,
    encode_figure,
)
from cpp_pipe.stages.contract import Silent

from ..cli import fail, succeed
from ..whole_store import make_whole_store


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards) -> Path:
    return make_whole_store(tmp_path_factory.mktemp("figures") / "artifacts", digit_shards)


@pytest.fixture(scope="module")
def drawn(store) -> dict:
    run = Run.open(store)
    return {name: draw() for name, draw in draw_figures(run, list(FIGURES), Silent()).items()}


def test_every_figure_is_written_in_every_format(store, tmp_path):
    out = succeed(store, "figures", "--out", tmp_path / "figures").out
    paths = sorted((tmp_path / "figures").iterdir())
    assert len(paths) == 3 * len(FIGURES)
    assert all(str(path) in out for path in paths)
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in paths)


def test_figures_lie_in_the_store_unless_a_folder_is_named(store):
    succeed(store, "figures", "--only", "k-curve", "--format", "svg")
    assert (store / "figures" / "default" / "k-curve.svg").is_file()
    succeed(store, "verify")


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_run_gives_the_same_bytes(store, suffix):
    run = Run.open(store)
    first, second = (
        encode_figure(draw_figures(run, ["cosines"], Silent())["cosines"](), suffix)
        for _ in range(2)
    )
    assert first == second


def test_print_has_300_dots_per_inch_and_fits_a_page(drawn):
    for name, figure in drawn.items():
        image = Image.open(io.BytesIO(encode_figure(figure, "png")))
        inches = image.width / 300
        assert inches == pytest.approx(4.6 if name == "k-curve" else 6.9, abs=0.05), name
        assert image.height / 300 < 9.5, name


def test_cosines_before_and_after_show_the_same_rows(drawn):
    before, after, _ = drawn["cosines"].axes
    shapes = [panel.images[0].get_array().shape for panel in (before, after)]
    assert shapes[0] == shapes[1] and shapes[0][0] > 30
    labels = [[label.get_text() for label in panel.get_xticklabels()] for panel in (before, after)]
    assert labels[0] == labels[1]
    assert [panel.get_title() for panel in (before, after)] == [
        "Embeddings: |cosine|",
        "Features: |cosine|",
    ]


def test_singular_values_are_of_all_images_and_of_each_cluster(store, drawn):
    clusters = len(Run.open(store).clusters())
    for panel in drawn["singular-values"].axes:
        lines = panel.get_lines()
        assert len(lines) == min(10, clusters) + 1
        assert all(np.asarray(line.get_ydata())[0] == pytest.approx(1) for line in lines)


def test_clusters_show_their_captions_and_surest_images(store, drawn):
    run = Run.open(store)
    titles = [text.get_text() for text in drawn["clusters"].texts]
    expected = [f"{cluster.caption} ({cluster.size})" for cluster in run.clusters()[:8]]
    assert titles == expected
    first = np.asarray(drawn["clusters"].axes[0].images[0].get_array())
    surest = run.image(int(run.clusters()[0].rows[0])).convert("L")
    grey = Image.fromarray(first).convert("L")
    small = np.asarray(grey.resize(surest.size, Image.Resampling.BOX))
    assert np.corrcoef(small.ravel(), np.asarray(surest).ravel())[0, 1] > 0.95


def test_neighbours_of_another_cluster_are_framed(store, drawn):
    figure = drawn["neighbours"]
    lines = min(6, len(Run.open(store).clusters()))
    assert len(figure.axes) == lines * (6 + 5)
    framed = [panel for panel in figure.axes if panel.spines["top"].get_visible()]
    assert len(framed) < len(figure.axes)
    queries = [figure.axes[6 * line] for line in range(lines)]
    assert not any(panel.spines["top"].get_visible() for panel in queries)


def test_figures_that_a_run_lacks_are_left_out_with_what_to_do(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x / np.linalg.norm(x, axis=1, keepdims=True))
    store = tmp_path / "artifacts"
    succeed(store, "import", tmp_path / "x.npz", "--model", "ViT-B-32")
    succeed(store, "assign", "--k", "3")
    done = succeed(store, "figures", "--format", "pdf")
    assert re.search(r"k-curve is left out: .*cpp-pipe select-k", done.err)
    assert "clusters is left out: no image can be read" in done.err
    names = {path.name for path in (store / "figures" / "default").iterdir()}
    assert names == {"cosines.pdf", "singular-values.pdf"}
    assert "select-k" in fail(store, "figures", "--only", "k-curve")


def test_names_and_formats_that_do_not_exist_are_refused(store, tmp_path):
    assert "they are cosines, singular-values" in fail(store, "figures", "--only", "pie")
    assert "--format must be svg, pdf, png" in fail(store, "figures", "--format", "svg,eps")
    (tmp_path / "file").write_text("")
    assert "is a file" in fail(store, "figures", "--out", tmp_path / "file")


def test_a_figure_that_does_not_exist_is_refused_before_anything_is_made(tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    store = tmp_path / "artifacts"
    succeed(store, "import", tmp_path / "x.npz", "--model", "ViT-B-32")
    assert "they are cosines" in fail(store, "figures", "--only", "typo")
    assert set(Run.open(store).record.versions) == {"embeddings"}


@pytest.mark.parametrize("title", ["pay $5, get $10 (3)", "a $\\nothing$ b"])
def test_dollars_in_captions_do_not_become_formulas(title):
    figure = _draw_lines([title], [[[Image.new("RGB", (8, 8))]]], [None], 12)
    assert encode_figure(figure, "svg")
    (text,) = figure.texts
    assert text.get_text() == title and not text.get_parse_math()


def test_the_curve_of_the_stage_is_the_curve_of_the_report(store):
    run = Run.open(store)
    curve = run.artifact("k_curve")
    with Image.open(curve.path(curve.only_part, "picture")) as image:
        assert image.size == (920, 600), "4.6 by 3 inches"


LONG = "a very long caption of a photograph that somebody wrote, " * 4


@pytest.mark.parametrize(("tails", "end"), [((), "…"), ((" (1,234)",), "… (1,234)")])
def test_a_title_is_no_wider_than_the_figure(tails, end):
    figure = _draw_lines([LONG], [[[Image.new("RGB", (8, 8))]]], [None], 8, tails)
    (title,) = figure.texts
    renderer = FigureCanvasAgg(figure).get_renderer()
    width = title.get_window_extent(renderer).x1 / figure.bbox.x1
    assert 0.97 < width <= 1 and title.get_text().endswith(end)
    assert LONG.startswith(title.get_text().removesuffix(end))


def test_letters_that_our_font_lacks_come_from_another_font(caplog):
    # Among the fonts that come with matplotlib.
    own, other = (
        set(FT2Font(findfont(FontProperties(family=name, weight="bold"))).get_charmap())
        for name in ("DejaVu Sans", "STIXGeneral")
    )
    letters = sorted(other - own)
    words = f"a {chr(letters[0])}"
    families = choose_families([words])
    assert families[0] == "DejaVu Sans" and len(families) == 2 and not caplog.messages
    assert choose_families(["plain"]) == ["DejaVu Sans"]
    figure = _draw_lines([words], [[[Image.new("RGB", (8, 8))]]], [None], 8)
    assert figure.texts[0].get_fontfamily() == families
    # Warnings are errors here: no letter is missing.
    assert FigureCanvasAgg(figure).get_renderer() and encode_figure(figure, "pdf")


def test_letters_of_no_font_are_named(caplog, monkeypatch):
    # No font of the machine, which may have any letter.
    shipped = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", shipped)
    title = "a \N{LINEAR B SYLLABLE B008 A}"
    tile = Image.new("RGB", (8, 8))
    figure = _styled(lambda: _draw_lines([title], [[[tile]]], [None], 8))
    assert encode_figure(figure, "png")
    assert "no font here has the letters" in caplog.text and "install a font" in caplog.text
