"""Figures of runs: one colour per experiment, one line style per backend, iterations on every x-axis."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.reports.runs import Run, loss_differences, pairs
from shared.tasks.task import Figure

SIZE = (7.0, 4.4)  # inches
COLOURS = ("#1f6feb", "#d1495b", "#2a9d5c", "#e08e0b", "#7b4bb7", "#0f8b8d", "#8c564b", "#5c6670")
STYLES: dict[str, dict[str, Any]] = {  # JAX is dashed and on top, so that equal curves show both
    "torch": {"linestyle": "-", "linewidth": 2.6, "alpha": 0.55, "zorder": 2},
    "jax": {"linestyle": (0, (4, 2.5)), "linewidth": 1.5, "alpha": 1.0, "zorder": 3},
}
OTHER_STYLE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.8}
SMOOTHED_FROM = 100  # steps; shorter curves are not smoothed
WINDOWS = 40  # a smoothed curve averages over this fraction of its steps
STYLE_OF_PAGE: dict[Any, Any] = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "isograd",
    "text.parse_math": False,  # a $ in a name is a dollar
}


@dataclass(frozen=True)
class Drawn:
    """A figure as SVG text and as PNG bytes, with its caption."""

    name: str
    caption: str
    svg: str
    png: bytes


def draw_all(runs: Sequence[Run]) -> list[Drawn]:
    """Training loss, validation loss and the first figure of all runs; the difference of backends in pairs."""
    window = window_of(runs)
    smoothing = f" Averaged over {window} steps; the faint lines are single steps." if window > 1 else ""
    figures = [
        _draw("train_loss", f"Training loss.{smoothing}", "training loss", _train_curves(runs, window), runs),
        _draw("validation_loss", "Validation loss.", "validation loss", _validation(runs, "loss"), runs),
        *(_draw_figure(figure, runs) for figure in dict.fromkeys(run.task.figures[0] for run in runs)),
    ]
    if pairs(runs):
        caption = (
            "Absolute difference of the training losses of torch and jax at each step, from equal weights and seeds. "
            "The axis is logarithmic; steps with equal losses have no point."
        )
        plot = _differences(runs)
        figures.append(_draw("loss_difference", caption, "|loss of torch − loss of jax|", plot, runs, lines=False))
    return figures


def _draw_figure(figure: Figure, runs: Sequence[Run]) -> Drawn:
    """The validations of the runs whose best checkpoint is chosen by this figure."""
    title = f"validation {figure.title}"
    caption = f"V{title[1:]}; the circle marks the best of each run."
    decided = [run for run in runs if run.task.figures[0] == figure]
    return _draw(f"validation_{figure.name}", caption, title, _validation(decided, figure.name), runs)


def _draw(
    name: str, caption: str, label: str, plot: Callable[[Any], None], runs: Sequence[Run], lines: bool = True
) -> Drawn:
    def plot_one(panels: Sequence[Any]) -> None:
        (axes,) = panels
        plot(axes)
        axes.set(xlabel="iteration (updates)", ylabel=label)
        handles = _handles(runs) if lines else None  # otherwise one per plotted label
        axes.figure.legend(
            handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9, handlelength=3
        )

    return draw(name, caption, plot_one)


def _handles(runs: Sequence[Run]) -> list[Any]:
    """Legend entries for the experiments' colours and the backends' lines: fewer than one per run."""
    from matplotlib.lines import Line2D

    colours = {run.experiment: _colour(runs, run) for run in runs}
    styles = {run.backend: style(run) for run in runs}
    return [
        *(Line2D([], [], color=colour, label=name, linewidth=2.6) for name, colour in colours.items()),
        *(Line2D([], [], color="#5c6670", label=name, **look) for name, look in styles.items()),
    ]


def draw(
    name: str,
    caption: str,
    plot: Callable[[Sequence[Any]], None],
    *,
    panels: int = 1,
    size: tuple[float, float] = SIZE,
    shared: bool = False,
) -> Drawn:
    """A figure with a row of panels, filled by `plot`; `shared` gives them equal axes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE_OF_PAGE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a name in a script that the font lacks
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, panels, sharex=shared, sharey=shared, squeeze=False)[0]
        plot(axes)
        for panel in axes:
            panel.grid(alpha=0.25)
        return Drawn(name, caption, _svg(figure), _png(figure))


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]  # without the XML declaration, which HTML can't contain


def _png(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=140)
    return data.getvalue()


def _train_curves(runs: Sequence[Run], window: int) -> Callable[[Any], None]:
    def plot(axes: Any) -> None:
        for run in runs:
            steps, losses = columns(run.train, "loss")
            if window > 1:
                axes.plot(steps, losses, color=_colour(runs, run), linewidth=0.6, alpha=0.15, zorder=1)
            kept = steps[window - 1 :] if len(steps) >= window else steps
            axes.plot(kept, averaged(losses, window), **_style(runs, run))

    return plot


def _validation(runs: Sequence[Run], name: str) -> Callable[[Any], None]:
    def plot(axes: Any) -> None:
        for run in runs:
            axes.plot(*columns(run.validation, name), **_style(runs, run))
            if name != "loss" and run.best is not None:
                point = run.best["step"], run.best[name]
                axes.plot(*point, "o", color=_colour(runs, run), markersize=8, fillstyle="none")

    return plot


def _differences(runs: Sequence[Run]) -> Callable[[Any], None]:
    from matplotlib.ticker import LogFormatter

    def plot(axes: Any) -> None:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the default writes formulas
        axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        for a, b in pairs(runs):
            steps, differences = loss_differences(a, b)
            visible = np.where(differences > 0, differences, np.nan)
            axes.plot(steps, visible, ".", color=_colour(runs, a), label=a.experiment, markersize=4)

    return plot


def columns(records: list[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([record["step"] for record in records]), np.array([record[name] for record in records], np.float64)


def window_of(runs: Sequence[Run]) -> int:
    longest = max(len(run.train) for run in runs)
    return longest // WINDOWS if longest > SMOOTHED_FROM else 1


def averaged(values: np.ndarray, window: int) -> np.ndarray:
    return np.convolve(values, np.ones(window) / window, mode="valid") if len(values) >= window else values


def _colour(runs: Sequence[Run], run: Run) -> str:
    names = list(dict.fromkeys(other.experiment for other in runs))
    return COLOURS[names.index(run.experiment) % len(COLOURS)]


def _style(runs: Sequence[Run], run: Run) -> dict[str, Any]:
    return {"color": _colour(runs, run), **style(run)}


def style(run: Run) -> dict[str, Any]:
    """The line style of a run's backend."""
    return STYLES.get(run.backend, OTHER_STYLE)
