"""The page in a real browser, used by pointer and keys, on desktop and phone."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cpp_pipe import Run
from cpp_pipe.pipeline.view.chance import random_words

from .browser import DESKTOP, PHONE, visit
from .markup_run import SCRIPT, key_of
from .server import serve

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
LOOKS = pytest.mark.parametrize(
    "size, scheme", [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)

VIEWS = {
    "workbench": "",
    "level": "?level=4",
    "compare": "?view=compare",
    "review": "review",
    "cluster": "cluster?cluster=1",
    "node": "cluster?grouping=tree&cluster=9",
    "image": "image?row=7",
    "search": "search",
    "found": "search?text=the%20number%20seven",
    "like": "search?row=7",
    "map": "map",
    "run": "run",
    "docs": "docs",
}


@pytest.mark.slow
@LOOKS
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_loads_is_accessible_and_fits_the_screen(served, browser, view, size, scheme):
    with visit(browser, served.port, size, scheme) as seen:
        seen.open(VIEWS[view])
        if view == "map":
            seen.page.wait_for_selector("[data-drawn]")
        if view == "found":
            seen.page.wait_for_selector(".results .tile")
            seen.shoot(view)
        assert seen.page.locator("h1").count() == 1
        assert seen.page.title().endswith("default · cpp-pipe")
        # Nothing may be wider than the screen.
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        checked = Axe().run(seen.page)
        violations = [
            f"{rule['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
            for rule in checked.response["violations"]
            for node in rule["nodes"]
        ]
        assert violations == []


@SIZES
def test_an_image_is_opened_from_the_grid_and_closed_again(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")
        tile = page.locator(".wall-tile .tile").nth(1)
        row = int(tile.get_attribute("data-row") or "")
        tile.click()
        key = served.json(f"/api/images/{row}")["key"]
        expect(page.locator("h1")).to_have_text(key)
        expect(page).to_have_url(re.compile(r"/image\?shard=.*&key="))
        expect(page.get_by_role("heading", name="Embeddings")).to_be_visible()
        expect(page.get_by_role("heading", name="Refined")).to_be_visible()
        expect(page.locator(".spaces .tile")).to_have_count(24)
        # Opening the address shows the same image.
        with visit(browser, served.port, size) as other:
            other.open(page.url.removeprefix(seen.base))
            expect(other.page.locator("h1")).to_have_text(key)
        page.go_back()
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")


def test_going_back_restores_the_scroll_position(served, browser):
    with visit(browser, served.port, PHONE) as seen:
        page = seen.page
        seen.open("")
        page.wait_for_selector(".wall-tile img")
        place = "document.querySelector('.scroller').scrollTop"
        page.evaluate(f"{place} = 900")
        page.wait_for_selector(".wall-tile[data-place='9'] a")
        before = page.evaluate(place)
        page.locator(".wall-tile[data-place='9'] a").click()
        expect(page).to_have_url(re.compile("/image"))
        page.go_back()
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")
        page.wait_for_function(f"(before) => Math.abs({place} - before) < 200", arg=before)
        page.wait_for_selector(".wall-tile[data-place='9'] img")


@SIZES
def test_words_find_images(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        page.get_by_label("Search by words").fill("the number seven")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/search\?text=the\+number\+seven$"))
        expect(page.locator(".results .tile")).to_have_count(60)
        expect(page.locator("#announcement")).to_have_text("60 images found")
        first = page.locator(".results .tile .key").first.text_content()
        expected = served.json("/api/search", text="the number seven")["hits"][0]["key"]
        assert first == expected


def test_a_query_without_clear_hits_says_so(served, browser):
    best = {}
    for word in random_words():
        answer = served.json("/api/search", text=word, n=1)
        best[word] = answer["hits"][0]["similarity"] - answer["chance"]
    with visit(browser, served.port) as seen:
        for word, is_like in (
            (min(best, key=best.__getitem__), False),
            (max(best, key=best.__getitem__), True),
        ):
            seen.open(f"search?text={word}")
            expect(seen.page.locator(".results .tile")).to_have_count(60)
            expect(seen.page.get_by_text("Nothing here is clearly like")).to_have_count(
                0 if is_like else 1
            )


@SIZES
def test_the_address_keeps_the_filters_of_a_search(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("search?row=7")
        expect(page.locator(".results .tile")).to_have_count(60)
        page.get_by_text("Narrow the search").click()
        page.get_by_label("Only images in cluster").select_option(value="0")
        page.get_by_label("Only images at least this confident").fill("0.1")
        page.get_by_role("button", name="Search", exact=True).click()
        expect(page).to_have_url(re.compile(r"/search\?row=7&cluster=0&min_confidence=0.1$"))
        expected = served.json("/api/search", row=7, cluster=0, min_confidence=0.1, n=60)["hits"]
        expect(page.locator(".results .tile")).to_have_count(len(expected))
        seen.shoot("narrowed")
        page.get_by_label("Avoid images like").fill("the number one")
        page.get_by_role("button", name="Search", exact=True).click()
        expect(page.locator(".results")).to_contain_text("cosine similarity of embeddings")


@SIZES
def test_a_chosen_image_finds_itself(served, browser, finished, tmp_path, size):
    Run.open(finished).image(12).save(tmp_path / "query.png")
    key = served.json("/api/images/12")["key"]
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("search")
        with page.expect_file_chooser() as chooser:
            page.get_by_text("Choose an image").click()
        chooser.value.set_files(tmp_path / "query.png")
        expect(page.locator(".results .tile")).to_have_count(60)
        assert page.locator(".results .tile .key").first.text_content() == key
        expect(page).to_have_url(re.compile(r"/search\?vector=.+&space=features$"))
        seen.shoot("uploaded")
        page.get_by_role("button", name="Embeddings").click()
        expect(page).to_have_url(re.compile("space=embeddings"))
        shared = page.url
        # The address shows the same hits to someone who never had the image.
        with visit(browser, served.port, size) as other:
            other.open(shared.removeprefix(other.base))
            expect(other.page.locator(".results .tile")).to_have_count(60)
            assert other.page.locator(".results .tile .key").first.text_content() == key


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_dropped_or_pasted_image_finds_itself(served, browser, finished, tmp_path, how):
    Run.open(finished).image(20).save(tmp_path / "query.png")
    data = list((tmp_path / "query.png").read_bytes())
    script = """([data, how]) => {
      const file = new File([new Uint8Array(data)], "query.png", {type: "image/png"});
      const transfer = new DataTransfer();
      transfer.items.add(file);
      const events = how === "drop"
        ? [new DragEvent("dragover", {dataTransfer: transfer, bubbles: true, cancelable: true}),
           new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})]
        : [new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})];
      events.forEach((event) => document.body.dispatchEvent(event));
    }"""
    with visit(browser, served.port) as seen:
        seen.open("run")
        seen.page.evaluate(script, [data, how])
        expect(seen.page.locator(".results .tile")).to_have_count(60)
        expected = served.json("/api/images/20")["key"]
        assert seen.page.locator(".results .tile .key").first.text_content() == expected


def test_an_upload_that_is_no_image_is_reported(served, browser, tmp_path):
    (tmp_path / "not.png").write_bytes(b"<svg><script>alert(1)</script></svg>")
    with visit(browser, served.port, may_fail=True) as seen:
        seen.open("search")
        with seen.page.expect_file_chooser() as chooser:
            seen.page.get_by_text("Choose an image").click()
        chooser.value.set_files(tmp_path / "not.png")
        expect(seen.page.locator(".results")).to_contain_text("cannot be decoded")


def test_the_keyboard_reaches_everything(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("/")
        expect(page.get_by_label("Search by words")).to_be_focused()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        tiles = page.locator(".wall-tile .tile")
        rows = [int(tiles.nth(place).get_attribute("data-row") or "") for place in range(2)]
        tiles.first.focus()
        page.keyboard.press("Space")
        expect(page.locator(".tray-count")).to_have_text("1 selected")
        page.keyboard.press("Shift+ArrowRight")
        expect(tiles.nth(1)).to_be_focused()
        expect(page.locator(".tray-count")).to_have_text("2 selected")
        page.keyboard.press("Escape")
        expect(page.locator(".tray")).to_be_hidden()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        keys = [served.json(f"/api/images/{row}")["key"] for row in rows]
        expect(page.locator("h1")).to_have_text(keys[0])
        page.keyboard.press("ArrowRight")
        expect(page.locator("h1")).to_have_text(keys[1])
        page.keyboard.press("Escape")
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")


def test_a_chosen_theme_is_kept(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        colour = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(colour)
        page.get_by_role("button", name="Theme: system").click()
        page.get_by_role("button", name="Theme: light").click()
        dark = page.evaluate(colour)
        assert dark != light
        page.reload()
        seen.settle()
        assert page.evaluate(colour) == dark


def test_the_run_view_scores_the_run(served, browser):
    with visit(browser, served.port) as seen:
        seen.open("run")
        page = seen.page
        expect(page.get_by_text("k-means on the embeddings")).to_be_visible(timeout=60_000)
        seen.shoot("scored")
        for slot in ("embeddings", "heads", "assignments/levels", "projection"):
            expect(page.locator(".flow .slot", has_text=slot).first).to_be_visible()
        page.locator(".flow summary").nth(1).click()
        expect(page.locator(".flow pre").nth(1)).to_contain_text('"hidden": 32')


def test_markup_is_shown_as_text_and_does_nothing(markup_store, browser):
    with serve(markup_store) as server, visit(browser, server.port) as seen:
        page = seen.page
        row = 3
        shard = server.json(f"/api/images/{row}")["shard"]
        paths = ["", "?level=2", "cluster?cluster=0", f"image?row={row}", "run", "search"]
        for path in paths:
            seen.open(path)
            page.wait_for_timeout(200)
            assert page.evaluate("window.caught") is None
            assert page.locator("main script, main i, main b, main img[src='x']").count() == 0
        seen.open("")
        expect(page.locator(".shelf-name").first).to_have_text(re.compile("onerror|passwd|evil"))
        seen.open(f"image?row={row}")
        expect(page.locator("h1")).to_have_text(key_of(row))
        expect(page.locator(".fields")).to_contain_text(SCRIPT)
        expect(page.locator(".fields")).to_contain_text(shard)
        # Only addresses of the web become links.
        assert page.locator("a[href^='javascript']").count() == 0
        seen.open("cluster?cluster=0")
        page.locator(".wall-tile .tile").first.click()
        expect(page.locator("h1")).to_have_text(re.compile(re.escape("a&b=<i>")))
        page.reload()
        expect(page.locator("h1")).to_have_text(re.compile(re.escape("a&b=<i>")))


def test_missing_images_are_reported(own_store, browser):
    with serve(own_store) as server:
        server.source_of(25).unlink()
        with visit(browser, server.port, may_fail=True) as seen:
            seen.open("image?row=25")
            expect(seen.page.locator(".stage [role=alert]")).to_contain_text("put it back")
            seen.open("cluster?cluster=0")
            expect(seen.page.locator(".gone").first).to_be_visible()
            seen.shoot("gone")


def test_addresses_that_name_nothing_are_reported(served, browser):
    with visit(browser, served.port, may_fail=True) as seen:
        for path, words in (
            ("cluster?cluster=99", "cluster must be from 0 to 4 in k-5, got 99"),
            ("cluster?grouping=k-9&cluster=0", "grouping must be one of k-5, k-3"),
            ("cluster", "must name a cluster"),
            ("cluster?cluster=-1", "must name a cluster"),
            ("image", "must name an image"),
            ("image?key=nobody", "no image has the key nobody"),
            ("image?row=60", "row must be from 0 to 59, got 60"),
        ):
            seen.page.goto(seen.base + path)
            expect(seen.page.locator(".trouble")).to_contain_text(words)


def test_a_stopped_server_is_reported(finished, browser):
    with serve(finished) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector(".wall-tile")
    page.get_by_role("link", name="Search", exact=True).click()
    page.wait_for_selector("main h1, main .trouble")
    page.locator("main input[type=search]").fill("a")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("still running")
    page.close()


def test_the_printed_address_opens_the_page_and_the_token_leaves_the_address(finished, browser):
    with serve(finished, token="a & b") as server, visit(browser, server.port) as seen:
        seen.open("search?row=7&token=a%20%26%20b")
        expect(seen.page).to_have_url(f"{seen.base}search?row=7")
        expect(seen.page.locator(".results .tile")).to_have_count(60)
        seen.open("cluster?cluster=1")
        # Images arrive after the page is drawn, on a busy machine much later.
        seen.page.wait_for_function(
            "() => document.images.length && "
            "[...document.images].every((image) => image.naturalWidth > 0)"
        )
        assert seen.page.evaluate("document.cookie") == ""


@pytest.mark.parametrize("path", ["", "?token=secret"], ids=["shared", "first"])
def test_a_link_on_another_site_opens_the_page_with_the_token(finished, browser, path):
    """Browsers send no cookie when they follow such a link, but send it from our page."""
    with (
        serve(finished, token="secret") as server,
        visit(browser, server.port, may_fail=True) as seen,
    ):
        seen.page.goto(f"{seen.base}?token=secret")
        # Documents of this scheme belong to no site.
        seen.page.goto(f"data:text/html,<a href='{seen.base}{path}'>open</a>")
        seen.page.click("a")
        seen.settle()
        expect(seen.page).to_have_url(seen.base)
        expect(seen.page.locator("h1")).to_have_text("60 images in 5 clusters")


def test_a_visitor_without_a_token_learns_where_it_is_printed(finished, browser):
    with (
        serve(finished, token="secret") as server,
        visit(browser, server.port, may_fail=True) as seen,
    ):
        seen.page.goto(f"data:text/html,<a href='{seen.base}'>open</a>")
        seen.page.click("a")
        expect(seen.page.locator("body")).to_contain_text("address that `cpp-pipe serve` printed")
