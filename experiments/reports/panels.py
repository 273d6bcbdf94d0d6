"""Figures with several panels: one experiment, two experiments side by side, memory."""

from collections.abc import Sequence
from typing import Any

from experiments.catalogue import SIDE_BY_SIDE
from experiments.reports.figures import Drawn, averaged, columns, draw, style, window_of
from experiments.reports.runs import Run
from experiments.reports.summary import MEBIBYTE

WIDE = (10.0, 3.6)  # inches
TRAIN, VALIDATION = "#8a94a3", "#1f6feb"
BAR = 0.32  # inches per bar
STEADY, PEAK = "#1f6feb", "#c3d9fb"


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
    """Peak and steady memory of every run as bars."""
    totals = [(run.validation or run.train)[-1] for run in runs]

    def plot(axes: Any) -> None:
        (panel,) = axes
        places = range(len(runs))
        for name, colour, label in (("peak_bytes", PEAK, "peak"), ("steady_bytes", STEADY, "in use at the end")):
            panel.barh(places, [total.get(name, 0) / MEBIBYTE for total in totals], color=colour, label=label)
        panel.set_yticks(places, [run.label for run in runs])
        panel.invert_yaxis()
        panel.set_xlabel("memory [MiB]")
        panel.figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)

    caption = "Memory: of the GPU, or on a CPU of the whole process, including libraries and compiler."
    return draw("memory", caption, plot, size=(WIDE[0], 1.2 + BAR * len(runs)))


def _draw_experiment(runs: list[Run]) -> Drawn:
    def plot(axes: Any) -> None:
        for panel, (name, title) in zip(axes, shown.items(), strict=True):
            for run in runs:
                _curves(panel, run, name, window_of(runs))
            panel.set(xlabel="iteration (updates)", ylabel=title)
            panel.legend(frameon=False, fontsize=8, handlelength=3)

    run, window = runs[0], window_of(runs)
    shown = {"loss": "loss", run.task.figures[0].name: run.task.figures[0].title}
    smoothed = f"; training averaged over {window} steps" if window > 1 else ""
    caption = (
        f"{run.experiment} ({run.config.experiment.title}): {' and '.join(shown.values())} in training and "
        f"validation{smoothed}."
    )
    return draw(f"experiment_{run.experiment}", caption, plot, panels=len(shown), size=WIDE)


def _draw_pair(a: Run, b: Run, what: str) -> Drawn:
    def plot(axes: Any) -> None:
        for panel, run in zip(axes, (a, b), strict=True):
            _curves(panel, run, "loss", window_of((a, b)))
            panel.set(xlabel="iteration (updates)", ylabel="loss", title=run.experiment)
            panel.legend(frameon=False, fontsize=8, handlelength=3)

    caption = f"{a.experiment} and {b.experiment}, which differ in {what}, on equal axes. {_difference(a, b)}"
    return draw(f"pair_{a.experiment}_{b.experiment}", caption, plot, panels=2, size=WIDE, shared=True)


def _curves(panel: Any, run: Run, name: str, window: int) -> None:
    look = {key: value for key, value in style(run).items() if key != "color"}
    steps, values = columns([record for record in run.train if name in record], name)
    kept = steps[window - 1 :] if len(steps) >= window else steps
    if len(steps):
        panel.plot(kept, averaged(values, window), color=TRAIN, label=f"training, {run.backend}", **look)
    panel.plot(*columns(run.validation, name), color=VALIDATION, label=f"validation, {run.backend}", **look)


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
