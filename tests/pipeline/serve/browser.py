"""Chromium as a person uses it, with no network but the test's own server."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

expect.set_options(timeout=20_000)  # milliseconds: the machine may be busy with other tests

ROOT = Path(__file__).resolve().parents[3]

SCREENS = ROOT / "ci-output" / "screens"
"""Where screenshots of the page are kept."""

DESKTOP = (1440, 900)
PHONE = (390, 844)

TILES = ".wall-tile .tile"
"""The images of the grid."""

_ARGUMENTS = [
    "--no-sandbox",
    # WebGL without a graphics card.
    "--enable-unsafe-swiftshader",
    # Only this machine has a name.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find_chromium() -> str:
    """Debian's Chromium; without it the test is skipped, or fails in CI."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no Chromium is installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = launch(playwright, path)
        yield browser
        browser.close()


def launch(playwright: Playwright, path: str) -> Browser:
    """Starts the Chromium at a path."""
    return playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)


@dataclass
class Visit:
    """A browser's page, and the errors on it."""

    page: Page
    base: str
    size: tuple[int, int]
    scheme: str
    troubles: list[str] = field(default_factory=list)
    """Errors in the console, exceptions, dialogs, and requests to other servers."""

    def open(self, path: str) -> None:
        """Goes to an address of the server, and waits until the view is shown."""
        self.page.goto(self.base + path)
        self.settle()

    def settle(self) -> None:
        """Waits until the view and its visible images are loaded."""
        self.page.wait_for_selector("main h1, main .trouble")
        self.page.wait_for_function(
            """() => [...document.images].every((image) => {
              const box = image.getBoundingClientRect();
              const isSeen = box.bottom > 0 && box.top < innerHeight && image.checkVisibility();
              return !isSeen || image.complete;
            })"""
        )
        # Complete images are decoded in the background and drawn after that.
        self.page.evaluate(
            "Promise.all([...document.images].filter((image) => image.complete)"
            ".map((image) => image.decode().catch(() => {})))"
        )

    def shoot(self, name: str) -> None:
        """Saves a screenshot of the settled view."""
        self.settle()
        SCREENS.mkdir(parents=True, exist_ok=True)
        width = "desktop" if self.size == DESKTOP else "phone"
        self.page.screenshot(path=SCREENS / f"{name}-{width}-{self.scheme}.png")


@contextlib.contextmanager
def visit(
    browser: Browser,
    port: int,
    size: tuple[int, int] = DESKTOP,
    scheme: str = "light",
    *,
    may_fail: bool = False,
) -> Iterator[Visit]:
    """A new page; the test fails at its end if the page had an error.

    `may_fail` is for tests whose answers are errors, which a browser writes to its console.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=size == PHONE,
        reduced_motion="reduce",
    )
    page = context.new_page()
    base = f"http://127.0.0.1:{port}/"
    seen = Visit(page, base, size, scheme)

    def on_console(message) -> None:
        is_answer = message.text.startswith("Failed to load resource")
        if message.type == "error" and not (may_fail and is_answer):
            seen.troubles.append(f"console: {message.text} {message.location['url']}")

    def on_request(request) -> None:
        if not request.url.startswith((base, "blob:", "data:")):
            seen.troubles.append(f"request to another server: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.troubles.append(f"exception: {error}"))
    page.on("request", on_request)
    page.on("dialog", lambda dialog: seen.troubles.append(f"dialog: {dialog.message}"))
    try:
        yield seen
    finally:
        context.close()
    assert not seen.troubles, seen.troubles


def answer_dialog(page: Page, text: str, button: str) -> None:
    """Types a text into the open dialog, and presses a button."""
    page.locator("dialog input").fill(text)
    page.locator("dialog").get_by_role("button", name=button, exact=True).click()
