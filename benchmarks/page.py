"""The page in a real browser: seconds until what a person waits for is painted.

    python -m benchmarks.page                      # 10,000 rows, Chromium, software rendering
    python -m benchmarks.page --shared ../shared   # with photographs from there

`cpp-pipe serve` runs in its own process over planted rows with images in tars, and Chromium renders
without a graphics card. Each visit starts with an empty cache of the browser, in a tab that has
shown a file of the server, so that the process that Chromium starts for a site is there. Each round
has its own server, started three seconds before, as a person needs to open the address that it
prints; in this time it draws the images that are seen first, and no others. Measured are: the first
page until its images are painted (overview); clicks until their content is there (the slowest of a
cluster, a level, a filter, a comparison, an image, the way back); 60 tiles at a place of the grid
that was never shown; the map. The slowest of all rounds counts.
"""

import io
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .measure import argument_parser, machine, parse_arguments
from .serve import served
from .serve_store import make_store

BARS = {"overview_s": 1.5, "click_s": 0.3, "tiles_s": 1.0, "map_s": 2.0}
WIDTH, HEIGHT = 1440, 900
READY_SECONDS = 3.0

_IMAGES_PAINTED = """(least) => {
  const seen = [...document.querySelectorAll(".wall-tile img")].filter((image) => {
    const box = image.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  });
  const tiles = [...document.querySelectorAll(".wall-tile")].filter((tile) => {
    const box = tile.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  });
  return seen.length >= Math.min(least, tiles.length) && tiles.length > 0
    && seen.length === tiles.length && seen.every((image) => image.complete && image.naturalWidth);
}"""

_EVENTS = """for (const kind of ["pointerdown", "change", "popstate"]) {
  addEventListener(kind, (event) => { window.began = event.timeStamp; }, { capture: true });
}"""
"""What a person does: before it, the tool that does it waits until nothing moves any more."""

_FRAMES = """new Promise((done) => {
  const since = () => done(window.began ? performance.now() - window.began : null);
  requestAnimationFrame(() => requestAnimationFrame(since));
})"""
"""Two frames later: the milliseconds since the last event, if there was one."""


class Watch:
    """Takes the seconds of what happens in a page."""

    def __init__(self, page: Any) -> None:
        self._page = page
        page.add_init_script(_EVENTS)
        self.seconds: dict[str, list[tuple[float, str]]] = {name: [] for name in BARS}

    def take(self, kind: str, what: str, act: Callable[[], Any], until: Callable[[], Any]) -> None:
        """Does something, waits for what it leads to and that it is painted, and notes the time.

        The time begins with the event in the page, or else with the call.
        """
        self._page.evaluate("() => { window.began = 0; }")
        began = time.perf_counter()
        act()
        until()
        since = self._page.evaluate(_FRAMES)
        seconds = time.perf_counter() - began if since is None else since / 1000
        self.seconds[kind].append((seconds, what))


def visit(page: Any, base: str, watch: Watch) -> None:
    """What a person does first."""

    def painted(least: int = 1) -> Callable[[], Any]:
        return lambda: page.wait_for_function(_IMAGES_PAINTED, arg=least, polling="raf")

    def level(k: int) -> Callable[[], Any]:
        return lambda: page.wait_for_function(
            """(k) => document.querySelector(".dial-number").textContent === String(k)
              && document.querySelector(".wall-tile a")""",
            arg=k,
            polling="raf",
        )

    def appears(selector: str) -> Callable[[], Any]:
        return lambda: page.wait_for_selector(selector)

    time.sleep(READY_SECONDS)
    page.goto(base + "static/icon.svg")
    watch.take("overview_s", "first page", lambda: page.goto(base), painted())
    line = page.locator(".shelf-line button").nth(7)
    name = line.locator(".shelf-name").inner_text()
    watch.take("click_s", "a cluster", line.click, appears(f".inspector h2:text-is('{name}')"))
    more = page.get_by_role("button", name="One cluster more")
    first = int(page.locator(".dial-number").inner_text())  # few rows leave some clusters empty
    watch.take("click_s", "a level", more.click, level(first + 1))
    watch.take("click_s", "the next level", more.click, level(first + 2))
    page.goto(base)
    painted()()
    doubt = page.locator(".bench-tools > select")
    watch.take(
        "click_s",
        "the doubtful first",
        lambda: doubt.select_option("doubtful"),
        lambda: page.wait_for_selector(".wall-heading", state="detached"),
    )
    watch.take(
        "click_s",
        "a comparison",
        lambda: page.get_by_role("button", name="Compare").click(),
        appears(".compare .grid .tile"),
    )
    grid = page.get_by_role("button", name="Grid")
    watch.take("click_s", "the grid again", grid.click, appears(".wall-tile a"))
    key = page.locator(".wall-tile a").first
    watch.take("click_s", "an image", key.click, appears("article .image"))
    watch.take("click_s", "the way back", page.go_back, appears(".wall-tile a"))
    page.goto(base + "?size=S")
    painted()()
    jump = """(share) => {
      const scroller = document.querySelector(".scroller");
      scroller.scrollTop = share * scroller.scrollHeight;
    }"""
    for share in (0.37, 0.81):
        watch.take(
            "tiles_s",
            f"tiles at {share:.0%}",
            lambda share=share: page.evaluate(jump, share),
            painted(60),
        )
    watch.take("map_s", "the map", lambda: page.goto(base + "map"), appears("[data-drawn]"))


def photographs(shared: Path, most: int) -> list[tuple[bytes, int, int]]:
    """Photographs of Caltech-101 with their pixels, if they are there."""
    from PIL import Image

    return [(encoded, *Image.open(io.BytesIO(encoded)).size) for encoded in _members(shared, most)]


def _members(shared: Path, most: int) -> Iterator[bytes]:
    left = most
    for path in sorted((shared / "data" / "caltech101").glob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                if left and entry.name.endswith(".jpg"):
                    left -= 1
                    file = tar.extractfile(entry)
                    assert file is not None, "a regular file"
                    yield file.read()


def main() -> None:
    """Measures, and prints a table and a line of JSON."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments = parse_arguments(parser, rows=300, rounds=1)
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    images = photographs(arguments.shared, arguments.rows)
    seconds: dict[str, list[tuple[float, str]]] = {name: [] for name in BARS}
    elements = 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        make_store(Path(folder), arguments.rows, images=images, has_map=True)
        # Chromium's own choice without a graphics card: it paints by itself, and WebGL is emulated.
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for _ in range(arguments.rounds):
            with served(Path(folder) / "store") as (port, _):
                page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
                watch = Watch(page)
                visit(page, f"http://127.0.0.1:{port}/", watch)
                page.goto(f"http://127.0.0.1:{port}/?size=S")
                page.wait_for_function(_IMAGES_PAINTED, arg=1)
                elements = max(elements, page.evaluate("document.querySelectorAll('*').length"))
                page.context.close()
            for name, taken in watch.seconds.items():
                seconds[name] += taken
        browser.close()
    kind = "photographs" if images else "random images"
    print(f"{arguments.rows:,} rows, {kind}, {arguments.rounds} rounds, {machine()}")
    print(f"{'':24}{'slowest':>9}{'median':>9}{'bar':>7}")
    whats = list(dict.fromkeys((name, what) for name in seconds for _, what in seconds[name]))
    for name, what in whats:
        taken = sorted(value for value, other in seconds[name] if other == what)
        print(f"{what:24}{taken[-1]:9.2f}{taken[len(taken) // 2]:9.2f}{BARS[name]:7.1f}")
    print(f"elements of the page at the smallest size: {elements:,}")
    slowest = {name: round(max(taken)[0], 3) for name, taken in seconds.items()}
    print(json.dumps({**slowest, "elements": elements, "rows": arguments.rows}))


if __name__ == "__main__":
    main()
