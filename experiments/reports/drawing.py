"""How figures of runs are drawn: panels, curves, axes of whole iterations, legends, and the three forms of a figure."""

import html
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reports.looks import INK, LINE, MUTED, Look, in_variables, look_of
from experiments.reports.runs import Run
from shared.atomic import new_file

SIZE = (5.2, 3.6)  # inches: letters stay legible on a phone
MARKS = 8  # of a run on a curve, about
LETTERS, LEGEND_LINE = 78, 0.17  # letters in a line of a legend; its height in inches
SAMPLE = 7  # letters that the sample of a line takes
STYLE_OF_PAGE: dict[Any, Any] = {
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": LINE,
    "legend.fontsize": 9,
    "svg.hashsalt": "isograd",
    "text.parse_math": False,  # a $ in a name is a dollar
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
Legend = Sequence[tuple[str, Look]]


@dataclass(frozen=True)
class Drawn:
    """A figure as an SVG and a PNG file with a legend inside, and as an SVG for a page, which writes the legend."""

    name: str
    caption: str
    svg: str
    png: bytes
    in_page: str
    legend: Legend

    def write(self, folder: Path, *, with_png: bool = True) -> None:
        """Write NAME.svg and NAME.png into a folder, each atomically."""
        contents = {"svg": self.svg.encode(), **({"png": self.png} if with_png else {})}
        for kind, content in contents.items():
            with new_file(folder / f"{self.name}.{kind}") as temporary:
                temporary.write_bytes(content)


def draw(
    name: str,
    caption: str,
    plot: Callable[[Sequence[Any]], None],
    legend: Legend = (),
    *,
    rows: int = 1,
    columns: int = 1,
    height: float = SIZE[1],
    shared: bool = False,
) -> Drawn:
    """A figure of rows or columns of panels, filled by `plot`; `shared` gives them equal axes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE_OF_PAGE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a name in a script that the font lacks
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
        panels = list(figure.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False).flat)
        plot(panels)
        for panel in panels:
            panel.grid(linewidth=0.8)
            panel.set_axisbelow(True)
        return drawn(figure, name, caption, legend)


def drawn(figure: Any, name: str, caption: str, legend: Legend = ()) -> Drawn:
    """A figure of matplotlib in its forms."""
    in_page = for_page(_svg(figure), caption)
    _add_legend(figure, legend)
    return Drawn(name, caption, _svg(figure), _png(figure), in_page, legend)


def _add_legend(figure: Any, legend: Legend) -> None:
    """Make room below the panels, and put the legend there."""
    from matplotlib.lines import Line2D

    if not legend:
        return
    labels = [textwrap.fill(label, LETTERS - SAMPLE) for label, _ in legend]
    columns = max(1, min(len(legend), LETTERS // (SAMPLE + max(len(label) for label, _ in legend))))
    handles = [Line2D([], [], **line_of(look)) for _, look in legend]
    lines = -(-sum(label.count("\n") + 1 for label in labels) // columns)
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (lines + 1))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, handlelength=3)


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=NO_METADATA)
    return text.getvalue()[text.getvalue().index("<svg") :]  # without the XML declaration, which HTML can't contain


def _png(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=140)
    return data.getvalue()


def for_page(svg: str, caption: str) -> str:
    """The SVG as a part of a page: colours by variables, a text for those who can't see it, no ids of its own."""
    without_ids = re.sub(r'<g id="[^"]*"', "<g", svg)
    described = f'<svg role="img" aria-label="{html.escape(caption)}"'
    return in_variables(without_ids).replace("<svg", described, 1)


def legend_of(runs: Sequence[Run]) -> Legend:
    return [(run.label, look_of(run)) for run in runs]


def curve(axes: Any, look: Look, steps: np.ndarray, values: np.ndarray, **changes: Any) -> None:
    """Draw a curve; points without a neighbour, which no line would show, get a marker."""
    axes.plot(steps, values, **line_of(look), markevery=_marked(len(steps)), **changes)
    if len(single := _single(values)):
        opacity = changes.get("alpha")
        axes.plot(steps[single], values[single], look.marker or "o", color=look.on_paper, markersize=5, alpha=opacity)


def line_of(look: Look) -> dict[str, Any]:
    """The look as arguments of a plot."""
    return {"color": look.on_paper, "marker": look.marker or None, "markersize": 5, **look.line}


def _marked(length: int) -> int:
    return max(1, length // MARKS)


def _single(values: np.ndarray) -> np.ndarray:
    """The places of finite values between others that are not finite, or that do not exist."""
    finite = np.pad(np.isfinite(values), 1)
    return np.flatnonzero(finite[1:-1] & ~finite[:-2] & ~finite[2:])


def whole_numbers(axes: Any) -> None:
    """An axis of iterations, all of whose ticks are whole numbers."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_xlabel("iteration (batches)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def logarithmic(axes: Any, name: str) -> None:
    """Give the axis x or y a logarithmic scale."""
    from matplotlib.ticker import LogFormatter, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_formatter(LogFormatter())  # the default writes formulas
    axis.set_minor_formatter(NullFormatter())
