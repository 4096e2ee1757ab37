"""Images in the report: which rows are shown, how they are drawn, and their size in bytes."""

import base64
import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.report import image_sections
from cpp_pipe.pipeline.report.contents import Jpeg, Mosaic, Neighbourhood
from cpp_pipe.pipeline.report.mosaics import TILE, Tiles, draw_mosaic, draw_strip
from cpp_pipe.pipeline.report.neighbours import find_nearest
from cpp_pipe.pipeline.report.page import write_page
from cpp_pipe.pipeline.view.captions import Caption
from cpp_pipe.stages.rows.artifact_rows import EMBEDDING, gather

from ..cli import body, call, embed, fail, succeed
from .contents import Page, make_contents

GREY = (138, 143, 152)
ORANGE = (213, 94, 0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, digit_shards):
    """Copies of the shards, which a test may move away."""
    folder = tmp_path_factory.mktemp("shards")
    for path in sorted(digit_shards.glob("*.tar")):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, shards):
    """Digits in four clusters with captions."""
    store = tmp_path_factory.mktemp("images") / "artifacts"
    embed(store, shards)
    succeed(store, "assign", "--k", "4")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    return store


def read_report(store, *arguments) -> Page:
    """The report that the command writes."""
    done = succeed(store, "report", *arguments)
    with open(done.out.strip(), encoding="utf-8") as file:
        return Page(file.read())


def decode(attributes) -> Image.Image:
    """The image of an `img` element."""
    prefix = "data:image/jpeg;base64,"
    assert attributes["src"].startswith(prefix)
    return Image.open(io.BytesIO(base64.b64decode(attributes["src"][len(prefix) :])))


def make_tile(colour: tuple[int, int, int], side: int = TILE) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def is_close(pixel, colour, tolerance: int = 24) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def open_jpeg(jpeg: Jpeg) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg.data))
    assert image.size == (jpeg.width, jpeg.height)
    return image


def test_every_cluster_is_shown_with_its_caption_and_its_members(store):
    page = read_report(store)
    captions = Run.open(store).artifact("captions")
    table = captions.table(captions.only_part).to_pylist()
    first = {row["cluster"]: row["caption"] for row in table if row["rank"] == 1}
    mosaics = [image for image in page.all("img") if "surest images" in image["alt"]]
    assert len(mosaics) == 4
    for name in first.values():
        assert any(image["alt"].startswith(f"{name}: its") for image in mosaics)
    for image in page.all("img"):
        assert decode(image).size == (int(image["width"]), int(image["height"]))


def test_neighbours_in_both_spaces_are_shown_for_a_row_of_each_cluster(store):
    page = read_report(store)
    alts = [image["alt"] for image in page.all("img")]
    strips = [alt for alt in alts if alt.startswith("The 6 images nearest to")]
    assert len(strips) == 2 * 4
    assert "Before: embeddings" in page.text and "After: features" in page.text


def test_with_no_pictures_no_image_is_read(store, tmp_path):
    page = read_report(store, "--no-pictures", "--out", tmp_path / "page.html")
    assert not page.all("img")
    assert "None, because --no-pictures was given." in page.text


def test_unreadable_images_are_counted_and_the_rest_is_shown(store, shards, tmp_path):
    whole = read_report(store, "--out", tmp_path / "whole.html")
    away = shutil.move(shards / "000.tar", tmp_path / "000.tar")
    try:
        done = succeed(store, "report", "--out", tmp_path / "page.html")
        page = Page((tmp_path / "page.html").read_text())
        assert "images cannot be read where they were embedded from" in page.text
        assert "cpp-pipe embed" in done.err and "000.tar" in done.err
        assert str(shards) not in page.text
        shown, expected = (
            sum("surest images" in image["alt"] for image in report.all("img"))
            for report in (page, whole)
        )
        assert shown == expected == 4
    finally:
        shutil.move(away, shards / "000.tar")


def test_embeddings_that_were_imported_are_shown_without_images(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    imported = tmp_path / "artifacts"
    succeed(imported, "import", tmp_path / "rows.npz", "--model", "ViT-B-32")
    succeed(imported, "assign", "--k", "2")
    done = succeed(imported, "report", "--out", tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert "None: the embeddings were imported, without images." in page.text
    assert "shows no images: the embeddings were imported" in done.err


def test_without_any_image_report_fails_and_says_what_to_do(store, shards, tmp_path):
    away, out = shutil.move(shards, tmp_path / "away"), tmp_path / "page.html"
    try:
        line = fail(store, "report", "--out", out)
        assert "no image could be read" in line and "cpp-pipe embed --shards" in line
        assert "--no-pictures" in line and not out.exists()
        read_report(store, "--no-pictures", "--out", out)
        for words in (("outliers", "-n", "3"), ("search", "--text", "seven", "-n", "3"),
                      ("duplicates", "--above", "0.5")):  # fmt: skip
            sheet = tmp_path / "sheet.png"
            done = call(store, *words, "--sheet", sheet)
            assert done.code == 2 and not sheet.exists()
            assert "no image could be read" in done.err and "put it back" in done.err
            # What was asked for besides is printed all the same.
            assert done.out.splitlines() == body(call(store, *words).out)
    finally:
        shutil.move(away, shards)


def test_a_sheet_has_empty_frames_for_images_that_cannot_be_read(store, shards, tmp_path):
    away, sheet = shutil.move(shards / "000.tar", tmp_path / "000.tar"), tmp_path / "sheet.png"
    try:
        for words in (("outliers", "-n", "50"), ("search", "--text", "seven", "-n", "50")):
            done = succeed(store, *words, "--sheet", sheet)
            assert re.search(r"\d+ of 50 images are empty frames: .*000\.tar", done.err), done.err
            assert sheet.stat().st_size > 0
            sheet.unlink()
    finally:
        shutil.move(away, shards / "000.tar")


@pytest.mark.parametrize(("slot", "roles"), [("embeddings", [EMBEDDING]), ("features", ["z", "c"])])
def test_the_nearest_rows_have_the_largest_of_all_cosines(store, slot, roles):
    artifact = Run.open(store).artifact(slot)
    x = np.hstack([gather(artifact, role).astype(np.float64) for role in roles])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rows = np.array([40, 3, 59, 3])
    found = find_nearest(artifact, rows, 5)
    cosines = x[rows] @ x.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    best = -np.sort(-cosines, axis=1)[:, :5]
    np.testing.assert_allclose(np.take_along_axis(cosines, found, 1), best, atol=1e-3)
    assert (found != rows[:, None]).all()


def test_with_few_rows_all_others_are_nearest(store):
    artifact = Run.open(store).artifact("embeddings")
    found = find_nearest(artifact, np.array([7]), 1000)
    assert sorted(found[0].tolist()) == [row for row in range(artifact.rows) if row != 7]


def test_a_row_is_drawn_from_its_source(store):
    run = Run.open(store)
    (tile,) = Tiles(run).read([5], 64)
    assert tile is not None and tile.size == (64, 64)
    original = run.image(5).resize((64, 64), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(tile), np.asarray(original))


def test_a_mosaic_has_the_surest_first_and_the_doubtful_smaller_below():
    image = open_jpeg(draw_mosaic([make_tile((200, 0, 0))] * 7, [make_tile((0, 0, 200))] * 3))
    assert is_close(image.getpixel((10, 10)), (200, 0, 0))
    assert is_close(image.getpixel((10, TILE + 12)), (200, 0, 0))
    assert is_close(image.getpixel((10, image.height - 10)), (0, 0, 200))
    assert image.height < 3 * TILE


def test_unreadable_images_are_grey_and_images_of_another_cluster_are_framed():
    tiles = [make_tile((0, 120, 0)), None, make_tile((0, 120, 0))]
    strip = open_jpeg(draw_strip(tiles, [False, False, True]))
    assert is_close(strip.getpixel((TILE // 2, 3)), (0, 120, 0))
    assert is_close(strip.getpixel((TILE + TILE // 2, 10)), GREY)
    assert is_close(strip.getpixel((2 * TILE + TILE // 2, 2)), ORANGE, 60)


def make_mosaics(count: int, size: int) -> list[Mosaic]:
    """Mosaics of `size` bytes each."""
    image = Jpeg(data=bytes(size), width=672, height=308)
    return [Mosaic(cluster=n, image=image, surest=12, doubtful=8) for n in range(count)]


def test_a_report_stays_below_twenty_megabytes_and_says_what_is_left_out():
    contents = replace(make_contents(100, rows=1000), mosaics=make_mosaics(100, 300_000))
    page = write_page(contents)
    assert len(page.encode()) < 20_000_000
    shown = image_sections.MOST_BYTES // 400_000
    assert f"The {shown} largest of 100 clusters are shown." in page


def neighbourhood_of(key: str, cluster: int, image: Jpeg) -> Neighbourhood:
    """The neighbours of an image, drawn as that image."""
    return Neighbourhood(
        key=key,
        cluster=cluster,
        image=image,
        before=image,
        after=image,
        count=1,
        same_before=0,
        same_after=1,
    )


def test_all_text_of_the_user_around_images_is_escaped():
    hostile = '<script>alert("1")</script>'
    image = Jpeg(data=b"", width=1, height=1)
    neighbourhood = neighbourhood_of(hostile, 0, image)
    contents = make_contents(
        mosaics=[Mosaic(cluster=0, image=image, surest=1, doubtful=0)],
        neighbourhoods=[neighbourhood],
        captions={0: (Caption(hostile, 0.5),)},
    )
    assert "<script" not in write_page(contents)


@pytest.mark.parametrize(
    "count, words",
    [(1, "One image of one cluster, drawn"), (3, "each of 3 of the largest clusters, drawn")],
)
def test_the_neighbours_of_one_cluster_are_not_those_of_several(count, words):
    """It said "each of the 1 largest clusters", also where others came before it, unreadable."""
    image = Jpeg(data=b"", width=1, height=1)
    neighbourhoods = [neighbourhood_of(str(cluster), cluster, image) for cluster in range(count)]
    assert words in write_page(make_contents(neighbourhoods=neighbourhoods))
