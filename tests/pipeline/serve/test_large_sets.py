"""A set of more images than a browser has room for, in a real browser."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import expect

from .browser import visit

expect.set_options(timeout=20_000)  # milliseconds: the machine may be busy with other tests

TOTAL = 1_500_000


def replying(answer: dict[str, Any]) -> Callable[[Any], None]:
    """What answers a request in the place of the server."""
    return lambda route: route.fulfill(**answer)


def test_keys_lead_to_the_last_image_that_the_grid_has_room_for(served, browser):
    """End led to one that is not drawn, and then no image could be reached by keys."""
    facts = served.json("/api/set") | {
        "total": TOTAL,
        "sections": [{"cluster": 0, "start": 0, "size": TOTAL}],
        "clusters": [[0, TOTAL]],
    }
    (item,) = served.json("/api/set/items", limit=1)["items"]
    answers: dict[str, dict[str, Any]] = {
        r"/api/set\?": {"json": facts},
        "/api/set/rows": {"body": np.zeros(TOTAL, "<i4").tobytes()},
        "/api/set/items": {"json": {"total": TOTAL, "offset": 0, "items": [item] * 120}},
    }
    with visit(browser, served.port) as seen:
        page = seen.page
        for path, answer in answers.items():
            page.route(re.compile(path), replying(answer))
        seen.open("")
        expect(page.locator("h1")).to_have_text("1,500,000 images in 1 cluster")
        page.locator(".wall-tile .tile").first.focus()
        page.keyboard.press("End")
        focused = page.locator(".wall-tile a:focus")
        expect(focused).to_have_attribute("data-place", re.compile("....."))
        assert 10_000 < int(focused.get_attribute("data-place") or "") < TOTAL - 1
        expect(focused).to_be_in_viewport()
