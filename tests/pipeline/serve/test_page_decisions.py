"""The page after a decision: refused texts, images in sight, the focus."""

import re
import shutil

from playwright.sync_api import Page, expect

from cpp_pipe import Run

from ...waiting import wait_until
from .browser import TILES, answer_dialog, visit
from .server import Served

UNPRINTABLE = "my\u200bname"
"""It has a zero-width space, as copied texts may."""


def recorded(served: Served) -> list[tuple[str, list[int], str]]:
    """The decisions in order: operation, clusters, value."""
    listed = served.json("/api/edits", limit=100)["decisions"]
    return [(each["op"], each["clusters"], each["value"]) for each in reversed(listed)]


def choose_command(page: Page, words: str, expected: str) -> None:
    """Runs the only command of the list that has some words."""
    page.keyboard.press("Control+k")
    page.keyboard.type(words)
    expect(page.locator(".palette-list li")).to_have_text([expected])
    page.keyboard.press("Enter")


def test_clusters_are_merged_from_the_list_of_commands(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("?focus=2")
        heading = page.locator(".inspector h2")
        expect(heading).to_be_visible()
        name = heading.inner_text()
        choose_command(page, "merge", f"Merge another cluster into {name}")
        dialog = page.get_by_role("dialog", name=f"Merge into {name}")
        values = dialog.locator("option").evaluate_all("all => all.map(each => each.value)")
        assert sorted(values) == ["0", "1", "3", "4"]
        dialog.get_by_label("The other cluster").select_option("4")
        seen.shoot("merge")
        dialog.get_by_role("button", name="Merge").click()
        expect(page.locator("h1")).to_have_text("60 images in 4 clusters")
        # Its caption may be another now, as its images are; it keeps its number and the focus.
        expect(page).to_have_url(re.compile("focus=2"))
        seen.open("?view=compare&pair=0,1")
        options = page.locator(".compare option:checked").all_inner_texts()
        first, second = (re.sub(r" \(.*\)$", "", text) for text in options)
        expect(page.get_by_role("button", name="Merge both")).to_be_visible()
        choose_command(page, "merge", f"Merge {second} into {first}")
        expect(page.locator("h1")).to_have_text("60 images in 3 clusters")
        assert recorded(editable) == [("merge", [2, 4], ""), ("merge", [0, 1], "")]


def test_a_refused_text_stays_in_its_dialog(editable, browser):
    with visit(browser, editable.port, may_fail=True) as seen:
        page = seen.page
        seen.open("")
        page.locator(".wall-name").first.click()
        expect(page.locator(".inspector h2")).to_be_visible()
        field, reason = page.locator("dialog input"), page.locator("dialog [role=alert]")
        page.keyboard.press("n")
        expect(reason).to_be_hidden()
        answer_dialog(page, UNPRINTABLE, "Save")
        expect(reason).to_contain_text("must be one line of text")
        expect(field).to_have_value(UNPRINTABLE)
        expect(field).to_be_focused()
        seen.shoot("refused")
        answer_dialog(page, "my name", "Save")
        expect(page.locator(".shelf-name", has_text="my name")).to_be_visible()
        expect(page.locator("dialog[open]")).to_have_count(0)
        # A note that does not arrive.
        page.locator(".inspector").get_by_role("button", name="Note").click()
        page.route("**/api/edits", lambda route: route.abort(), times=1)
        answer_dialog(page, "blurred", "Save")
        expect(reason).to_contain_text("the server does not answer")
        expect(field).to_have_value("blurred")
        page.locator("dialog").get_by_role("button", name="Save").click()
        expect(page.locator("#toast")).to_contain_text("Noted.")
        # A tag that is given up.
        page.locator(TILES).first.click(modifiers=["Control"])
        page.keyboard.press("t")
        answer_dialog(page, UNPRINTABLE, "Tag")
        expect(reason).to_contain_text("must be one line of text")
        page.locator("dialog").get_by_role("button", name="Cancel").click()
        expect(page.locator("dialog[open]")).to_have_count(0)
        ops = [(op, value) for op, _, value in recorded(editable)]
        assert ops == [("name", "my name"), ("note", "blurred")]


def test_the_focus_returns_to_the_image_after_a_dialog(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("")
        row = page.locator(TILES).nth(3).get_attribute("data-row")
        page.locator(TILES).nth(3).click(modifiers=["Control"])
        page.keyboard.press("t")
        answer_dialog(page, "good", "Tag")
        expect(page.locator("#toast")).to_contain_text("Tagged 1 image")
        expect(page.locator(f"{TILES}[data-row='{row}']")).to_be_focused()


def test_the_grid_keeps_showing_the_cluster_that_has_the_focus(editable, browser):
    """A decision makes the largest cluster the smallest, and so the last."""
    sections = editable.json("/api/set")["sections"]
    largest = sections[0]["cluster"]
    new = {"op": "name", "clusters": [largest], "value": "the largest", "seen": 0}
    assert editable.client.post("/api/edits", json=new).status_code == 200
    with visit(browser, editable.port, (1440, 500)) as seen:
        page = seen.page
        seen.open("?size=XL")
        page.get_by_role("button", name="Select all of the largest").click()
        page.locator(TILES).first.click(modifiers=["Control"])
        page.locator(".wall-name", has_text="the largest").click()
        page.get_by_role("button", name="Selected into a new cluster").click()
        expect(page.locator("h1")).to_have_text("60 images in 6 clusters")
        moved = editable.json("/api/set", grouping="decided")["sections"]
        assert moved[-1]["cluster"] == largest and moved[-1]["size"] == 1
        group = page.get_by_role("group", name="the largest")
        expect(group).to_be_in_viewport()
        expect(group.locator(".tile")).to_be_in_viewport()


def test_the_first_decision_of_a_review_is_seen_in_it(editable, browser):
    """It showed the run's own clusters until it was left, and so the name that was no more."""
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("review?queue=labels")
        facts = page.locator(".review-facts dl")
        expect(facts).to_be_visible()
        page.keyboard.press("n")
        answer_dialog(page, "my name", "Save")
        expect(facts).to_contain_text("my name")
        page.keyboard.press("u")
        expect(facts).not_to_contain_text("my name")


def test_a_run_is_shown_where_its_decisions_cannot_be_read(editable, own_store, tmp_path, browser):
    """Every view ended in an error, though the server serves the run without them."""
    other = shutil.copytree(own_store, tmp_path / "other")
    Run.open(other).edits.name(1, "by hand")
    (written,) = (other / "runs" / "default" / "edits").glob("*.json")
    entry = own_store / written.relative_to(other)
    entry.parent.mkdir(exist_ok=True)
    entry.write_text(written.read_text()[:40])
    wait_until(lambda: editable.json("/api/state")["trouble"] is not None, "it is noticed", 20)
    with visit(browser, editable.port, may_fail=True) as seen:
        page = seen.page
        seen.open("")
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("#notice")).to_contain_text(entry.name)
        entry.write_text(written.read_text())
        expect(page.locator(".shelf-name", has_text="by hand")).to_be_visible()
        expect(page.locator("#notice")).to_be_hidden()


def test_the_page_of_images_has_one_name_everywhere(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("review")
        page.locator("main").get_by_role("link", name="Images", exact=True).click()
        expect(page).to_have_title(re.compile("^Images · "))
        current = page.locator(".tabs a[aria-current]")
        expect(current).to_contain_text("Images")
        page.locator(TILES).first.click()
        expect(page.locator(".crumbs a").first).to_have_text("Images")


def test_undo_passes_over_what_was_taken_back_elsewhere(editable, own_store, browser):
    """It tried to take back the same decision again, and never came to the one before it."""
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("")
        page.locator(".wall-name").first.click()
        for name in ("first", "second"):
            page.locator(".inspector").get_by_role("button", name="Name", exact=True).click()
            answer_dialog(page, name, "Save")
            expect(page.locator(".inspector h2")).to_have_text(name)
        Run.open(own_store).edits.undo()
        assert (
            editable.json("/api/edits")["length"] == 3
        )  # the server has seen it, and now the page
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".shelf-name", has_text="first")).to_be_visible()
        page.keyboard.press("u")
        expect(page.locator("#toast")).to_contain_text("Undone: named")
        expect(page.locator(".shelf-name", has_text="first")).to_have_count(0)
        assert [op for op, *_ in recorded(editable)] == ["name", "name", "revert", "revert"]
