"""A headless browser, where one is installed: a page's document after its scripts ran, in a window of some size."""

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DARK = "--blink-settings=preferredColorScheme=0"
# what is wider than the page, in pixels, besides what scrolls in its own box
MEASURE = """<script>
  document.body.dataset.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const right = document.documentElement.clientWidth;
  document.body.dataset.cut = [...document.querySelectorAll("body *")]
    .filter(part => part.getBoundingClientRect().right > right + 1 && !part.closest("script, .wide, svg *"))
    .map(part => part.tagName).join(" ");
  document.body.dataset.cells = [...document.querySelectorAll("td, th")]
    .filter(cell => cell.getBoundingClientRect().right > right + 1).length;
  const style = getComputedStyle(document.body);
  document.body.dataset.colours = [style.color, style.backgroundColor];
  document.body.dataset.narrow = [...document.querySelectorAll("dd, p, figcaption, li > span")]
    .filter(part => part.scrollHeight > 3 * parseFloat(getComputedStyle(part).lineHeight) + 1)
    .filter(part => part.getBoundingClientRect().width < 180).length;
  document.body.dataset.letters = Math.min(...[...document.querySelectorAll("figure > svg[role=img]")]
    .map(svg => 11 * 4 / 3 * svg.getBoundingClientRect().width / (svg.viewBox.baseVal.width * 4 / 3)));
</script></body>"""


def dom_of(page: str, folder: Path, *, width: int, height: int = 800, dark: bool = False, fragment: str = "") -> str:
    """The document of a page, in a window of this size in pixels; skips the test where no browser is installed."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: expected one of {', '.join(BROWSERS)} on the PATH")
    (folder / "page.html").write_text(page, encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    size = [f"--window-size={width},{height}", "--virtual-time-budget=5000", "--dump-dom"]
    address = f"{(folder / 'page.html').as_uri()}{fragment}"
    command = [browser, *options, *([DARK] if dark else []), *size, address]
    return subprocess.run(command, capture_output=True, timeout=900).stdout.decode()


def measured(page: str, folder: Path, **window: int | bool) -> str:
    """The document with measurements of its layout as `data-` attributes of the body."""
    return dom_of(page.replace("</body>", MEASURE), folder, **window)


def as_printed(page: str) -> str:
    """The page with its rules for printing in force on the screen."""
    return page.replace("@media print", "@media screen")
