"""Figures with several panels: training and validation of an experiment, two experiments side by side, memory."""

import textwrap
from collections.abc import Sequence
from typing import Any

from experiments.catalogue import SIDE_BY_SIDE
from experiments.reports.drawing import SIZE, Drawn, curve, draw, legend_of, whole_numbers
from experiments.reports.figures import PALE, averaged, columns_of, window_of
from experiments.reports.looks import look_of
from experiments.reports.runs import Run
from experiments.reports.summary import MEBIBYTE

TALL = 5.6  # inches, of two panels
AXIS = 0.8  # inches below the bars
BAR = 0.4  # of the distance of two bars
BAR_LINE, BAR_LETTERS = 0.2, 58  # inches of a line of a label, and its letters


def draw_experiments(runs: Sequence[Run]) -> list[Drawn]:
    """For each experiment: the loss and its task's first figure over iterations, in training and in validation."""
    names = list(dict.fromkeys(run.experiment for run in runs))
    return [_draw_experiment([run for run in runs if run.experiment == name]) for name in names]


def draw_side_by_side(runs: Sequence[Run]) -> list[Drawn]:
    """The pairs of experiments that differ in one thing, if both are among the runs."""
    first = {run.experiment: run for run in reversed(runs)}
    pairs = [(first[a], first[b], what) for (a, b), what in SIDE_BY_SIDE.items() if a in first and b in first]
    return [_draw_pair(*pair) for pair in pairs]


def draw_memory(runs: Sequence[Run]) -> Drawn:
    """Peak and steady memory of every run as bars, each below its label."""
    totals = [(run.validation or run.train)[-1] for run in runs]
    labels = [textwrap.fill(run.label, BAR_LETTERS) for run in runs]
    label_lines = max(label.count("\n") + 1 for label in labels)

    def plot(panels: Sequence[Any]) -> None:
        (panel,) = panels
        for place, (run, total) in enumerate(zip(runs, totals, strict=True)):
            for name, opacity in (("peak_bytes", PALE), ("steady_bytes", 1.0)):
                size, colour = total.get(name, 0) / MEBIBYTE, look_of(run).on_paper
                panel.barh(place, size, height=BAR, align="edge", color=colour, alpha=opacity, linewidth=0)
            panel.text(0, place - 0.04, labels[place], va="bottom", in_layout=False)
        panel.set(xlabel="memory [MiB]", yticks=[], ylim=(len(runs) - 0.5, BAR - 1))
        panel.spines["left"].set_visible(False)

    caption = (
        "Memory in use at the end of each run (pale: at its peak), of the GPU or, on a CPU, of the whole process, "
        "including libraries and compiler."
    )
    spacing = BAR_LINE * (label_lines + 1)
    return draw("memory", caption, plot, height=AXIS + spacing * len(runs))


def _draw_experiment(runs: list[Run]) -> Drawn:
    def plot(panels: Sequence[Any]) -> None:
        for panel, (name, title) in zip(panels, shown.items(), strict=True):
            for run in runs:
                _curves(panel, run, name, window)
            panel.set(ylabel=title)
            whole_numbers(panel)

    run, window = runs[0], window_of(runs)
    shown = {"loss": "loss", run.task.figures[0].name: run.task.figures[0].title}
    smoothed = f"; training is averaged over {window} steps" if window > 1 else ""
    caption = (
        f"{run.experiment} ({run.config.experiment.title}): {' and '.join(shown.values())} in training (pale) and "
        f"in validation{smoothed}."
    )
    return draw(f"experiment_{run.experiment}", caption, plot, legend_of(runs), rows=len(shown), height=TALL)


def _draw_pair(a: Run, b: Run, what: str) -> Drawn:
    def plot(panels: Sequence[Any]) -> None:
        for panel, run in zip(panels, (a, b), strict=True):
            _curves(panel, run, "loss", window_of((a, b)))
            panel.set_title(run.experiment, fontsize=11)
            whole_numbers(panel)
        panels[0].set_ylabel("loss")

    caption = (
        f"Loss of {a.experiment} and {b.experiment}, which differ in {what}, in training (pale) and in validation, on "
        f"equal axes. {_difference(a, b)}"
    )
    name = f"pair_{a.experiment}_{b.experiment}"
    return draw(name, caption, plot, legend_of((a, b)), columns=2, height=SIZE[1] - 0.4, shared=True)


def _curves(panel: Any, run: Run, name: str, window: int) -> None:
    """Training in a thin and pale line, validation above it."""
    look, trained = look_of(run), [record for record in run.train if name in record]
    thin = look._replace(marker="", line={**look.line, "linewidth": 1.2})
    if trained:
        curve(panel, thin, *averaged(*columns_of(trained, name), window), alpha=PALE)
    curve(panel, look, *columns_of(run.validation, name))


def _difference(a: Run, b: Run) -> str:
    """How the second compares with the first at the best validation."""
    if a.best is None or b.best is None:
        return ""
    figure = a.task.figures[0]
    before, after = (figure.show.format(run.best[figure.name]) for run in (a, b) if run.best)
    return (
        f"From the first to the second, the best validation {figure.title} goes from {before} to {after}, the loss "
        f"there from {a.best['loss']:.4f} to {b.best['loss']:.4f}, and the training time from "
        f"{a.train_seconds:.1f} s to {b.train_seconds:.1f} s ({a.backend}, {b.backend})."
    )
