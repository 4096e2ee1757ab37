"""The queues of the review: their sizes, and the image that is kept for a copy."""

import re
import shutil

import pytest
from playwright.sync_api import Page, expect

from cpp_pipe import Run

from ..cli import succeed
from .browser import PHONE, visit
from .server import serve


def tab(page: Page, name: str):
    """The button of a queue."""
    return page.get_by_role("group", name="Queue").get_by_role("button", name=name)


def test_each_queue_says_how_many_it_holds(editable, browser):
    doubtful = editable.json("/api/set", max_confidence=0.5)["total"]
    against = editable.json("/api/set", only="against-labels")["total"]
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("review?queue=unnamed")
        expect(tab(page, "Doubtful")).to_have_text(f"Doubtful {doubtful}")
        expect(tab(page, "Against labels")).to_have_text(f"Against labels {against}")
        expect(tab(page, "Unnamed")).to_have_text("Unnamed 5")
        expect(tab(page, "Needs a look")).to_have_text("Needs a look 0")
        # Nobody has looked for them.
        expect(tab(page, "Copies")).to_have_text("Copies")
        expect(tab(page, "Near-duplicates")).to_have_text("Near-duplicates")
        page.keyboard.press("k")
        expect(tab(page, "Unnamed")).to_have_text("Unnamed 4")
        tab(page, "Against labels").click()
        expect(page.locator("main [role=status]")).to_have_text(f"1 of {against}")
        page.keyboard.press("k")
        expect(tab(page, "Against labels")).to_have_text(f"Against labels {against - 1}")
        page.keyboard.press("u")
        expect(tab(page, "Against labels")).to_have_text(f"Against labels {against}")
        seen.shoot("review-counts")


def test_the_page_does_not_wait_for_the_counts_of_queues(served, browser):
    with visit(browser, served.port) as seen:
        seen.page.route(re.compile(r"/api/set\?"), lambda route: None)  # never answered
        seen.open("review?queue=doubtful")
        expect(seen.page.locator("main [role=status]")).to_have_text(re.compile("^(1 of|$)"))
        seen.page.unroute_all(behavior="ignoreErrors")


@pytest.fixture(scope="module")
def groups(tmp_path_factory, finished):
    """A server over a store whose near-duplicates were searched, and their groups."""
    folder = tmp_path_factory.mktemp("groups") / "artifacts"
    shutil.copytree(finished, folder)
    succeed(folder, "duplicates", "--above", "0.9")
    made = Run.open(folder).artifact("duplicates")
    with serve(folder, is_editable=True) as server:
        yield server, made.table(made.only_part).to_pylist()


def test_each_spare_image_has_the_one_that_is_kept(groups):
    server, table = groups
    leaders = {each["group"]: each["row"] for each in table if each["kept"]}
    expected = {each["row"]: leaders[each["group"]] for each in table if not each["kept"]}
    found = {row: server.json(f"/api/images/{row}/kept")["row"] for row in range(60)}
    assert expected and found == {row: expected.get(row) for row in range(60)}


def test_the_kept_image_is_refused_if_copies_were_never_searched(groups):
    server, _ = groups
    answer = server.get("/api/images/3/kept", kind="copies")
    assert answer.status_code == 404
    assert "run `cpp-pipe duplicates --tier same --store STORE`" in answer.json()["detail"]
    assert server.get("/api/images/60/kept").status_code == 404


def test_the_review_says_which_of_near_duplicates_is_kept(groups, browser):
    server, table = groups
    query = {"only": "duplicates", "order": "doubtful"}
    first = server.json("/api/set/items", **query)["items"][0]["row"]
    kept = server.json(f"/api/images/{first}/kept")["row"]
    key = server.json(f"/api/images/{kept}")["key"]
    spare = sum(not each["kept"] for each in table)
    for size in (PHONE, (1440, 900)):
        with visit(browser, server.port, size) as seen:
            seen.open("review?queue=duplicates")
            beside = seen.page.locator(".review-typical .kept")
            expect(beside).to_have_text("kept")
            expect(beside.get_by_role("img")).to_have_attribute("alt", f"{key}, kept")
            expect(tab(seen.page, "Near-duplicates")).to_have_text(f"Near-duplicates {spare}")
            seen.shoot("review-kept")
    new = {"op": "exclude", "rows": [kept], "seen": 0}
    assert server.client.post("/api/edits", json=new).status_code == 200
    with visit(browser, server.port) as seen:
        seen.open("review?queue=duplicates")
        expect(seen.page.locator(".review-typical .kept")).to_have_text("kept, but excluded")
