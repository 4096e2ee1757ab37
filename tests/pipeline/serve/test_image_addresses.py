"""Addresses of images, where two folders of one name hold a file of one name."""

import re

from playwright.sync_api import expect

from ...stages.sources.image_files import png
from ..cli import DIGITS, succeed
from .browser import visit
from .server import serve

expect.set_options(timeout=20_000)  # milliseconds: the machine may be busy with other tests


def test_each_of_two_images_of_one_name_is_shown_at_its_own_address(tmp_path, browser):
    """A click on the second one showed the first."""
    flags = []
    for start, (year, other) in enumerate((("2023", "b.png"), ("2024", "c.png"))):
        photos = tmp_path / year / "photos"
        photos.mkdir(parents=True)
        (photos / "a.png").write_bytes(png(2 * start))
        (photos / other).write_bytes(png(2 * start + 1))
        flags += ["--images", photos]
    store = tmp_path / "artifacts"
    succeed(store, "embed", *flags, *DIGITS)
    succeed(store, "assign", "--k", "2")
    with serve(store) as server, visit(browser, server.port) as seen:
        rows = server.json("/api/rows", key="a.png", shard="photos")
        assert len(rows) == 2
        shown = seen.page.locator(".stage img")
        for row in rows:
            seen.open("")
            seen.page.locator(f".wall-tile .tile[data-row='{row}']").click()
            expect(shown).to_have_attribute("src", re.compile(rf"pictures/{row}\?"))
            seen.page.reload()
            expect(shown).to_have_attribute("src", re.compile(rf"pictures/{row}\?"))
        # An address from before rows were added shows an image of its name.
        seen.open("image?shard=photos&key=c.png&row=999")
        expect(seen.page.locator("h1")).to_have_text("c.png")
