"""Figures of runs: every run has its own colour, and every axis of iterations has whole numbers."""

import html
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.reports.looks import INK, LINE, MUTED, Look, in_variables, look_of
from experiments.reports.runs import Run, loss_differences, pairs
from shared.tasks.task import Figure

SIZE = (5.2, 3.6)  # inches: letters stay legible on a phone
SMOOTHED_FROM = 100  # steps; shorter curves are not smoothed
WINDOWS = 40  # a smoothed curve averages over this fraction of its steps
MARKS = 8  # of a run on a curve, about
PALE = 0.4  # opacity of training beside validation
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


def draw_all(runs: Sequence[Run]) -> list[Drawn]:
    """Training loss, validation loss and the first figure of all runs; the difference of backends in pairs."""
    window = window_of(runs)
    smoothing = f", averaged over {window} steps; the pale lines are single steps" if window > 1 else ""
    figures = [
        _draw("train_loss", f"Training loss{smoothing}.", "training loss", _train_curves(runs, window), runs),
        _draw("validation_loss", "Validation loss.", "validation loss", _validation(runs, "loss"), runs),
        *(_draw_figure(figure, runs) for figure in dict.fromkeys(run.task.figures[0] for run in runs)),
    ]
    different = [pair for pair in pairs(runs) if loss_differences(*pair)[1].any()]
    return [*figures, _draw_differences(different)] if different else figures


def _draw_figure(figure: Figure, runs: Sequence[Run]) -> Drawn:
    """The validations of the runs whose best checkpoint is chosen by this figure."""
    title = f"validation {figure.title}"
    caption = f"V{title[1:]}. A circle marks the best of each run."
    decided = [run for run in runs if run.task.figures[0] == figure]
    return _draw(f"validation_{figure.name}", caption, title, _validation(decided, figure.name), decided)


def _draw_differences(found: Sequence[tuple[Run, Run]]) -> Drawn:
    caption = (
        "Absolute difference between the training losses of torch and jax at each step, starting from the same "
        "weights, on a logarithmic axis. Steps with equal losses have no point."
    )
    legend = [(a.label_without("backend") or "torch and jax", look_of(a)) for a, _ in found]

    def plot(panels: Sequence[Any]) -> None:
        from matplotlib.ticker import LogFormatter

        (axes,) = panels
        axes.set(ylabel="|loss of torch − loss of jax|", yscale="log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the default writes formulas
        axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        for (a, b), (_, look) in zip(found, legend, strict=True):
            steps, differences = loss_differences(a, b)
            visible = np.where(differences > 0, differences, np.nan)
            axes.plot(steps, visible, look.marker or ".", color=look.on_paper, markersize=4)
        whole_numbers(axes)

    return draw("loss_difference", caption, plot, legend)


def _draw(name: str, caption: str, label: str, plot: Callable[[Any], None], runs: Sequence[Run]) -> Drawn:
    def plot_one(panels: Sequence[Any]) -> None:
        (axes,) = panels
        plot(axes)
        axes.set(ylabel=label)
        whole_numbers(axes)

    return draw(name, caption, plot_one, legend_of(runs))


def legend_of(runs: Sequence[Run]) -> Legend:
    return [(run.label, look_of(run)) for run in runs]


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


def _train_curves(runs: Sequence[Run], window: int) -> Callable[[Any], None]:
    def plot(axes: Any) -> None:
        for run in runs:
            steps, losses = columns_of(run.train, "loss")
            look = look_of(run)
            if window > 1:
                axes.plot(steps, losses, color=look.on_paper, linewidth=0.6, alpha=0.15, zorder=1)
            curve(axes, look, *averaged(steps, losses, window))

    return plot


def _validation(runs: Sequence[Run], name: str) -> Callable[[Any], None]:
    def plot(axes: Any) -> None:
        for run in runs:
            look = look_of(run)
            curve(axes, look, *columns_of(run.validation, name))
            if name != "loss" and run.best is not None:
                point = run.best["step"], run.best[name]
                axes.plot(*point, "o", color=look.on_paper, markersize=9, fillstyle="none", zorder=4)

    return plot


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


def columns_of(records: list[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps of all records, and their values of one name."""
    return np.array([record["step"] for record in records]), np.array([record[name] for record in records], np.float64)


def window_of(runs: Sequence[Run]) -> int:
    longest = max(len(run.train) for run in runs)
    return longest // WINDOWS if longest > SMOOTHED_FROM else 1


def averaged(steps: np.ndarray, values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over `window` values, each at the last of its steps; shorter curves as they are."""
    if len(values) < window:
        return steps, values
    return steps[window - 1 :], np.convolve(values, np.ones(window) / window, mode="valid")
