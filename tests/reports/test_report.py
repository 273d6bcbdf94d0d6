"""The report: complete, self-contained, in the order of the experiments, and correct about how two runs differ."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from report_runs import MEBIBYTE, make_run

from experiments.catalogue import find_experiment
from experiments.plain_text import file_names
from experiments.reports.differences import told_apart
from experiments.reports.report import collect, write_report, write_results
from experiments.reports.runs import expand_runs, loss_differences, pairs, read_run
from experiments.reports.summary import NEIGHBOURS, NOTES, SPIKE, note, row
from experiments.reports.table import _best
from experiments.training.run_config import write_config
from shared.configs.optimizer import ScheduleConfig, SGDConfig, TrainingConfig
from shared.errors import IsogradError
from shared.tasks.task import Figure


def table_of(folders, tmp_path):
    """The Markdown of the table alone, which needs no drawing."""
    write_results(folders, tmp_path / "table.md", "isograd report")
    return (tmp_path / "table.md").read_text()


def test_the_gap_is_taken_over_the_steps_just_before_the_best(tmp_path):
    words = note(read_run(make_run(tmp_path / "run", accuracies=(0.7, 0.8, 0.9))))
    near = np.mean([step / 30 for step in range(30 - NEIGHBOURS + 1, 31)]) - 0.9  # the best is at step 30
    assert NEIGHBOURS in range(30)
    assert f"accuracy gap {near:+.3f}" in words


def test_the_rise_is_told_in_proportion_to_the_lowest_loss_unless_that_is_0(tmp_path):
    run = read_run(make_run(tmp_path / "run", accuracies=(0.7, 0.9, 0.8)))
    final, lowest = 2 - 0.8, 2 - 0.9
    assert f"; final validation loss {final / lowest:.2f} times the lowest; " in note(run)
    run.validation[0]["loss"] = 0.0
    assert f"; final validation loss {final:.3g}, the lowest 0; " in note(run)


def test_of_steps_that_are_not_kept_nothing_is_told(tmp_path):
    run = read_run(make_run(tmp_path / "run", accuracies=(0.7, 0.9, 0.8)))
    del run.train[:20]  # all up to the best
    assert "accuracy gap +nan; " in note(run)
    run.validation.clear()
    assert row(run)["training_seconds"] == run.train[-1]["seconds"]


def test_the_row_of_a_run_has_its_figures(tmp_path):
    found = row(read_run(make_run(tmp_path / "run")))
    assert (found["validation_accuracy"], found["best_step"], found["validation_loss"]) == (0.9, 20, 2 - 0.9)
    assert found["train_loss"] == np.mean([1 / step for step in range(21, 31)])
    assert (found["training_seconds"], found["compile_seconds"], found["evaluation_seconds"]) == (12.5, 3.25, 1.5)
    assert (found["steady_bytes"], found["peak_bytes"]) == (5 * MEBIBYTE, 7 * MEBIBYTE)
    assert found["per_second"] == np.median([500.0, 640.0, 660.0])
    norms = [2.0 + step**2 for step in range(1, 31)]
    assert found["note"].endswith(f"gradient norm: median {np.median(norms):.3g}, largest {norms[-1]:.3g}")


def test_the_difference_between_two_backends_is_the_largest_over_the_steps(tmp_path):
    runs = [read_run(make_run(tmp_path / name, backend=name, offset=o)) for name, o in (("torch", 0.0), ("jax", 1e-9))]
    assert pairs(runs) == [tuple(runs)]
    steps, differences = loss_differences(*runs)
    assert (len(steps), differences.max()) == (30, 1 / 30 + 1e-9 * 30 - 1 / 30)
    (sentence,) = collect([run.folder for run in runs])["pairs"]
    assert "differ by at most 3e-08 (step 30 of 30)" in sentence


def test_losses_are_compared_at_the_steps_that_both_runs_have(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    part = replace(run, train=[record for record in run.train if record["step"] % 3 == 0])
    steps, differences = loss_differences(part, run)
    assert steps.tolist() == [record["step"] for record in part.train]
    assert not differences.any()


@pytest.mark.slow
def test_a_run_that_was_handed_over_says_so_and_is_not_paired_with_one_backend(tmp_path):
    whole = read_run(make_run(tmp_path / "jax", backend="jax"))
    handed = [{"step": 0, "backend": "torch"}, {"step": 9, "backend": "jax"}, {"step": 6, "backend": "jax"}]
    run = read_run(make_run(tmp_path / "run", backend="jax", resumed=handed))
    assert (run.backend, row(run)["backend"]) == ("torch then jax", "torch then jax")
    assert [each.label for each in told_apart([run, whole])] == ["torch then jax", "jax"]
    assert pairs([run, whole]) == []
    assert "torch then jax" in write_report([run.folder, whole.folder], tmp_path / "report").read_text()


def test_the_optimizer_and_the_settings_of_its_updates_are_named(tmp_path):
    experiment = replace(
        find_experiment("reviews-1-small"),
        optimizer=SGDConfig(0.5),
        training=TrainingConfig(clip_norm=2.0, accumulate=3, average_decay=0.9),
        schedule=ScheduleConfig("cosine", warmup=4),
    )
    plain, other = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    write_config(other, replace(read_run(other).config, experiment=experiment))
    page = table_of([plain, other], tmp_path)
    assert "seed 0, AdamW with learning rate 0.001; numpy 2" in page
    assert (
        "SGD with learning rate 0.5, cosine schedule after a warm-up of 4 updates, clipped to 2.0, 3 batches per "
        "update, weights averaged with decay 0.9; numpy 2" in page
    )


def test_runs_of_different_dtype_or_data_are_not_paired(tmp_path):
    torch = read_run(make_run(tmp_path / "torch"))
    for name, change in {"dtype": {"dtype": "float32"}, "data": {"data_fingerprint": "other"}}.items():
        assert pairs([torch, read_run(make_run(tmp_path / name, backend="jax", **change))]) == []


def test_the_page_is_self_contained_and_has_all_figures(tmp_path):
    folders = [make_run(tmp_path / name, backend=name, offset=o) for name, o in (("torch", 0.0), ("jax", 1e-9))]
    page = write_report(folders, tmp_path / "report").read_text()
    assert page.count("<figure") == page.count("<figcaption>") == page.count('role="img"') == 6
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "iteration" in page
    assert "at most 3e-08" in page
    assert "<strong>0.9000</strong>" in page


def test_the_markdown_is_next_to_its_figures(tmp_path):
    page = write_report([make_run(tmp_path / "run")], tmp_path / "report").with_name("report.md").read_text()
    named = re.findall(r"\(([\w-]+\.(?:png|svg))\)", page)
    assert len(named) == 2 * 5
    assert all((tmp_path / "report" / name).stat().st_size > 1000 for name in named)
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1
    assert "**0.9000**" in table[2]


def test_runs_appear_in_the_order_of_the_experiments_and_the_best_is_bold(tmp_path):
    make_run(tmp_path / "b", "reviews-5-small", accuracies=(0.5, 0.6, 0.7))
    make_run(tmp_path / "a", "reviews-2-small", accuracies=(0.5, 0.6, 0.95))
    page = table_of([tmp_path / "b", tmp_path / "a"], tmp_path)
    rows = [line for line in page.splitlines() if line.startswith("| reviews")]
    assert [line.split()[1] for line in rows] == ["reviews-2-small", "reviews-5-small"]
    assert "**0.9500**" in rows[0]
    assert "**" not in rows[1]


@pytest.mark.parametrize(("higher_is_better", "best"), [(True, 3.0), (False, 1.0)])
def test_the_best_of_all_runs_is_the_highest_or_the_lowest_as_its_figure_has_it(higher_is_better, best):
    figure = Figure("some", "some", "S", higher_is_better=higher_is_better)
    rows = [{"validation_some": value} for value in (2.0, 3.0, None, 1.0)]
    assert _best(figure, rows) == ("validation_some", best)


def figures_of(page):
    return re.findall(r'<figure id="([\w-]+)">', page.read_text())


@pytest.mark.slow
def test_experiments_that_differ_in_one_thing_are_shown_side_by_side_if_both_are_given(tmp_path):
    for number in (1, 2, 3):
        make_run(tmp_path / str(number), f"reviews-{number}-small")
    page = write_report([tmp_path / "1", tmp_path / "2", tmp_path / "3"], tmp_path / "all")
    assert [name for name in figures_of(page) if name.startswith("pair")] == [
        "pair_reviews-1-small_reviews-2-small",
        "pair_reviews-2-small_reviews-3-small",
    ]
    assert "reviews-1-small and reviews-2-small, which differ in dropout, in training" in page.read_text()
    page = write_report([tmp_path / "1", tmp_path / "3"], tmp_path / "two")
    assert not [name for name in figures_of(page) if name.startswith("pair")]


@pytest.mark.slow
def test_every_experiment_has_its_own_figure_and_memory_is_compared(tmp_path):
    folders = [make_run(tmp_path / name, f"reviews-{name}-small") for name in "15"]
    found = figures_of(write_report(folders, tmp_path / "report"))
    assert {"experiment_reviews-1-small", "experiment_reviews-5-small", "memory"} <= set(found)


def test_what_is_equal_in_all_runs_is_stated_once_and_what_differs_has_a_column(tmp_path):
    make_run(tmp_path / "a", dtype="float64", baseline={"accuracy": 0.7})
    make_run(tmp_path / "b", dtype="float32", baseline={"accuracy": 0.7})
    page = table_of([tmp_path / "a", tmp_path / "b"], tmp_path)
    assert "backend torch; A_base 0.7000; steps 30." in page
    assert "| dtype |" in page
    assert "A_base |" not in page


@pytest.mark.slow
def test_equal_runs_make_equal_figures(tmp_path):
    for name in ("first", "second"):
        write_report([make_run(tmp_path / name / "run")], tmp_path / name / "report")
    texts = [(tmp_path / name / "report" / "train_loss.svg").read_bytes() for name in ("first", "second")]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_a_run_without_validation_yet_can_be_plotted(tmp_path):
    folder = make_run(tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines if json.loads(line)["step"] < 7))
    assert write_report([folder], tmp_path / "report").is_file()


def test_spikes_are_counted(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    calm = note(run)
    run.train[-1]["loss"] = SPIKE * run.train[4]["loss"] + 1
    assert calm.split("; ")[2] == "no loss spikes"
    assert note(run).split("; ")[2] == "1 loss spike"


def test_the_page_tells_what_a_spike_is_and_shows_bytes_in_mebibytes(tmp_path):
    assert "a step whose loss exceeds 2 times the median of the 25 steps before it." in NOTES
    assert "| 5 | 7 |" in table_of([make_run(tmp_path / "run")], tmp_path)


def test_a_spike_is_told_from_its_neighbours_by_their_median_which_an_earlier_spike_leaves(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    run.train[10]["loss"] = 1e6
    run.train[-1]["loss"] = SPIKE * run.train[4]["loss"] + 1
    assert note(run).split("; ")[2] == "1 loss spike"


def test_a_folder_of_runs_stands_for_its_runs(tmp_path):
    folders = [make_run(tmp_path / "both" / name, backend=name) for name in ("jax", "torch")]
    assert expand_runs([tmp_path / "both"]) == folders
    assert expand_runs([folders[0], tmp_path / "both"]) == folders


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(IsogradError, match="expected a run folder with config.json"):
        expand_runs([tmp_path])


HOSTILE = (
    "x/../../../ESC",
    "<script>alert(1)</script>",
    "$a^{",
    "a\0b\x1b[31m",
    "two\nlines | x",
    "\ud800",
    "中",
    "x/../../../ESC ",
)


@pytest.mark.slow
def test_names_from_files_stay_inside_the_report_and_are_shown_as_they_are(tmp_path):
    folders = [
        make_run(tmp_path / f"run-{n}", experiment=replace(find_experiment("reviews-1-small"), name=name, title=name))
        for n, name in enumerate(HOSTILE)
    ]
    before = set(tmp_path.rglob("*"))
    page = write_report(folders, tmp_path / "out" / "report")
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert {path.parent for path in written} == {tmp_path / "out" / "report"}
    assert sum(path.name.startswith("experiment") for path in written) == 2 * len(HOSTILE)
    text, table = page.read_text(), page.with_suffix(".md").read_text()
    assert "<script>" not in text + table
    assert not {"\x1b", "\0"} & set(text + table)
    rows = [line for line in table.splitlines() if line.startswith("| ") and ", small" not in line]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_file_names_are_safe_and_no_two_alike():
    found = file_names(["a/b", "a b", "A_b", "..", "", "CON.", "x" * 500])
    assert len({name.lower() for name in found.values()}) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,90}", name) for name in found.values())
