"""A headless browser, where one is installed: a page after its scripts ran, and the layout of a page of some width."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DARK = "--blink-settings=preferredColorScheme=0"
# A window has a smallest width, a frame has none.
FRAME = """<!doctype html>
<html style="color-scheme: light dark"><meta charset="utf-8"><body>
<iframe id="frame" style="border: 0; width: {width}px; height: 800px"></iframe>
<script>
frame.onload = () => {{ document.body.textContent = JSON.stringify(frame.contentWindow.layout); }};
frame.srcdoc = {page};
</script></body></html>"""
MEASURE = """<script>
const root = document.documentElement, edge = root.clientWidth + 1, look = getComputedStyle(document.body);
const beyond = selector => [...document.querySelectorAll(selector)]
  .filter(part => part.getBoundingClientRect().right > edge).map(part => part.outerHTML.slice(0, 80));
const lines = part => part.scrollHeight / parseFloat(getComputedStyle(part).lineHeight);
window.layout = {
  width: root.clientWidth,
  overflow: root.scrollWidth - root.clientWidth,
  cut: beyond("body *:not(script, .wide *, svg *)"),
  cells: beyond("td, th"),
  squeezed: [...document.querySelectorAll("td, th")]
    .filter(cell => cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.textContent),
  narrow: [...document.querySelectorAll("dd, p, figcaption, li > span")]
    .filter(part => lines(part) > 3.1 && part.getBoundingClientRect().width < 180).map(part => part.textContent),
  letters: Math.min(...[...document.querySelectorAll("figure > svg[role=img]")]
    .map(svg => 11 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)),
  tables: document.querySelectorAll("table").length,
  ink: look.color,
  paper: look.backgroundColor,
};
</script></body>"""


def dom_of(page: str, folder: Path, *, width: int = 1200, dark: bool = False, fragment: str = "") -> str:
    """The document of a page, in a window of this width in pixels; skips the test where no browser is installed."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: expected one of {', '.join(BROWSERS)} on the PATH")
    (folder / "page.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'user'}"]
    size = [f"--window-size={width},800", "--virtual-time-budget=5000", "--dump-dom"]
    command = [browser, *options, *([DARK] if dark else []), *size, f"{(folder / 'page.html').as_uri()}{fragment}"]
    return subprocess.run(command, capture_output=True, timeout=900).stdout.decode()


def layout_of(page: str, folder: Path, *, width: int, dark: bool = False) -> dict:
    """The layout of a page of this width in pixels.

    `overflow` is how much wider than that it is; `cut` and `cells` are the elements and the cells that end beyond its
    edge, `squeezed` the cells that are too narrow for their content, `narrow` the texts in columns of a few words;
    `letters` is the size of the letters in figures, in pixels.
    """
    text = json.dumps(page.replace("</body>", MEASURE)).replace("<", "\\u003c")
    document = dom_of(FRAME.format(width=width, page=text), folder, dark=dark)
    found = json.loads(html.unescape(re.search(r"<body>(.*)</body>", document, re.DOTALL)[1]))
    assert found["width"] == width
    return found


def as_printed(page: str) -> str:
    """The page with its rules for printing in force on the screen."""
    return page.replace("@media print", "@media screen")
