"""Answers that come late, or are errors, in a real browser: none covers others, none is lost."""

import re

from playwright.sync_api import expect

from .browser import visit

expect.set_options(timeout=20_000)  # milliseconds: the machine may be busy with other tests


def test_a_view_that_was_left_before_it_came_does_not_cover_the_one_that_is_shown(served, browser):
    """It said that it was loading after a quarter of a second, wherever one had gone by then."""
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.wait_for_selector(".wall-tile a.tile")
        page.route(re.compile(r"/api/images/\d+$"), lambda route: None)  # never answered
        page.evaluate("document.querySelector('.wall-tile a.tile').click(), history.back()")
        page.wait_for_timeout(600)
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")
        page.unroute_all(behavior="ignoreErrors")


def test_an_earlier_search_does_not_cover_the_hits_of_a_later_one(served, browser):
    with visit(browser, served.port, may_fail=True) as seen:
        page, held = seen.page, []
        page.route(re.compile("/api/search.*space=features"), lambda route: held.append(route))
        seen.open("search?row=7")
        page.get_by_role("button", name="Embeddings").click()
        expect(page.locator(".results .tile")).to_have_count(60)
        page.wait_for_timeout(1000)  # after which a search says that it still waits
        expect(page.locator(".results .tile")).to_have_count(60)
        with page.expect_response(re.compile("space=features")):
            held[0].fulfill(status=503, json={"detail": "the server is busy"})
        page.wait_for_timeout(200)
        expect(page.locator(".results .tile")).to_have_count(60)
        expect(page.locator(".results")).to_have_attribute("aria-busy", "false")


def test_a_request_that_fails_after_a_click_says_why(served, browser):
    """A button whose request failed seemed to do nothing."""
    with visit(browser, served.port, may_fail=True) as seen:
        page, reason = seen.page, "the key 'a ' cannot be a line of text"
        page.route("**/api/keys", lambda route: route.fulfill(status=400, json={"detail": reason}))
        seen.open("")
        page.locator(".wall-tile .tile").first.click(modifiers=["Control"])
        page.get_by_role("button", name="Export").click()
        expect(page.locator("#toast")).to_contain_text(reason)


def test_images_that_come_late_leave_the_focus_to_who_types(served, browser):
    """The grid took it back from a field as soon as it had loaded."""
    with visit(browser, served.port) as seen:
        page, held = seen.page, []
        seen.open("")
        page.locator(".wall-tile a.tile").first.focus()
        page.route("**/api/set/items*", lambda route: held.append(route))
        with page.expect_request("**/api/set/items*"):
            page.keyboard.press("[")
        page.keyboard.press("f")
        words = page.get_by_label("Only clusters whose caption contains")
        expect(words).to_be_focused()
        page.unroute("**/api/set/items*")  # which lets those through that were held
        page.wait_for_selector(".wall-tile a.tile")
        page.wait_for_timeout(200)
        expect(words).to_be_focused()
