"""Figures of runs: every run has its own colour, and every axis of iterations has whole numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.reports.drawing import Drawn, curve, draw, legend_of, whole_numbers
from experiments.reports.looks import look_of
from experiments.reports.runs import Run, loss_differences, pairs
from shared.tasks.task import Figure

SMOOTHED_FROM = 100  # steps; shorter curves are not smoothed
WINDOWS = 40  # a smoothed curve averages over this fraction of its steps
PALE = 0.4  # opacity of training beside validation


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
