"""Chromium as a person uses it, with no network but the server of the test."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parents[3]

SCREENS = ROOT / "ci-output" / "screens"
"""Where pictures of the page are kept, to be looked at."""

DESKTOP = (1440, 900)
PHONE = (390, 844)

_ARGUMENTS = [
    "--no-sandbox",
    # Drawn without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # Nothing but this machine has a name.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find_chromium() -> str:
    """Debian's Chromium; without it the test is skipped, and fails in CI."""
    found = shutil.which("chromium")
    if found is None:
        reason = "no Chromium is installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = launch(playwright, path)
        yield browser
        browser.close()


def launch(playwright: Playwright, path: str) -> Browser:
    """Chromium by its path."""
    return playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)


@dataclass
class Visit:
    """A page, and what went wrong on it."""

    page: Page
    base: str
    size: tuple[int, int]
    scheme: str
    troubles: list[str] = field(default_factory=list)
    """Errors of the console, exceptions, and requests to elsewhere."""

    def open(self, path: str) -> None:
        """Goes to an address of the server, and waits until the view is there."""
        self.page.goto(self.base + path)
        self.settle()

    def settle(self) -> None:
        """Waits until the view and the pictures that are seen are there."""
        self.page.wait_for_selector("main h1, main .trouble")
        self.page.wait_for_function(
            """() => [...document.images].every((one) => {
              const box = one.getBoundingClientRect();
              const isSeen = box.bottom > 0 && box.top < innerHeight && one.checkVisibility();
              return !isSeen || one.complete;
            })"""
        )
        # Complete pictures are decoded aside, and drawn after that.
        self.page.evaluate(
            "Promise.all([...document.images].filter((one) => one.complete)"
            ".map((one) => one.decode().catch(() => {})))"
        )

    def shoot(self, name: str) -> None:
        """Keeps a picture of what is seen, once it is all there."""
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
    """A page of its own; at the end nothing must have gone wrong on it.

    `may_fail` is for tests in which answers are errors, which a browser writes to its console.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=size == PHONE,
        reduced_motion="reduce",
    )
    page = context.new_page()
    base = f"http://127.0.0.1:{port}/"
    found = Visit(page, base, size, scheme)

    def hear(message) -> None:
        is_answer = message.text.startswith("Failed to load resource")
        if message.type == "error" and not (may_fail and is_answer):
            found.troubles.append(f"console: {message.text}")

    def ask(request) -> None:
        if not request.url.startswith((base, "blob:", "data:")):
            found.troubles.append(f"asked elsewhere: {request.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: found.troubles.append(f"exception: {error}"))
    page.on("request", ask)
    page.on("dialog", lambda dialog: found.troubles.append(f"dialog: {dialog.message}"))
    try:
        yield found
    finally:
        context.close()
    assert found.troubles == []
