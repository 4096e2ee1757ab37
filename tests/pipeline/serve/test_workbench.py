"""The workbench in a real browser: the images, the shelf, the dial, selection, comparison."""

import itertools
import re
import time

import numpy as np
import pytest
from playwright.sync_api import expect

from .browser import DESKTOP, PHONE, TILES, visit

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


def shown_rows(page) -> list[int]:
    """The rows of the tiles that are drawn, in order."""
    return [
        int(row) for row in page.locator(TILES).evaluate_all("all => all.map(a => a.dataset.row)")
    ]


@SIZES
def test_the_grid_shows_the_set_by_cluster_the_most_confident_first(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        facts = served.json("/api/set")
        first = facts["sections"][0]
        items = served.json("/api/set/items", limit=min(3, first["size"]))["items"]
        page.wait_for_selector(f"{TILES} img")
        assert shown_rows(page)[: len(items)] == [item["row"] for item in items]
        assert {item["cluster"] for item in items} == {first["cluster"]}
        confidences = [item["confidence"] for item in items]
        assert confidences == sorted(confidences, reverse=True)
        seen.shoot("workbench")


def test_only_images_in_sight_are_drawn(served, browser):
    with visit(browser, served.port, (1440, 500)) as seen:
        page = seen.page
        seen.open("?size=XL")
        page.wait_for_selector(f"{TILES} img")
        drawn = set(shown_rows(page))
        assert 0 < len(drawn) < 60
        page.evaluate("(e => e.scrollTop = e.scrollHeight)(document.querySelector('.scroller'))")
        last = served.json("/api/set/items", offset=59)["items"][0]["row"]
        page.wait_for_selector(f"{TILES}[data-row='{last}'] img")
        assert set(shown_rows(page)) != drawn


@SIZES
def test_the_dial_regroups_the_images(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        slider = page.get_by_role("slider", name="Number of clusters")
        slider.focus()
        page.keyboard.press("Home")
        expect(page.locator("h1")).to_have_text("60 images in 1 cluster")
        expect(slider).to_have_attribute("aria-valuetext", "1 cluster")
        page.keyboard.press("ArrowRight")
        expect(page.locator("h1")).to_have_text("60 images in 2 clusters")
        expect(slider).to_have_attribute("aria-valuetext", "2 clusters")
        expect(page).to_have_url(re.compile(r"\?level=2$"))
        page.keyboard.press("End")
        finest = served.json("/api/run")["tree"]["finest"]
        expect(page.locator(".dial-number")).to_have_text(str(finest))
        box = slider.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2, steps=5)
        page.mouse.up()
        expect(page.locator("h1")).to_have_text("60 images in 1 cluster")
        slider.blur()
        page.keyboard.press("]")
        expect(page.locator("h1")).to_have_text("60 images in 2 clusters")
        page.keyboard.press("]")
        expect(page.locator("h1")).to_have_text("60 images in 3 clusters")
        seen.shoot("regrouped")
        sizes = [section["size"] for section in served.json("/api/set", level=3)["sections"]]
        nodes = served.json("/api/tree")["nodes"]
        expected = [node["size"] for node in nodes if node["coarsest"] <= 3 <= node["finest"]]
        assert sizes == sorted(expected, reverse=True)
        page.get_by_role("combobox", name="Clusters", exact=True).select_option("k-3")
        expect(page).to_have_url(re.compile(r"\?grouping=k-3$"))


def test_a_click_in_the_shelf_leads_to_the_images_of_the_cluster(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("?size=XL")
        last = served.json("/api/set")["sections"][-1]
        page.locator(f".shelf-line [data-cluster='{last['cluster']}']").click()
        row = served.json("/api/set/items", offset=last["start"], limit=1)["items"][0]["row"]
        expect(page.locator(f"{TILES}[data-row='{row}']")).to_be_visible()
        expect(page.locator(".inspector")).to_contain_text("Similar clusters")
        expect(page).to_have_url(re.compile(f"focus={last['cluster']}"))
        page.get_by_role("button", name="Only this cluster").click()
        expect(page.locator("h1")).to_have_text(f"{last['size']} images in 1 cluster")
        expect(page).to_have_url(re.compile("[?&]cluster="))
        page.reload()
        expect(page.locator("h1")).to_have_text(f"{last['size']} images in 1 cluster")
        # The shelf still holds the others, to choose from.
        expect(page.locator(".shelf-line")).to_have_count(5)


def test_clusters_are_counted_and_listed_in_every_order_of_images(served, browser):
    """They were 0, and the shelf was empty, where the least confident images came first."""
    sizes = dict(served.json("/api/set")["clusters"])
    with visit(browser, served.port) as seen:
        seen.open("?order=doubtful&cluster=1")
        expect(seen.page.locator("h1")).to_have_text(f"{sizes[1]} images in 1 cluster")
        expect(seen.page.locator(".shelf-summary")).to_have_text("60 images in 5 clusters")
        expect(seen.page.locator(".shelf-line")).to_have_count(5)
        seen.page.get_by_role("button", name="show all").click()
        expect(seen.page.locator("h1")).to_have_text("60 images in 5 clusters")


def test_filters_are_part_of_the_address(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.get_by_label("Sort clusters by").select_option("name")
        expect(page).to_have_url(re.compile("sort=name"))
        names = page.locator(".shelf-name").all_inner_texts()
        assert names == sorted(names, key=str.lower)
        page.get_by_label("Only clusters whose caption contains").fill(names[0])
        expect(page).to_have_url(re.compile("words="))
        cards = served.json("/api/clusters")["cards"]
        matching = sum(any(names[0] in name["caption"] for name in card["names"]) for card in cards)
        expect(page.locator(".shelf-line")).to_have_count(matching)
        page.reload()
        expect(page.locator(".shelf-line")).to_have_count(matching)
        page.get_by_label("Only clusters whose caption contains").fill("no such caption")
        expect(page.locator(".bench-body")).to_contain_text("No image passes the filters")
        page.get_by_role("button", name="Show all images").click()
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")
        page.get_by_text("Filters", exact=True).click()
        label = served.json("/api/set")["labels"][0]
        page.get_by_label("Label", exact=True).select_option(label[0])
        expect(page.locator("h1")).to_contain_text(f"{label[1]} images")


def test_images_are_selected_by_pointer_and_keys_and_leave_as_keys(served, browser, tmp_path):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        count = page.locator(".tray-count")
        page.locator(TILES).nth(1).click(modifiers=["Control"])
        expect(count).to_have_text("1 selected")
        page.locator(TILES).nth(4).click(modifiers=["Shift"])
        expect(count).to_have_text("4 selected")
        page.get_by_role("checkbox").nth(2).click()
        expect(count).to_have_text("3 selected")
        rows = [shown_rows(page)[place] for place in (1, 3, 4)]
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Save keys.txt").click()
        lines = (download.value.path()).read_text().split()
        expected = [served.json(f"/api/images/{row}") for row in sorted(rows)]
        assert lines == [f"{each['shard']}:{each['key']}" for each in expected]
        commands = page.locator("dialog pre").inner_text().splitlines()
        assert commands[0] == "cpp-pipe curate --keys keys.txt --out shards/ --store STORE"
        assert commands[1] == "cpp-pipe edit tag TAG --keys keys.txt --store STORE"
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Find similar").click()
        expect(page).to_have_url(re.compile("search\\?rows="))
        expect(page.locator(".results .tile")).to_have_count(60)
        page.go_back()
        expect(count).to_have_text("3 selected")
        page.keyboard.press("Control+a")
        expect(count).to_have_text("60 selected")
        page.keyboard.press("Escape")
        expect(page.locator(".tray")).to_be_hidden()


def test_a_closed_drawer_returns_the_focus(served, browser):
    with visit(browser, served.port, PHONE) as seen:
        page = seen.page
        seen.open("")
        opener = page.get_by_role("button", name="Clusters", exact=True)
        shelf = page.get_by_role("complementary", name="Clusters and filters")
        closings = {
            "the button": lambda: page.get_by_role("button", name="Close", exact=True).click(),
            "the key": lambda: page.keyboard.press("Escape"),
            "a choice": lambda: page.locator(".shelf-line button").nth(1).click(),
        }
        for closing in closings.values():
            opener.focus()
            page.keyboard.press("Enter")
            expect(shelf).to_be_focused()
            closing()
            expect(shelf).to_be_hidden()
            expect(opener).to_be_focused()


@pytest.mark.parametrize(
    "path, heading",
    [
        ("?order=constructor", "60 images in 5 clusters"),
        ("?sort=toString&doubt=valueOf", "60 images in 5 clusters"),
        ("review?queue=constructor", "Review"),
    ],
)
def test_a_name_that_every_object_has_is_none_of_an_address(served, browser, path, heading):
    with visit(browser, served.port) as seen:
        seen.open(path)
        expect(seen.page.locator("h1")).to_have_text(heading)


def test_a_share_that_rounds_to_zero_has_no_sign(served, browser):
    with visit(browser, served.port) as seen:
        seen.open("run")
        percent = (
            "import('./static/dom.js').then((dom) => [-0.001, 0.974].map((x) => dom.percent(x)))"
        )
        assert seen.page.evaluate(percent) == ["0%", "97%"]


def test_an_address_that_shows_nothing_says_so_in_its_heading(served, browser):
    with visit(browser, served.port, may_fail=True) as seen:
        seen.open("?tag=nosuchtag")
        expect(seen.page.locator("h1")).to_have_text("No images")
        seen.page.get_by_role("button", name="Show all images").click()
        expect(seen.page.locator("h1")).to_contain_text("60 images")


def test_a_failure_is_named_in_the_heading_and_can_be_retried(served, browser):
    with visit(browser, served.port, may_fail=True) as seen:
        seen.open("?where=nosuchcolumn+%3E+2")
        expect(seen.page.locator("h1")).to_have_text("These images cannot be found")
        seen.page.context.set_offline(True)
        seen.page.get_by_role("button", name="Show all images").click()
        expect(seen.page.locator("h1")).to_have_text("The server does not answer")
        seen.page.context.set_offline(False)
        seen.page.get_by_role("button", name="Try again").click()
        expect(seen.page.locator("h1")).to_contain_text("60 images")


@pytest.mark.parametrize("size", [(768, 1024), (820, 1180), (390, 844), (1024, 600)])
def test_all_buttons_are_in_sight_and_do_not_overlap(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("")
        boxes = [
            page.locator(part).bounding_box() for part in (".brand", ".tabs", ".find", "#theme")
        ]
        if size[0] < 704:  # the tabs are at the foot
            boxes.pop(1)
        for left, right in itertools.pairwise(boxes):
            assert left and right and left["x"] + left["width"] <= right["x"]
        bench = page.locator(".bench").bounding_box()
        assert bench is not None
        room = size[1] - bench["y"] - bench["height"]
        assert room <= (64 if size[0] < 704 else 1)
        seen.open("review?queue=doubtful")
        for name in ("Back", "Next"):
            expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)


def test_what_is_said_of_a_comparison_counts_the_images_that_were_compared(served, browser):
    facts = served.json("/api/compare", a=1, b=2)
    facts["sides"][0] |= {"nearer": 3, "sampled": 7}
    with visit(browser, served.port) as seen:
        seen.page.route("**/api/compare*", lambda route: route.fulfill(json=facts))
        seen.open("?view=compare&pair=1,2")
        expect(seen.page.locator(".compare")).to_contain_text(
            f"3 of 7 sampled images of the first and {facts['sides'][1]['nearer']} of the second"
        )


def test_two_clusters_are_compared(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("?view=compare&pair=1,2")
        facts = served.json("/api/compare", a=1, b=2)
        expect(page.locator(".compare .grid").first.locator(".tile")).to_have_count(
            len(facts["sides"][0]["typical"])
        )
        seen.shoot("compare")
        page.get_by_label("Second cluster").select_option("3")
        expect(page).to_have_url(re.compile("pair=1%2C3"))


@SIZES
def test_a_click_on_the_map_shows_the_image(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        seen.open("map")
        page.wait_for_selector("[data-drawn][data-points='60'][data-camera]")
        locate = """([x, y]) => {
          const stage = document.querySelector(".plane-stage").getBoundingClientRect();
          const camera = document.querySelector("[data-camera]").dataset.camera;
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
        expect(page.locator(".inspector h2")).to_have_text(key)
        seen.shoot("map-clicked")
        if size == PHONE:
            page.get_by_role("button", name="Close").click()
        scale = "Number(document.querySelector('[data-camera]').dataset.camera.split(' ')[2])"
        before = page.evaluate(scale)
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_function(f"(before) => {scale} > before", arg=before)
        page.get_by_role("combobox", name="Clusters", exact=True).select_option("k-3")
        expect(page.locator("h1")).to_have_text("60 images in 3 clusters")
        expect(page).to_have_url(re.compile(r"\?view=map&grouping=k-3"))


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
        selected = page.get_by_text("60 selected")
        expect(selected.first).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("button", name="Clear")).to_be_hidden()
        page.locator(".plane-stage").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("+")
        page.keyboard.press("Enter")
        expect(page.locator(".inspector h2")).to_be_visible()


def test_with_a_gpu_the_map_is_drawn_by_webgl(served, browser):
    """WebGL runs on the CPU here; its name is hidden, because the map does not use such WebGL."""
    with visit(browser, served.port) as seen:
        seen.page.add_init_script("WebGL2RenderingContext.prototype.getExtension = () => null;")
        seen.open("map")
        seen.page.wait_for_selector("[data-drawn][data-points='60'][data-camera]")
        drawn = """() => {
          const gl = document.querySelector(".plane canvas").getContext("webgl2");
          return [gl.getError(), gl.getParameter(gl.CURRENT_PROGRAM) !== null];
        }"""
        assert seen.page.evaluate(drawn) == [0, True]


def test_the_list_of_commands_is_searched_by_keys(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.keyboard.press("Control+k")
        page.keyboard.type("novel")
        expect(page.locator(".palette-list li")).to_have_count(1)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("order=novel"))
        expected = [item["row"] for item in served.json("/api/set/items", order="novel")["items"]]
        page.wait_for_selector(f"{TILES}[data-row='{expected[0]}'] img")
        assert shown_rows(page)[:5] == expected[:5]


@SIZES
def test_images_are_reviewed_one_after_the_other(served, browser, size):
    with visit(browser, served.port, size) as seen:
        page = seen.page
        rows = served.json("/api/set/items", max_confidence=0.5, order="doubtful")["items"]
        seen.open("review")
        expect(page.locator(".lead")).to_contain_text("0.5 or less")  # as the filter
        if not rows:
            expect(page.locator(".empty")).to_contain_text("nothing to review")
        for item in rows[:2]:
            expect(page.locator(".review-facts h2")).to_have_text(item["key"])
            page.keyboard.press("ArrowRight")
        seen.shoot("review")
        page.get_by_role("button", name="Unnamed").click()
        expect(page.get_by_role("status").first).to_have_text("1 of 5")
        expect(page.locator(".hint")).to_contain_text("cpp-pipe serve --edit --store STORE")


def answer_later(route) -> None:
    """Delays an answer for longer than the page waits to change the address."""
    time.sleep(0.6)
    route.continue_()


def test_a_view_that_was_left_does_not_change_the_address(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.wait_for_selector(f"{TILES} img")
        page.route(re.compile("/api/images/"), answer_later)
        # In one step: a choice reaches the address only after a delay.
        page.evaluate(
            "document.querySelector('.wall-name').click();"
            "document.querySelector('.wall-tile .tile').click();"
        )
        expect(page.locator("article")).to_be_visible()
        expect(page).to_have_url(re.compile("/image"))
