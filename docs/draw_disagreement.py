"""Draws docs/disagreement.svg: runs the first Python example of the README and draws what its `print` calls print.

Usage: python docs/draw_disagreement.py [FILE]
"""

import ast
import contextlib
import io
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("disagreement.svg")
COLUMNS = 116

# A dark card with its own background, so that it reads alike on light and on dark pages; no font is fetched.
COLOURS = TerminalTheme((22, 27, 34), (201, 209, 217), [(139, 148, 158)] * 8)
SVG = """\
<svg viewBox="-16 -25 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>What the first Python example of the README prints</title>
<style>
text {{ font: {char_height}px SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
{styles}
</style>
<rect x="-16" y="-25" width="{width}" height="{height}" rx="12" fill="#161b22"/>
<defs>
{lines}
</defs>
{matrix}
</svg>
"""
HIGHLIGHTS = {
    r"^>>> .*": "bold #e6edf3",
    r"DISAGREES in \d+ of \d+ tensors": "bold #ff7b72",
    r"first in [\w.]+ \(.*?\)": "bold #ffa657",
    r"D\d+ [\w-]+ explains it": "bold #79c0ff",
    r"(?<=side: ).*": "bold #7ee787",
}


def example() -> str:
    """The first Python block of the README."""
    return re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]


def session(source: str) -> Iterator[tuple[str, str]]:
    """Run the source; yield each statement that prints, with its output."""
    names: dict[str, object] = {"__name__": "__main__"}
    for statement in ast.parse(source).body:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module([statement], []), "README.md", "exec"), names)
        if printed.getvalue():
            yield ast.unparse(statement), printed.getvalue()


def lines(statement: str, output: str) -> list[str]:
    """A prompt and its output, with long lines folded."""
    folded = []
    for line in output.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        folded += textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_long_words=False)
    return [f">>> {statement}", *folded, ""]


def draw(source: str) -> str:
    """The picture as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    shown = [line for statement, output in session(source) for line in lines(statement, output)]
    for line in shown[:-1]:
        text = Text(line)
        for pattern, style in HIGHLIGHTS.items():
            text.highlight_regex(pattern, style)
        console.print(text, soft_wrap=True)
    return console.export_svg(theme=COLOURS, code_format=SVG, unique_id="disagreement")


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    path.write_text(draw(example()))
    print(path)
