"""The page over photographs, the last shard of Caltech-101, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.preparation import prepare

from ...stages.small_models import mobile_clip_flags
from ..cli import succeed
from .browser import DESKTOP, PHONE, visit
from .server import serve

ROWS = 114


@pytest.fixture(scope="module")
def photos(tmp_path_factory, shared):
    """A store with a run of photographs."""
    folder = tmp_path_factory.mktemp("photos")
    store = folder / "artifacts"
    (folder / "words.txt").write_text("airplane\nmotorbike\nface\nwatch\nleopard\nsailboat\n")
    shard = shared / "data" / "caltech101" / "00008.tar"
    succeed(store, "embed", "--shards", shard, *mobile_clip_flags(shared))
    succeed(store, "train", "--set", "train.hidden=128", "--set", "train.epochs=2")
    succeed(store, "select-k", "--resamples", "2", "--grid", "2,5,10,20")
    succeed(store, "assign", "--k", "12", "--set", "data.label=label")
    succeed(store, "caption", "--vocabulary", folder / "words.txt")
    prepare(open_plan(Common(store=str(store), device="cpu")))
    succeed(store, "map")
    with serve(store) as server:
        yield server, store


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_all_views_work_with_photographs(photos, browser, tmp_path, size):
    served, store = photos
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        expect(page.locator("h1")).to_have_text(f"{ROWS} images in 12 clusters")
        seen.shoot("photos-overview")
        slider = page.get_by_role("slider", name="Number of clusters")
        slider.focus()
        page.keyboard.press("Home")
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        expect(page.locator("h1")).to_have_text(f"{ROWS} images in 6 clusters")
        seen.shoot("photos-level")
        page.get_by_role("combobox", name="Clusters", exact=True).select_option("k-12")
        expect(page.locator("h1")).to_have_text(f"{ROWS} images in 12 clusters")
        page.locator(".wall-name").first.click()
        expect(page).to_have_url(re.compile("focus="))
        expect(page.locator(".inspector h2")).to_have_count(1)
        seen.shoot("photos-cluster")
        page.locator(".wall-tile .tile").first.click()
        expect(page.locator(".spaces .tile")).to_have_count(24)
        box = page.locator(".spaces .tile img").first.bounding_box()
        assert box is not None and abs(box["width"] - box["height"]) < 2
        seen.shoot("photos-image")
        page.get_by_label("Search by words").fill("a motorcycle")
        page.keyboard.press("Enter")
        expect(page.locator(".results .tile")).to_have_count(60)
        best = page.locator(".results .tile .key").first.text_content()
        assert best is not None and best.startswith("motorbike")
        seen.shoot("photos-words")
        page.goto(seen.base + "search")
        Run.open(store).image(30).save(tmp_path / "query.jpg", quality=90)
        with page.expect_file_chooser() as chooser:
            page.get_by_text("Choose an image").click()
        chooser.value.set_files(tmp_path / "query.jpg")
        expect(page.locator(".results .tile")).to_have_count(60)
        key = served.json("/api/images/30")["key"]
        assert page.locator(".results .tile .key").first.text_content() == key
        seen.shoot("photos-upload")
        seen.open("map")
        page.wait_for_selector(f"[data-drawn][data-points='{ROWS}']")
        seen.shoot("photos-map")
        seen.open("run")
        expect(page.get_by_text("k-means on the embeddings")).to_be_visible(timeout=60_000)
        seen.shoot("photos-run")
