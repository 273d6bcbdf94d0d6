"""Figures of runs: whole iterations, visible single points, one legend entry per run."""

import re
from dataclasses import replace

import numpy as np
import pytest
from report_runs import make_run

from crosscheck.criterion import prove
from experiments.reports.attention_maps import entropies
from experiments.reports.differences import told_apart
from experiments.reports.drawing import curve, whole_numbers
from experiments.reports.figures import PALE, averaged, draw_all
from experiments.reports.looks import look_of
from experiments.reports.panels import draw_experiments, draw_memory, draw_side_by_side
from experiments.reports.runs import read_run

NAN = float("nan")


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure(figsize=(5, 3)).subplots()


@pytest.fixture
def look(tmp_path):
    return look_of(read_run(make_run(tmp_path / "looked-at")))


def ticks_of(axes):
    """The ticks in view, and their texts."""
    low, high = axes.get_xlim()
    axes.figure.draw_without_rendering()
    ticks = [(tick, label.get_text()) for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)]
    return [(tick, text) for tick, text in ticks if low <= tick <= high]


@pytest.mark.parametrize("steps", [(1,), (3,), (1, 2), (1, 3), (1, 7), (25, 400), (1, 10**6), (10**7,)], ids=str)
def test_an_axis_of_iterations_has_whole_numbers_only(axes, steps):
    axes.plot(steps, np.ones(len(steps)))
    whole_numbers(axes)
    ticks = ticks_of(axes)
    assert 1 <= len(ticks) <= 8
    assert all(float(tick).is_integer() and text == f"{tick:,.0f}" for tick, text in ticks)


def marks(axes):
    """The points with a marker, over all curves."""
    return [(x, y) for line in axes.lines if line.get_marker() != "None" for x, y in line.get_xydata().tolist()]


POINTS = {
    "a single point": ([1.0], [(0, 1.0)]),
    "a line": ([1.0, 2.0, 3.0], []),
    "a point between gaps": ([1.0, 2.0, NAN, 3.0, NAN, 4.0, 5.0], [(3, 3.0)]),
    "points at the ends": ([1.0, NAN, 2.0], [(0, 1.0), (2, 2.0)]),
    "nothing": ([], []),
}


@pytest.mark.parametrize(("values", "expected"), POINTS.values(), ids=POINTS)
def test_a_point_that_no_line_shows_has_a_marker(axes, look, values, expected):
    curve(axes, look, np.arange(len(values)), np.array(values, float))
    assert marks(axes) == expected


def test_averages_stand_at_the_last_of_their_steps():
    steps, values = averaged(np.arange(1, 6), np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 2)
    assert (steps.tolist(), values.tolist()) == ([2, 3, 4, 5], [1.5, 2.5, 3.5, 4.5])
    steps, values = averaged(np.arange(2), np.array([1.0, 2.0]), 3)
    assert (steps.tolist(), values.tolist()) == ([0, 1], [1.0, 2.0])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two experiments; the first with two seeds, each with both backends."""
    folder = tmp_path_factory.mktemp("runs")
    found = [read_run(make_run(folder / "last", "reviews-2-small"))]
    for seed in (0, 1):
        for backend in ("torch", "jax"):
            run = read_run(make_run(folder / f"{backend}-{seed}", backend=backend, offset=1e-9 * (backend == "jax")))
            experiment = replace(run.config.experiment, seed=seed)
            found.append(replace(run, config=replace(run.config, experiment=experiment)))
    return told_apart(found)


def test_memory_is_a_full_bar_before_a_pale_one_of_its_peak(axes, tmp_path, monkeypatch):
    bars = []
    axes.barh = lambda place, size, alpha, **looks: bars.append((size, alpha))
    monkeypatch.setattr("experiments.reports.panels.draw", lambda name, caption, plot, **given: plot([axes]))
    draw_memory([read_run(make_run(tmp_path / "run"))])
    assert bars == [(7, PALE), (5, 1)]


@pytest.fixture(scope="module")
def drawn_and_axes(runs):
    """All figures of a report by name, and the axes that they were drawn on."""
    from matplotlib.figure import Figure

    save, seen = Figure.savefig, {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Figure, "savefig", lambda figure, *a, **k: seen.update({figure: 0}) or save(figure, *a, **k))
        figures = [*draw_all(runs), *draw_experiments(runs), *draw_side_by_side(runs), draw_memory(runs)]
    return {figure.name: figure for figure in figures}, [axes for figure in seen for axes in figure.axes]


@pytest.fixture
def drawn(drawn_and_axes):
    return drawn_and_axes[0]


@pytest.mark.slow
def test_every_axis_of_iterations_in_a_report_has_whole_numbers_only(drawn_and_axes):
    drawn, all_axes = drawn_and_axes
    labels = [axes.get_xlabel() for axes in all_axes]
    assert (labels.count("iteration (batches)"), labels.count("memory [MiB]")) == (len(labels) - 1, 1)
    assert len(labels) > len(drawn)
    for axes, label in zip(all_axes, labels, strict=True):
        assert "batches" not in label or all(text == f"{tick:,.0f}" and tick % 1 == 0 for tick, text in ticks_of(axes))


def test_a_legend_has_every_run_once_with_its_look(runs, drawn):
    expected = [(run.label, look_of(run)) for run in runs]
    assert len(dict(expected)) == 5
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        assert drawn[name].legend == expected
    assert drawn["experiment_reviews-1-small"].legend == expected[:4]
    assert [label for label, _ in drawn["loss_difference"].legend] == [
        "reviews-1-small, seed 0",
        "reviews-1-small, seed 1",
    ]


def test_every_figure_of_a_page_has_an_alternative_text_and_no_colours_of_its_own(drawn):
    for figure in drawn.values():
        assert figure.in_page.startswith(f'<svg role="img" aria-label="{figure.caption}"')
        assert not re.search(r"#[0-9a-f]{6}\b", figure.in_page)
        assert 'id="figure' not in figure.in_page
        assert figure.png.startswith(b"\x89PNG")


def test_the_files_have_colours_and_a_legend_that_the_page_writes_itself(drawn):
    for name in ("train_loss", "experiment_reviews-1-small"):
        figure = drawn[name]
        assert "#1f6fc0" in figure.svg
        assert "seed 0" in figure.svg
        assert "seed 0" not in figure.in_page


def test_equal_curves_have_no_figure_of_their_difference(runs):
    assert "loss_difference" not in {figure.name for figure in draw_all(runs[:1] + runs[4:])}


def test_the_entropy_of_a_head_is_the_mean_of_its_tokens_and_zero_for_those_that_attend_to_one():
    one, alike = np.eye(2), np.full((2, 2), 1 / 2)
    mixed = np.array([[1.0, 0.0], [0.5, 0.5]])
    weights = np.stack([[one, alike], [mixed, one]])
    for dtype in ("float64", "float32"):  # summed in float64 either way
        found = entropies(weights.astype(dtype))
        assert prove(np.log(2) * np.array([[0.0, 1.0], [0.5, 0.0]]), found, 0.0).agrees
