"""The page in a real browser, as a person uses it: by pointer and keys, on desktop and phone."""

import re
import time

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cpp_pipe import Run

from .browser import DESKTOP, PHONE, visit
from .markup_run import SCRIPT, key_of
from .server import serve

expect.set_options(timeout=20_000)  # milliseconds: the machine may be busy with other tests

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
LOOKS = pytest.mark.parametrize(
    "size, scheme", [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)

VIEWS = {
    "overview": "",
    "level": "?level=4",
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
def test_from_the_overview_to_an_image_and_back(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")
        expect(page.locator(".card")).to_have_count(5)
        card = page.locator(".card").nth(1)
        name = card.locator(".card-title").inner_text()
        card.click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page).to_have_url(re.compile(r"/cluster\?cluster=\d+$"))
        tile = page.locator(".tile").first
        key = tile.locator(".key").text_content()
        tile.click()
        expect(page.locator("h1")).to_have_text(key or "")
        expect(page).to_have_url(re.compile(r"/image\?shard=.*&key="))
        expect(page.get_by_role("heading", name="CLIP")).to_be_visible()
        expect(page.get_by_role("heading", name="Refined")).to_be_visible()
        expect(page.locator(".spaces .tile")).to_have_count(24)
        # Opening the address shows the same image.
        with visit(browser, served.port, size) as other:
            other.open(page.url.removeprefix(seen.base))
            expect(other.page.locator("h1")).to_have_text(key or "")
        page.go_back()
        expect(page.locator("h1")).to_have_text(name)
        page.go_back()
        expect(page.locator(".card")).to_have_count(5)


def test_going_back_restores_the_scroll_position(served, browser):
    with visit(browser, served.port, PHONE) as seen:
        page = seen.page
        seen.open("cluster?cluster=0")
        page.evaluate("window.scrollTo(0, 500)")
        tile = page.locator(".tile").nth(4)
        tile.scroll_into_view_if_needed()
        before = page.evaluate("scrollY")
        tile.click()
        expect(page).to_have_url(re.compile("/image"))
        page.go_back()
        expect(page).to_have_url(re.compile("/cluster"))
        page.wait_for_function("(before) => Math.abs(scrollY - before) < 3", arg=before)


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
        expect(page.locator(".results")).to_contain_text("CLIP embeddings")


@SIZES
def test_an_image_that_is_chosen_finds_itself(served, browser, finished, tmp_path, size):
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
        page.get_by_role("button", name="CLIP").click()
        expect(page).to_have_url(re.compile("space=embeddings"))
        shared = page.url
        # The address shows the same hits to someone who never had the image.
        with visit(browser, served.port, size) as other:
            other.open(shared.removeprefix(other.base))
            expect(other.page.locator(".results .tile")).to_have_count(60)
            assert other.page.locator(".results .tile .key").first.text_content() == key


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_an_image_that_is_dropped_or_pasted_finds_itself(served, browser, finished, tmp_path, how):
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


def drag(page, slider, fraction: float) -> None:
    """Drags the handle to a share of the plot's width."""
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * fraction, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()


@SIZES
def test_moving_along_the_curve_regroups_the_cards(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        slider = page.get_by_role("slider", name="Number of clusters")
        slider.focus()
        page.keyboard.press("Home")
        expect(page.locator(".card")).to_have_count(1)
        expect(page.locator("h1")).to_have_text("60 images in 1 cluster")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".card")).to_have_count(2)
        expect(slider).to_have_attribute("aria-valuetext", "2 clusters")
        expect(page).to_have_url(re.compile(r"\?level=2$"))
        page.keyboard.press("End")
        finest = served.json("/api/run")["tree"]["finest"]
        expect(page.locator(".level output")).to_have_text(str(finest))
        drag(page, slider, 0.14)
        expect(page.locator(".card")).to_have_count(1)
        page.locator("h1").click()
        page.keyboard.press("]")
        page.keyboard.press("]")
        expect(page.locator(".card")).to_have_count(3)
        seen.shoot("regrouped")
        sizes = [int(text) for text in page.locator(".card-facts .number").all_inner_texts()]
        nodes = served.json("/api/tree")["nodes"]
        expected = [node["size"] for node in nodes if node["coarsest"] <= 3 <= node["finest"]]
        assert sizes == sorted(expected, reverse=True)
        page.get_by_role("button", name="k = 3").click()
        expect(page).to_have_url(re.compile(r"\?grouping=k-3$"))
        page.get_by_role("button", name="k = 5").click()
        expect(page.locator(".card")).to_have_count(5)


def answer_later(route) -> None:
    """Delays an answer for longer than the address is delayed."""
    time.sleep(0.6)
    route.continue_()


def test_a_view_that_was_left_does_not_change_the_address(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.route(re.compile("/api/clusters/"), answer_later)
        # In one step: a choice reaches the address only after a delay.
        page.evaluate(
            "document.querySelector('.choices button:last-child').click();"
            "document.querySelector('.card').click();"
        )
        expect(page.locator("main .facts")).to_be_visible()
        expect(page).to_have_url(re.compile("/cluster"))
        expect(page.locator(".tile").first).to_be_visible()


def test_the_address_keeps_order_and_filter_of_the_cards(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.get_by_label("Sort by").select_option("name")
        names = page.locator(".card-title").all_inner_texts()
        assert names == sorted(names, key=str.lower)
        word = names[0]
        page.get_by_label("Caption contains").fill(word)
        expect(page.locator(".tools .count")).to_contain_text("shown")
        page.wait_for_url(re.compile("filter="))
        shown = page.locator(".card").count()
        cards = served.json("/api/clusters")["cards"]
        assert shown == sum(
            any(word in name["caption"] for name in card["names"]) for card in cards
        )
        page.reload()
        expect(page.locator(".card")).to_have_count(shown)
        page.get_by_label("Caption contains").fill("no such caption")
        expect(page.locator(".cards")).to_contain_text("No caption contains these words")


@SIZES
def test_a_click_on_the_map_shows_the_image(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("map")
        page.wait_for_selector("[data-drawn][data-points='60'][data-camera]")
        locate = """([x, y]) => {
          const stage = document.querySelector(".plane-stage").getBoundingClientRect();
          const { camera } = document.querySelector("[data-camera]").dataset;
          const [atX, atY, scale] = camera.split(" ");
          return [stage.left + stage.width / 2 + (x - atX) * scale,
                  stage.top + stage.height / 2 - (y - atY) * scale];
        }"""
        # The point farthest from all others: where several overlap, a click may hit any.
        data = served.get("/api/map/points").content
        points = np.frombuffer(data[: 8 * 60], "<f4").reshape(60, 2)
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(60)
        point = int(distances.min(1).argmax())
        page.locator("[data-drawn]").scroll_into_view_if_needed()
        x, y = page.evaluate(locate, points[point].tolist())
        page.mouse.move(x, y)
        page.wait_for_timeout(300)
        page.mouse.click(x, y)
        key = served.json(f"/api/images/{point}")["key"]
        expect(page.locator(".shown")).to_contain_text(key)
        seen.shoot("map-clicked")
        scale = "Number(document.querySelector('[data-camera]').dataset.camera.split(' ')[2])"
        before = page.evaluate(scale)
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_function(f"(before) => {scale} > before", arg=before)
        page.get_by_label("Level of the hierarchy").focus()
        page.keyboard.press("Home")
        expect(page.locator(".swatches li")).to_have_count(1)
        page.get_by_role("combobox", name="Colour by").select_option("k-3")
        expect(page.locator(".swatches li")).to_have_count(3)
        page.locator(".swatches button").first.click()
        expect(page.locator(".swatches button").first).to_have_attribute("aria-pressed", "true")
        page.locator(".shown a").last.click()
        expect(page).to_have_url(re.compile("/cluster"))


def test_a_lasso_selects_images_and_ctrl_adds_one(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("map")
        page.wait_for_selector("[data-camera][data-images='60']")
        box = page.locator(".plane-stage").bounding_box()
        assert box is not None
        left, top = box["x"] + 3, box["y"] + 3
        right, bottom = box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
        page.get_by_role("button", name="Select with a lasso").click()
        page.mouse.move(left, top)
        page.mouse.down()
        for x, y in ((right, top), (right, bottom), (left, bottom)):
            page.mouse.move(x, y, steps=4)
        page.mouse.up()
        selected = page.get_by_text("60 images selected")
        expect(selected.first).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("button", name="Clear")).to_be_hidden()
        page.locator(".plane-stage").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("+")
        page.keyboard.press("Enter")
        expect(page.locator(".shown a").first).to_be_visible()


def test_with_a_gpu_the_map_is_drawn_by_webgl(served, browser):
    """Here WebGL runs on the CPU, where the map does without it, unless its name is hidden."""
    with visit(browser, served.port) as seen:
        seen.page.add_init_script("WebGL2RenderingContext.prototype.getExtension = () => null;")
        seen.open("map")
        seen.page.wait_for_selector("[data-drawn][data-points='60'][data-camera]")
        drawn = """() => {
          const gl = document.querySelector(".plane canvas").getContext("webgl2");
          return [gl.getError(), gl.getParameter(gl.CURRENT_PROGRAM) !== null];
        }"""
        assert seen.page.evaluate(drawn) == [0, True]


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
        page.locator(".card").first.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".card").nth(1)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("/cluster"))
        tiles = page.locator(".tile")
        tiles.first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        columns = page.evaluate(
            "getComputedStyle(document.querySelector('.grid'))"
            ".gridTemplateColumns.split(' ').length"
        )
        place = columns - 1 if tiles.count() > columns else 0
        expect(tiles.nth(place)).to_be_focused()
        first, second = (tiles.nth(number).locator(".key").text_content() for number in (0, 1))
        tiles.first.focus()
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(first or "")
        page.keyboard.press("ArrowRight")
        expect(page.locator("h1")).to_have_text(second or "")
        page.keyboard.press("Escape")
        expect(page).to_have_url(re.compile("/cluster"))
        page.keyboard.press("Escape")
        expect(page.locator(".card")).to_have_count(5)


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
        expect(page.locator(".card-title").first).to_have_text(re.compile("onerror|passwd|evil"))
        seen.open(f"image?row={row}")
        expect(page.locator("h1")).to_have_text(key_of(row))
        expect(page.locator(".fields")).to_contain_text(SCRIPT)
        expect(page.locator(".fields")).to_contain_text(shard)
        # Only addresses of the web become links.
        assert page.locator("a[href^='javascript']").count() == 0
        seen.open("cluster?cluster=0")
        page.locator(".tile").first.click()
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


def test_addresses_of_nothing_are_reported(served, browser):
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


def test_a_server_that_has_ended_is_reported(finished, browser):
    with serve(finished) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector(".card")
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
            "document.images.length && "
            "[...document.images].every((image) => image.naturalWidth > 0)"
        )
        assert seen.page.evaluate("document.cookie") == ""


@pytest.mark.parametrize("path", ["", "?token=secret"], ids=["shared", "first"])
def test_a_link_on_another_site_opens_the_page_for_who_has_the_token(finished, browser, path):
    """Browsers keep the cookie back when they follow such a link, and send it from our page."""
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


def test_who_has_no_token_is_told_where_it_is(finished, browser):
    with (
        serve(finished, token="secret") as server,
        visit(browser, server.port, may_fail=True) as seen,
    ):
        seen.page.goto(f"data:text/html,<a href='{seen.base}'>open</a>")
        seen.page.click("a")
        expect(seen.page.locator("body")).to_contain_text("address that `cpp-pipe serve` printed")
