"""How a run is drawn: one colour for each of 20 runs, a marker once hues repeat, and one kind of line per backend.

A figure is drawn in the colours for light paper; inside a page they become CSS variables, which also have dark values.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.reports.runs import Run

# (on light, on dark): the second ten repeat the hues of the first in another shade. Colour-blind readers can tell
# any two apart, and each has a contrast of at least 3 with its background.
COLOURS = (
    ("#1f6fc0", "#5fa8f0"),
    ("#d2570b", "#f2954a"),
    ("#1b8a4b", "#96e7a7"),
    ("#093e6f", "#3a77b8"),
    ("#730532", "#f44f62"),
    ("#4c0eb3", "#d9c6fe"),
    ("#9585f4", "#a361fb"),
    ("#934b83", "#a7477d"),
    ("#d9719e", "#c28bac"),
    ("#7d4b05", "#a05b11"),
    ("#1348dc", "#65859b"),
    ("#482204", "#db640e"),
    ("#6e907a", "#88ba87"),
    ("#6298c6", "#a1b8e5"),
    ("#fe396c", "#e00655"),
    ("#5d5ffe", "#6f4dde"),
    ("#584092", "#8081d8"),
    ("#c629ac", "#ec9ac4"),
    ("#684757", "#cc5a82"),
    ("#da7e1e", "#f9bf60"),
)
HUES = 10
MARKERS = {  # matplotlib's name -> the same as SVG, around (0, 0); the first ten runs have none
    "": "",
    "s": "M-4-4H4V4H-4Z",
    "^": "M0-5L5 4H-5Z",
    "D": "M0-5L5 0L0 5L-5 0Z",
}
LINES: dict[str, dict[str, Any]] = {  # JAX is dashed and on top, so that equal curves show both
    "torch": {"linestyle": "-", "linewidth": 3.0, "zorder": 2},
    "jax": {"linestyle": (0, (3, 3)), "linewidth": 1.6, "zorder": 3},
}
OTHER_LINE: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 2.0, "zorder": 3}
INK, MUTED, LINE, PAPER = "#18212c", "#586473", "#dde2e8", "#ffffff"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--card",
    **{light: f"--run-{number}" for number, (light, _) in enumerate(COLOURS)},
}


class Look(NamedTuple):
    """The colour's number, the marker and the line of a run."""

    colour: int
    marker: str
    line: Mapping[str, Any]

    @property
    def on_paper(self) -> str:
        return COLOURS[self.colour][0]

    @property
    def of_page(self) -> dict[str, Any]:
        """What a page needs to draw a sample of the line: CSS colour, width, dashes in pixels, the marker's path."""
        width, style = self.line["linewidth"], self.line["linestyle"]
        dashes = " ".join(f"{width * part:.1f}" for part in style[1]) if style != "-" else ""
        return {
            "colour": f"var(--run-{self.colour})",
            "width": width,
            "dashes": dashes,
            "marker": MARKERS[self.marker],
        }


def look_of(run: Run) -> Look:
    """The look of a run by its number in the report."""
    markers = list(MARKERS)
    return Look(
        run.number % len(COLOURS),
        markers[run.number // HUES % len(markers)],
        LINES.get(run.backend, OTHER_LINE),
    )


def in_variables(svg: str) -> str:
    """An SVG whose colours are CSS variables of a page."""
    return re.sub("|".join(VARIABLES), lambda found: f"var({VARIABLES[found[0]]})", svg)


def as_css(dark: bool) -> str:
    """The colours of all runs as declarations of CSS variables."""
    return " ".join(f"--run-{number}: {pair[dark]};" for number, pair in enumerate(COLOURS))
