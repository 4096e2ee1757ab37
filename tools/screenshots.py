"""Screenshots of the digits' page in Chromium, for the README.

    make demo && .venv/bin/python tools/screenshots.py

Makes what the run lacks for the page, serves it, and writes docs/assets/page-*.png. Needs the
extras serve and test, and Chromium (apt-get install chromium).
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

ASSETS = Path(__file__).resolve().parents[1] / "docs" / "assets"
CHOSEN: Mapping[str, int] = {"overview": 0, "map": 2}
"""For each view, the place in the list of clusters of the one that is chosen."""
SIZE: ViewportSize = {"width": 1440, "height": 900}
_ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader"]


def main() -> None:
    """Serves the run, and takes the screenshots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", default="artifacts")
    parser.add_argument("--run", default="digits")
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    command = [sys.executable, "-m", "cpp_pipe", "serve", "--map", "--port", "0"]
    command += ["--store", args.store, "--run", args.run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            if not address:
                sys.exit("the server did not start: see above")
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=browser, args=_ARGUMENTS)
                for name in CHOSEN:
                    page = chromium.new_page(viewport=SIZE, reduced_motion="reduce")
                    page.emulate_media(color_scheme="light")
                    page.goto(address)  # with the token, which becomes a cookie
                    show(page, address.partition("?")[0], name)
                    path = args.out / f"page-{name}.png"
                    page.screenshot(path=path)
                    print(f"{path}: {path.stat().st_size / 1000:,.0f} kB")
        finally:
            server.terminate()


def show(page: Page, address: str, name: str) -> None:
    """Opens a view, chooses a cluster, and waits until both are rendered."""
    page.goto(address + ("map" if name == "map" else ""))
    page.wait_for_selector("[data-drawn]" if name == "map" else ".wall-tile a")
    line = page.locator(".shelf-line button").nth(CHOSEN[name])
    cluster = line.locator(".shelf-name").inner_text()
    line.click()
    page.wait_for_selector(f".inspector h2:text-is('{cluster}')")
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.evaluate("Promise.all([...document.images].map((img) => img.decode().catch(() => {})))")


if __name__ == "__main__":
    main()
