"""Pictures on the page: which rows, drawn from where they lie, and within a bound."""

import base64
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.report import galleries
from cpp_pipe.pipeline.report.contents import Drawn, Mosaic, Neighbourhood
from cpp_pipe.pipeline.report.mosaics import TILE, Tiles, draw_mosaic, draw_strip
from cpp_pipe.pipeline.report.neighbours import nearest
from cpp_pipe.pipeline.report.page import write_page
from cpp_pipe.stages.artifact_rows import EMBEDDING, gather

from ..cli import embed, succeed
from .contents import Page, some_contents

GREY = (138, 143, 152)
ORANGE = (213, 94, 0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, digit_shards):
    """Shards of our own, which a test may take away."""
    folder = tmp_path_factory.mktemp("shards")
    for path in sorted(digit_shards.glob("*.tar")):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, shards):
    """Digits in four clusters with captions."""
    store = tmp_path_factory.mktemp("galleries") / "artifacts"
    embed(store, shards)
    succeed(store, "assign", "--k", "4")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    return store


def page_of(store, *more) -> Page:
    done = succeed(store, "report", *more)
    with open(done.out.strip(), encoding="utf-8") as file:
        return Page(file.read())


def pictures(page: Page) -> list[dict]:
    return page.all("img")


def opened(attributes) -> Image.Image:
    prefix = "data:image/jpeg;base64,"
    assert attributes["src"].startswith(prefix)
    return Image.open(io.BytesIO(base64.b64decode(attributes["src"][len(prefix) :])))


def plain(colour: tuple[int, int, int], side: int = TILE) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def near(pixel, colour, tolerance: int = 24) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def pixels(drawn: Drawn) -> Image.Image:
    picture = Image.open(io.BytesIO(drawn.jpeg))
    assert picture.size == (drawn.width, drawn.height)
    return picture


def test_every_cluster_is_shown_with_its_caption_and_its_members(store):
    page = page_of(store)
    captions = Run.open(store).artifact("captions")
    table = captions.table(captions.parts[0].name).to_pylist()
    first = {row["cluster"]: row["caption"] for row in table if row["rank"] == 0}
    mosaics = [one for one in pictures(page) if "surest pictures" in one["alt"]]
    assert len(mosaics) == 4
    for name in first.values():
        assert any(one["alt"].startswith(f"{name}: its") for one in mosaics)
    for one in pictures(page):
        assert opened(one).size == (int(one["width"]), int(one["height"]))


def test_neighbours_stand_in_both_spaces_beside_one_of_each_cluster(store):
    page = page_of(store)
    strips = [one for one in pictures(page) if one["alt"].startswith("The 6 pictures nearest to")]
    assert len(strips) == 2 * 4
    assert "Before: embeddings" in page.text and "After: features" in page.text


def test_without_pictures_none_are_read(store, tmp_path):
    page = page_of(store, "--no-pictures", "--out", tmp_path / "page.html")
    assert not pictures(page)
    assert "the page was asked for without pictures" in page.text


def test_pictures_that_are_gone_are_told_and_the_rest_is_shown(store, shards, tmp_path):
    whole = page_of(store, "--out", tmp_path / "whole.html")
    away = shutil.move(shards / "000.tar", tmp_path / "000.tar")
    try:
        done = succeed(store, "report", "--out", tmp_path / "page.html")
        page = Page((tmp_path / "page.html").read_text())
        assert "pictures cannot be read where they were embedded from" in page.text
        assert "cpp-pipe embed" in done.err and "000.tar" in done.err
        assert str(shards) not in page.text
        told = sum("surest pictures" in one["alt"] for one in pictures(page))
        assert told == sum("surest pictures" in one["alt"] for one in pictures(whole)) == 4
    finally:
        shutil.move(away, shards / "000.tar")


@pytest.mark.parametrize(("slot", "roles"), [("embeddings", [EMBEDDING]), ("features", ["z", "c"])])
def test_the_nearest_are_those_of_all_cosines(store, slot, roles):
    artifact = Run.open(store).artifact(slot)
    x = np.hstack([gather(artifact, role).astype(np.float64) for role in roles])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rows = np.array([40, 3, 59, 3])
    found = nearest(artifact, rows, 5)
    cosines = x[rows] @ x.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    best = -np.sort(-cosines, axis=1)[:, :5]
    np.testing.assert_allclose(np.take_along_axis(cosines, found, 1), best, atol=1e-3)
    assert (found != rows[:, None]).all()


def test_of_few_rows_all_others_are_nearest(store):
    artifact = Run.open(store).artifact("embeddings")
    found = nearest(artifact, np.array([7]), 1000)
    assert sorted(found[0].tolist()) == [row for row in range(artifact.rows) if row != 7]


def test_a_row_is_drawn_from_where_it_lies(store):
    run = Run.open(store)
    (tile,) = Tiles(run).read([5], 64)
    assert tile is not None and tile.size == (64, 64)
    original = run.picture(5).resize((64, 64), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(tile), np.asarray(original))


def test_a_mosaic_has_the_surest_first_and_the_doubtful_smaller_below():
    drawn = draw_mosaic([plain((200, 0, 0))] * 7, [plain((0, 0, 200))] * 3)
    picture = pixels(drawn)
    assert near(picture.getpixel((10, 10)), (200, 0, 0))
    assert near(picture.getpixel((10, TILE + 12)), (200, 0, 0))
    assert near(picture.getpixel((10, picture.height - 10)), (0, 0, 200))
    assert picture.height < 3 * TILE


def test_what_cannot_be_read_is_grey_and_what_is_of_another_cluster_framed():
    strip = pixels(draw_strip([plain((0, 120, 0)), None, plain((0, 120, 0))], [False, False, True]))
    assert near(strip.getpixel((TILE // 2, 3)), (0, 120, 0))
    assert near(strip.getpixel((TILE + TILE // 2, 10)), GREY)
    assert near(strip.getpixel((2 * TILE + TILE // 2, 2)), ORANGE, 60)


def many(count: int, size: int) -> list[Mosaic]:
    drawn = Drawn(jpeg=bytes(size), width=672, height=308)
    return [Mosaic(cluster=n, drawn=drawn, surest=12, doubtful=8) for n in range(count)]


def test_a_page_stays_below_twenty_megabytes_and_says_what_is_left_out():
    contents = replace(some_contents(100, rows=1000), mosaics=many(100, 300_000))
    page = write_page(contents)
    assert len(page.encode()) < 20_000_000
    shown = galleries.MOST_BYTES // 400_000
    assert f"The {shown} largest of 100 clusters are shown." in page


def test_everything_of_the_users_beside_pictures_is_escaped():
    hostile = '<script>alert("1")</script>'
    drawn = Drawn(jpeg=b"", width=1, height=1)
    near_one = Neighbourhood(
        key=hostile,
        cluster=0,
        picture=drawn,
        before=drawn,
        after=drawn,
        of=1,
        same_before=0,
        same_after=1,
    )
    contents = some_contents(
        mosaics=[Mosaic(cluster=0, drawn=drawn, surest=1, doubtful=0)],
        neighbourhoods=[near_one],
        captions={0: ((hostile, 0.5),)},
    )
    assert "<script" not in write_page(contents)
