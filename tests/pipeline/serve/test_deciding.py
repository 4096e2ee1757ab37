"""Decisions made on the page, by pointer and keys, in a real browser."""

import re

from playwright.sync_api import expect

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.preparation import prepare

from ..cli import succeed
from .browser import TILES, answer_dialog, visit
from .server import Served, serve


def decisions(served: Served) -> list[tuple[str, str]]:
    """The applied decisions in order: operation and value."""
    listed = served.json("/api/edits", limit=100)["decisions"]
    return [(each["op"], each["value"]) for each in reversed(listed) if each["status"] == "applied"]


def test_a_cluster_is_named_and_its_name_is_seen_everywhere(editable, own_store, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("")
        page.locator(".wall-name").first.click()
        page.locator(".inspector").get_by_role("button", name="Name", exact=True).click()
        answer_dialog(page, "sevens & ones", "Save")
        expect(page.locator("#toast")).to_contain_text("Named it “sevens & ones”.")
        expect(page.locator(".shelf-name", has_text="sevens & ones")).to_be_visible()
        expect(page.locator(".wall-name", has_text="sevens & ones")).to_be_visible()
        assert decisions(editable) == [("name", "sevens & ones")]
        page.locator("#toast").get_by_role("button", name="Undo").click()
        expect(page.locator(".shelf-name", has_text="sevens & ones")).to_have_count(0)
    run = Run.open(own_store)
    assert [edit.op for edit in run.edits.decisions()] == ["name", "revert"]


def test_selected_images_are_tagged_moved_and_excluded(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("")
        other = page.locator(TILES).nth(3).get_attribute("data-row")
        page.locator(TILES).nth(0).click(modifiers=["Control"])
        page.locator(TILES).nth(2).click(modifiers=["Shift"])
        page.keyboard.press("t")
        answer_dialog(page, "good", "Tag")
        expect(page.locator("#toast")).to_contain_text("Tagged 3 images “good”.")
        page.keyboard.press("m")
        options = page.locator("dialog option").all_inner_texts()
        page.locator("dialog select").select_option(options[2])
        page.locator("dialog").get_by_role("button", name="Move").click()
        expect(page.locator("#toast")).to_contain_text(f"Moved 3 images to {options[2]}.")
        expect(page.locator(".tray")).to_be_hidden()
        # By its row: places change when the images that moved are shown elsewhere.
        page.locator(f"{TILES}[data-row='{other}']").click(modifiers=["Control"])
        page.keyboard.press("x")
        expect(page.locator("#toast")).to_contain_text("Excluded 1 image.")
        expect(page.locator("h1")).to_have_text("59 images in 5 clusters")
        seen.shoot("decided")
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Tag", exact=True).select_option("good")
        expect(page.locator("h1")).to_have_text("3 images in 1 cluster")
        expect(page).to_have_url(re.compile("tag=good"))
        page.keyboard.press("Escape")
        expect(page.locator("h1")).to_contain_text("59 images")
        page.get_by_label("Excluded images").select_option("only")
        expect(page.locator("h1")).to_have_text("1 image in 1 cluster")
        page.keyboard.press("u")
        expect(page.locator("#toast")).to_contain_text("Undone: excluded 1 image.")
        assert [op for op, _ in decisions(editable)] == ["tag", "move", "revert"]


def test_two_clusters_are_merged_where_they_are_compared(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("?view=compare&pair=0,1")
        page.get_by_role("button", name="Merge both").click()
        expect(page.locator("h1")).to_have_text("60 images in 4 clusters")
        assert [op for op, _ in decisions(editable)] == ["merge"]


def test_a_cluster_is_split_in_two(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("")
        facts = {c: editable.json(f"/api/clusters/{c}") for c in range(5)}
        cluster = next(c for c, each in facts.items() if each["splits_into"])
        page.locator(f".shelf-line [data-cluster='{cluster}']").click()
        page.get_by_role("button", name="Split in two").click()
        expect(page.locator("h1")).to_have_text("60 images in 6 clusters")


def test_a_decision_of_another_person_is_shown_and_not_overwritten(editable, browser):
    with (
        visit(browser, editable.port, may_fail=True) as seen,
        visit(browser, editable.port) as other,
    ):
        for each in (seen, other):
            each.open("")
            each.page.locator(".wall-name").first.click()
        button = ".inspector button:text-is('Name')"
        other.page.locator(button).click()
        answer_dialog(other.page, "theirs", "Save")
        expect(other.page.locator("#toast")).to_be_visible()
        seen.page.locator(button).click()
        answer_dialog(seen.page, "mine", "Save")
        dialog = seen.page.get_by_role("dialog", name="Somebody decided meanwhile")
        expect(dialog).to_contain_text("“theirs”")
        assert decisions(editable) == [("name", "theirs")]
        dialog.get_by_role("button", name="Record mine, too").click()
        expect(seen.page.locator(".shelf-name", has_text="mine")).to_be_visible()
        assert decisions(editable) == [("name", "theirs"), ("name", "mine")]


def test_images_and_clusters_are_reviewed_by_one_key_each(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("review?queue=unnamed")
        expect(page.locator("main [role=status]")).to_have_text("1 of 5")
        page.keyboard.press("k")
        expect(page.locator("main [role=status]")).to_have_text("2 of 5")
        page.keyboard.press("n")
        answer_dialog(page, "my name", "Save")
        expect(page.locator("main [role=status]")).to_have_text("3 of 5")
        page.keyboard.press("u")
        expect(page.locator("main [role=status]")).to_have_text("2 of 5")
        assert [op for op, _ in decisions(editable)] == ["name", "revert"]
        seen.open("review?queue=labels")
        total = int((page.locator("main [role=status]").inner_text()).split()[-1])
        page.keyboard.press("k")
        expect(page.locator("main [role=status]")).to_have_text(f"2 of {total}")
        page.keyboard.press("x")
        expect(page.locator("main [role=status]")).to_have_text(f"3 of {total}")
        # Kept images do not come again, nor do excluded ones.
        page.reload()
        expect(page.locator("main [role=status]")).to_have_text(f"1 of {total - 2}")


def test_keys_pressed_fast_decide_about_one_image_after_the_other(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("review?queue=unnamed")
        for key in "kkkukk":
            page.keyboard.press(key)
        expect(page.locator("main [role=status]")).to_have_text("5 of 5")
        listed = editable.json("/api/edits", limit=100)
        assert [each["op"] for each in reversed(listed["decisions"])] == [
            *("name", "name", "name", "revert", "name", "name"),
        ]  # fmt: skip
        assert len(listed["names"]) == 4
        # Undo leads back to what it is about, also from somewhere else.
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("main [role=status]")).to_have_text("3 of 5")
        page.keyboard.press("u")
        expect(page.locator("main [role=status]")).to_have_text("4 of 5")
        assert len(editable.json("/api/edits")["names"]) == 3


def test_keys_pressed_after_a_failed_decision_decide_nothing(editable, browser):
    """They were meant for images that were never shown."""
    with visit(browser, editable.port, may_fail=True) as seen:
        page = seen.page
        seen.open("review?queue=unnamed")
        page.route("**/api/edits", lambda route: route.abort(), times=1)
        page.evaluate(
            """for (const key of "kkk")
              document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}))"""
        )
        expect(page.locator("#toast")).to_contain_text("the server does not answer")
        expect(page.locator("main [role=status]")).to_have_text("1 of 5")
        page.keyboard.press("k")
        expect(page.locator("main [role=status]")).to_have_text("2 of 5")
        assert len(decisions(editable)) == 1


def test_a_double_click_decides_once_and_other_decisions_wait(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("?view=compare&pair=0,1")
        page.get_by_role("button", name="Merge both").dblclick()
        expect(page.locator("h1")).to_have_text("60 images in 4 clusters")
        seen.open("")
        page.locator(TILES).first.click(modifiers=["Control"])
        # Before any of it is answered.
        page.evaluate(
            """for (const name of ["Exclude", "Include", "Exclude", "Exclude"])
              [...document.querySelectorAll(".tray button")]
                .find((each) => each.textContent === name).click()"""
        )
        expect(page.locator("h1")).to_have_text("59 images in 4 clusters")
        assert [op for op, _ in decisions(editable)] == ["merge", "exclude", "include", "exclude"]


def test_the_page_does_not_decide_where_the_server_is_read_only(served, browser):
    with visit(browser, served.port) as seen:
        page = seen.page
        seen.open("")
        page.locator(TILES).first.click(modifiers=["Control"])
        expect(page.locator(".tray button")).to_have_text(["Find similar", "Export", "Clear"])
        page.keyboard.press("x")
        page.locator(".wall-name").first.click()
        expect(page.locator(".inspector h2")).to_be_visible()
        assert (
            page.locator(".inspector").get_by_role("button", name="Name", exact=True).count() == 0
        )
        assert served.json("/api/edits")["length"] == 0


def test_only_decided_clusters_can_be_decided_about(editable, browser):
    """Numbers of a level of the hierarchy, or of another k, mean other clusters."""
    with visit(browser, editable.port) as seen:
        page = seen.page
        node = editable.json("/api/set", level=3)["sections"][0]["cluster"]
        for path in (f"?level=3&focus={node}", "?grouping=k-3&focus=1"):
            seen.open(path)
            expect(page.locator(".inspector h2")).to_be_visible()
            expect(page.locator(".inspector")).to_contain_text("the clusters of this run")
            page.keyboard.press("n")
            expect(page.locator("dialog[open]")).to_have_count(0)
        page.locator(TILES).first.click(modifiers=["Control"])
        page.keyboard.press("m")
        expect(page.locator("dialog[open] option")).to_have_count(5)
        shown = page.locator("dialog[open] option").all_inner_texts()
        own = [card["names"][0]["caption"] for card in editable.json("/api/clusters")["cards"]]
        assert shown == own


def test_review_names_clusters_by_their_numbers_after_a_merge(editable, browser):
    answer = editable.client.post("/api/edits", json={"op": "merge", "clusters": [0, 1], "seen": 0})
    assert answer.status_code == 200
    cards = editable.json("/api/clusters", grouping="decided")["cards"]
    assert [card["id"] for card in cards] == [0, 2, 3, 4]
    largest = max(cards, key=lambda card: card["size"])
    with visit(browser, editable.port) as seen:
        seen.open("review?queue=unnamed")
        caption = largest["names"][0]["caption"]
        expect(seen.page.locator(".review-facts h2")).to_have_text(caption)
        seen.page.keyboard.press("k")
        expect(seen.page.locator("main [role=status]")).to_have_text("2 of 4")
    assert editable.json("/api/edits")["names"] == {str(largest["id"]): caption}


def test_decisions_made_elsewhere_appear_on_an_open_page(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("")
        new = {"op": "name", "clusters": [2], "value": "from a shell", "seen": 0}
        assert editable.client.post("/api/edits", json=new).status_code == 200
        # As every 15 seconds.
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".shelf-name", has_text="from a shell")).to_be_visible()
        # Undo takes back what was decided here, and nothing of others.
        page.locator("h1").click()
        page.keyboard.press("u")
        expect(page.locator("#toast")).to_contain_text("nothing to undo")
        assert decisions(editable) == [("name", "from a shell")]


def test_excluded_images_are_no_hits_on_the_page(editable, browser):
    hits = editable.json("/api/search", row=7, n=5)["hits"]
    gone = hits[1]
    new = {"op": "exclude", "rows": [gone["row"]], "seen": 0}
    assert editable.client.post("/api/edits", json=new).status_code == 200
    with visit(browser, editable.port) as seen:
        seen.open("search?row=7")
        expect(seen.page.locator(".results .tile")).to_have_count(59)
        assert gone["key"] not in seen.page.locator(".results .key").all_text_contents()


def test_an_open_page_of_a_replaced_run_decides_nothing(editable):
    generation = editable.json("/api/run")["generation"]
    new = {"op": "name", "clusters": [1], "value": "x", "seen": 0}
    answer = editable.client.post("/api/edits", json={**new, "generation": "0123456789ab"})
    assert answer.status_code == 409 and "the run has changed" in answer.json()["detail"]
    assert editable.json("/api/edits")["length"] == 0
    answer = editable.client.post("/api/edits", json={**new, "generation": generation})
    assert answer.status_code == 200


def test_decisions_that_need_a_look_are_reviewed_after_many_later_ones(own_store, browser):
    clusters = Run.open(own_store).artifact("assignments").column("cluster")
    sizes = sorted(range(5), key=list(clusters).count)
    run = Run.open(own_store)
    for cluster in sizes[:4]:
        run.edits.name(cluster, f"was {cluster}")
    for row in range(110):
        run.edits.tag("seen", images=[row % 60])
    succeed(own_store, "assign", "--k", "2")
    prepare(open_plan(Common(store=str(own_store), device="cpu")))
    with serve(own_store, is_editable=True) as served, visit(browser, served.port) as seen:
        page, waiting = seen.page, served.json("/api/edits")["needs_a_look"]
        assert waiting >= 2
        seen.open("")
        page.get_by_role("link", name=f"{waiting} need a look").click()
        status = page.locator(".review [role=status]")
        expect(status).to_have_text(f"1 of {waiting}")
        expect(page.locator(".review-facts")).to_contain_text("named cluster")
        page.keyboard.press("x")
        expect(status).to_have_text(f"2 of {waiting}")
        assert served.json("/api/edits", status="needs a look")["total"] == waiting - 1
        # Undo takes back what was done here, and nothing that was decided before.
        page.keyboard.press("u")
        expect(status).to_have_text(f"1 of {waiting}")
        assert served.json("/api/edits")["decisions"][0]["op"] == "revert"
        assert served.json("/api/edits", status="needs a look")["total"] == waiting
        page.keyboard.press("x")
        expect(status).to_have_text(f"2 of {waiting}")
        left = served.json("/api/edits", status="needs a look")["total"]
        page.keyboard.press("k")
        expect(page.locator("#toast")).to_contain_text("Kept.")
        left, before = served.json("/api/edits", status="needs a look")["total"], left
        assert left < before
        seen.open("review?queue=look")
        expect(page.get_by_role("button", name="Needs a look")).to_be_visible()
        expect(status).to_have_text(f"1 of {left}" if left else "")


def test_a_double_click_in_a_review_decides_about_one_image(editable, browser):
    with visit(browser, editable.port) as seen:
        seen.open("review?queue=labels")
        status = seen.page.locator("main [role=status]")
        total = int(status.inner_text().split()[-1])
        seen.page.get_by_role("button", name="Exclude").dblclick()
        expect(status).to_have_text(f"2 of {total}")
        seen.page.get_by_role("button", name="Keep").click()
        expect(status).to_have_text(f"3 of {total}")
        assert [op for op, _ in decisions(editable)] == ["exclude", "tag"]


def test_a_fully_excluded_cluster_says_so_and_can_be_included_again(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("?focus=2")
        name = page.locator(".inspector h2").inner_text()
        size = editable.json("/api/clusters/2")["card"]["size"]
        page.get_by_role("button", name="Exclude all").click()
        expect(page.locator("h1")).to_have_text(f"{60 - size} images in 4 clusters")
        expect(page.locator(".dial-number")).to_have_text("4")
        expect(page.locator(".inspector")).to_contain_text(f"All its {size} images are excluded.")
        expect(page.locator(".inspector h2")).to_have_text(name)
        page.get_by_role("button", name="Show them").click()
        expect(page.locator("h1")).to_have_text(f"{size} images in 1 cluster")
        page.get_by_role("button", name="Include all").click()
        page.get_by_role("button", name="Show all images").click()
        expect(page.locator("h1")).to_have_text("60 images in 5 clusters")


def test_a_dialog_does_not_stay_over_another_page(editable, browser):
    with visit(browser, editable.port) as seen:
        page = seen.page
        seen.open("run")
        page.get_by_role("link", name="Images", exact=True).click()
        page.locator(".wall-name").first.click()
        expect(page.locator(".inspector h2")).to_be_visible()
        page.keyboard.press("n")
        expect(page.locator("dialog[open]")).to_be_visible()
        page.go_back()
        expect(page.locator("h1")).to_have_text("Run default")
        expect(page.locator("dialog[open]")).to_have_count(0)
        assert decisions(editable) == []
