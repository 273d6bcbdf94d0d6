"""Runs: what they log and write, how they stop, and that a resumed run equals the uninterrupted one."""

import errno
import itertools
import json
import os
import re
import signal
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from bounds import roundings_of_two_walks
from fake_backend import FakeBackend
from notes import Notes
from records import hidden_from, without_times
from short_runs import leftovers

from crosscheck.criterion import prove
from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training import evaluation, interrupt, launch, pending
from experiments.training.folder import locked
from experiments.training.interrupt import Interrupted
from experiments.training.launch import Settings
from experiments.training.run_config import read_config
from experiments.training.runner import LARGEST_LOSS
from shared.configs.optimizer import ScheduleConfig
from shared.data import batches
from shared.errors import IsogradError
from shared.metrics_log import read
from shared.run_folder import best_checkpoint, latest_checkpoint, list_checkpoints, load_checkpoint, read_state
from shared.schedules import constant
from shared.tasks.classification import LabelledTexts
from shared.tasks.task import Scored


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Make every backend the fake one; returns a function that sets its options."""
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))

    def use(**options):
        monkeypatch.setattr(launch, "load_backend", lambda name, **given: FakeBackend(**given, **options))

    use()
    monkeypatch.setattr(launch, "find_experiment", often)
    return use


def often(name):
    """The experiment, evaluated and saved more often."""
    return replace(find_experiment(name), evaluate_every=5, checkpoint_every=10)


def train(folder, steps=30, **options):
    launch.start("reviews-1-small", Settings(steps=steps, **options), folder, Progress())
    return folder


def newest(folder):
    return load_checkpoint(latest_checkpoint(folder)[0])


@pytest.mark.parametrize(("seconds", "fetched"), [(0.0, [1, 2, 3, 4, 5, 6]), (1000.0, [1, 5, 6])])
def test_slow_steps_are_fetched_one_by_one_and_quick_ones_together(fake, tmp_path, monkeypatch, seconds, fetched):
    monkeypatch.setattr(pending, "LOG_SECONDS", seconds)
    steps = [record for record in read(train(tmp_path / "run", steps=6)) if record["kind"] == "train"]
    assert [record["step"] for record in steps] == [1, 2, 3, 4, 5, 6]
    assert [record["step"] for record in steps if "examples_per_second" in record] == fetched


def test_a_run_learns_and_logs_every_step(fake, tmp_path):
    records = read(train(tmp_path / "run", steps=200, learning_rate=0.1))
    steps = [record for record in records if record["kind"] == "train"]
    assert [record["step"] for record in steps] == list(range(1, 201))
    assert steps[-1]["loss"] < steps[0]["loss"] - steps[-1]["loss"]
    assert {"epoch", "loss", "accuracy", "gradient_norm", "learning_rate"} <= steps[3].keys()
    assert {"seconds", "compile_seconds", "examples_per_second", "steady_bytes", "peak_bytes"} <= steps[9].keys()
    assert [steps[i]["epoch"] for i in (0, 9, 10)] == [1, 1, 2]  # 640 examples are 10 batches of 64


def test_what_fills_up_the_last_batch_of_an_epoch_is_counted_as_no_example(fake, tmp_path):
    steps = [record for record in read(train(tmp_path / "run", steps=7, batch_size=100)) if record["kind"] == "train"]
    assert [record["examples"] for record in steps] == [*[100] * 6, 40]


def test_a_batch_may_hold_all_examples_and_no_more(fake, tmp_path):
    assert read(train(tmp_path / "run", steps=1, batch_size=640))[0]["examples"] == 640
    with pytest.raises(IsogradError, match="the data has only 640 training examples"):
        train(tmp_path / "other", steps=1, batch_size=641)


def test_the_best_checkpoint_holds_the_figures_that_equal_runs_share_and_no_times(fake, tmp_path):
    folder = train(tmp_path / "run", steps=5)
    best = read_state(best_checkpoint(folder))["validation"]
    (validation,) = [record for record in read(folder) if record["kind"] == "validation"]
    assert "evaluation_seconds" in validation.keys() - best.keys()
    assert best == {name: validation[name] for name in best}
    assert "loss" in best


def test_validation_is_logged_at_its_interval_and_at_the_end(fake, tmp_path):
    found = [record for record in read(train(tmp_path / "run", steps=13)) if record["kind"] == "validation"]
    assert [record["step"] for record in found] == [5, 10, 13]
    assert {"loss", "accuracy", "f1", "evaluation_seconds"} <= found[0].keys()


def test_validation_figures_are_those_of_plain_numpy(fake, tmp_path):
    folder = train(tmp_path / "run", steps=5)
    experiment = read_config(folder).experiment
    prepared = launch.prepared_from(read_config(folder), folder, Progress())
    state = {"weights": newest(folder)[0]["weights/table"]}
    backend = FakeBackend(model=experiment.model, optimizer=None, training=None, loss="", seed=0, dtype="", device="")
    every = prepared.data.examples["validation"]
    (batch,) = batches(every, len(every), length=experiment.length, seed=0, epoch=0, shuffle=False)
    metrics = backend.eval_step(state, batch)
    record = read(folder)[-1]
    mean = metrics["losses"].mean()
    assert abs(record["loss"] - mean) <= roundings_of_two_walks(len(every)) * mean
    assert record["accuracy"] == (metrics["predictions"] == batch["labels"]).mean()


def test_epochs_count_if_no_steps_are_given(fake, tmp_path):
    launch.start("reviews-1-small", Settings(batch_size=640), tmp_path / "run", Progress())
    assert read(tmp_path / "run")[-1]["step"] == find_experiment("reviews-1-small").epochs


def test_best_holds_the_validation_of_highest_accuracy(fake, tmp_path):
    folder = train(tmp_path / "run", steps=60, learning_rate=0.3)
    found = [record for record in read(folder) if record["kind"] == "validation"]
    highest = max(record["accuracy"] for record in found)
    state = read_state(best_checkpoint(folder))
    assert state["validation"]["accuracy"] == highest
    assert state["step"] in [record["step"] for record in found if record["accuracy"] == highest]


def test_only_the_last_checkpoints_are_kept(fake, tmp_path):
    folders = list_checkpoints(train(tmp_path / "run", steps=60))
    assert [folder.name for folder in folders] == ["step-00000040", "step-00000050", "step-00000060"]


def test_checkpoints_say_where_in_the_data_the_run_is(fake, tmp_path):
    state = newest(train(tmp_path / "run", steps=23))[1]
    assert (state["step"], state["position"]) == (23, {"epoch": 2, "batch": 3})
    assert state["twin"] == "ReviewClassifierGRU"


def stop_at(step, stopped):
    """An `after_step` that behaves like a killed process: nothing in the runner gets to clean up."""

    def after(now):
        if now == step:
            raise stopped

    return after


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", [3, 10, 17, 24])
def test_a_killed_run_resumes_to_the_same_bits_as_the_uninterrupted_one(fake, tmp_path, step):
    whole = train(tmp_path / "whole")
    fake(after_step=stop_at(step, Killed()))
    with pytest.raises(Killed):
        train(tmp_path / "run")
    fake()
    launch.resume(tmp_path / "run", Progress())
    assert without_times(read(tmp_path / "run")) == without_times(read(whole))
    for name, array in newest(whole)[0].items():
        np.testing.assert_array_equal(newest(tmp_path / "run")[0][name], array)
    assert read_state(best_checkpoint(tmp_path / "run")) == read_state(best_checkpoint(whole))
    assert hidden_from(tmp_path / "run") == [1 + read_config(tmp_path / "run").resumed[0]["step"]]


def test_resuming_keeps_bucketing_and_the_tokenizer(fake, tmp_path):
    whole = train(tmp_path / "whole", bucketing=True)
    fake(after_step=stop_at(15, Killed()))
    with pytest.raises(Killed):
        train(tmp_path / "run", bucketing=True)
    fake()
    launch.resume(tmp_path / "run", Progress())
    assert read_config(whole).experiment.model.inputs == ("ids", "mask", "lengths")
    assert read_config(whole).experiment.bucket_lengths == (2, 4, 6, 8)
    assert without_times(read(tmp_path / "run")) == without_times(read(whole))


def test_a_damaged_checkpoint_is_skipped_on_resuming(fake, tmp_path):
    folder = train(tmp_path / "run")
    whole = without_times(read(folder))
    weights = latest_checkpoint(folder)[0] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    launch.resume(folder, Progress())
    assert without_times(read(folder)) == whole
    assert newest(folder)[1]["step"] == 30


def test_time_keeps_counting_after_resuming(fake, tmp_path):
    folder = train(tmp_path / "run", steps=10)
    log = folder / "metrics.jsonl"
    log.write_text(
        re.sub(r'("(?:compile_)?seconds": )[\d.e-]+', r"\g<1>1000.0", log.read_text())
    )  # as after a long run
    spent = read(folder)[-1]
    launch.resume(folder, Progress(), steps=20)
    after = read(folder)[-1]
    assert after["seconds"] > spent["seconds"] == spent["compile_seconds"] == after["compile_seconds"] == 1000
    assert read_config(folder).resumed[0]["step"] == 10


def test_an_evaluation_takes_its_time_less_that_of_compiling(monkeypatch):
    batches = [{"weights": np.ones(2, np.float32)}] * 3
    data = SimpleNamespace(epoch=lambda *_: SimpleNamespace(start_at=lambda first: iter(batches)))
    task = SimpleNamespace(metrics=lambda *_: {})
    backend = SimpleNamespace(compile_seconds=500.0, fetch=lambda metrics: metrics)

    def eval_step(state, batch):
        backend.compile_seconds += 8.0
        return {"losses": np.ones(2), "predictions": np.ones(2)}

    backend.eval_step = eval_step
    monkeypatch.setattr(evaluation.time, "perf_counter", iter([100.0, 130.0]).__next__)
    found = evaluation.evaluate(backend, {}, SimpleNamespace(data=data, experiment=None, task=task))
    assert found == {"loss": 1.0, "evaluation_seconds": 30.0 - 3 * 8.0}


def test_the_speed_is_that_of_all_units_since_the_last_fetch_less_the_time_of_compiling(monkeypatch):
    backend = SimpleNamespace(compile_seconds=500.0, fetch=lambda metrics: metrics, memory=dict)
    monkeypatch.setattr(pending.time, "perf_counter", iter([100.0, 130.0]).__next__)
    steps = pending.Pending(backend, "tokens", {"seconds": 7.0})
    steps.restart_clock()
    backend.compile_seconds += 10.0
    for tokens in (300, 100):
        steps.add({"tokens": tokens}, {})
    first, last = steps.fetch()
    assert first == {"tokens": 300}
    assert (last["tokens_per_second"], last["seconds"]) == (400 / (30.0 - 10.0), 7.0 + 30.0 - 10.0)


def test_every_resume_is_kept_with_what_it_ran_on(fake, tmp_path, monkeypatch):
    folder = train(tmp_path / "run", steps=10)
    asked = []
    monkeypatch.setattr(launch, "find_backend", lambda name, **given: asked.append((name, given["device"])))
    launch.resume(folder, Progress(), steps=20, backend="jax", device="cuda")
    launch.resume(folder, Progress(), steps=30)
    config = read_config(folder)
    assert asked == [("jax", "cuda"), ("torch", "cuda")]
    assert [each["step"] for each in config.resumed] == [10, 20]
    assert config.device == "cuda"


def test_a_complete_run_is_left_unchanged(fake, tmp_path):
    folder = train(tmp_path / "run", steps=10)
    before = (folder / "metrics.jsonl").read_bytes()
    launch.resume(folder, Progress())
    assert (folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(("step", "kept"), [(7, None), (10, None), (11, 10), (28, 20)])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(fake, tmp_path, step, kept):
    fake(nan_at=step)
    with pytest.raises(IsogradError, match=f"the loss is nan at step {step};"):
        train(tmp_path / "run")
    assert [record["step"] for record in read(tmp_path / "run") if record["kind"] == "train"][-1] == step
    if kept is None:
        assert list_checkpoints(tmp_path / "run") == []
    else:
        assert newest(tmp_path / "run")[1]["step"] == kept


def test_a_gradient_norm_that_is_not_finite_stops_the_run(fake, tmp_path):
    fake(nan_at=3, nan="gradient_norm")
    with pytest.raises(IsogradError, match="the gradient norm is nan at step 3;"):
        train(tmp_path / "run")


@pytest.mark.parametrize("loss", [float("nan"), 2 * LARGEST_LOSS])
def test_a_validation_whose_loss_is_not_finite_or_huge_stops_the_run_and_is_never_the_best(
    fake, tmp_path, monkeypatch, loss
):
    found = {"loss": loss, "accuracy": 0.5, "f1": 0.5, "evaluation_seconds": 0.0}
    monkeypatch.setattr("experiments.training.runner.evaluate", lambda *_: dict(found))
    with pytest.raises(IsogradError, match=f"the validation loss is {re.escape(format(loss, '.3g'))} at step 5"):
        train(tmp_path / "run")
    assert best_checkpoint(tmp_path / "run") is None


def test_the_loss_of_a_validation_is_summed_in_float64():
    losses = np.linspace(1000, 1001, 1002, dtype=np.float32).reshape(2, 501)
    weights = np.array([np.ones(501), np.arange(501) % 3 > 0], np.float32)
    scored = [Scored({"weights": row}, part, part) for row, part in zip(weights, losses, strict=True)]
    assert evaluation._mean_loss(scored) == np.mean(losses[weights > 0].astype(np.float64))


def test_weights_that_are_not_finite_are_never_saved(fake, tmp_path, monkeypatch):
    arrays = FakeBackend.state_to_arrays
    monkeypatch.setattr(
        FakeBackend, "state_to_arrays", lambda self, state: arrays(self, state) | {"weights/table": np.full(3, np.inf)}
    )
    with pytest.raises(IsogradError, match="weights/table is not finite after step 5"):
        train(tmp_path / "run")
    assert best_checkpoint(tmp_path / "run") is None


def test_ctrl_c_saves_the_step_and_says_how_to_resume(fake, tmp_path):
    whole = train(tmp_path / "whole")
    fake(after_step=lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 13 else None)
    with pytest.raises(Interrupted, match=r"stopped at step 13 of 30.*isograd train --resume .*run"):
        train(tmp_path / "run")
    assert newest(tmp_path / "run")[1]["step"] == 13
    fake()
    launch.resume(tmp_path / "run", Progress())
    resumed = [record for record in without_times(read(tmp_path / "run")) if record["kind"] == "train"]
    assert resumed == [record for record in without_times(read(whole)) if record["kind"] == "train"]


def test_ctrl_c_during_a_validation_saves_the_next_step(fake, tmp_path, monkeypatch):
    evaluate = FakeBackend.eval_step
    monkeypatch.setattr(
        FakeBackend, "eval_step", lambda *given: (os.kill(os.getpid(), signal.SIGINT), evaluate(*given))[1]
    )
    monkeypatch.setattr("experiments.training.evaluation.prefetch", lambda order: itertools.islice(order, 1))
    with pytest.raises(Interrupted, match="stopped at step 6 of 30"):
        train(tmp_path / "run")
    assert newest(tmp_path / "run")[1]["step"] == 6


def test_a_second_ctrl_c_stops_at_once(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(interrupt, "ONE_PRESS", 0.0)
    before = signal.getsignal(signal.SIGINT)
    fake(after_step=lambda step: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path / "run")
    assert not isinstance(stopped.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_that_reaches_a_process_twice_at_once_is_one_request(fake, tmp_path, number):
    fake(after_step=lambda step: [os.kill(os.getpid(), number) for _ in range(2)] if step == 13 else None)
    with pytest.raises(Interrupted, match="stopped at step 13 of 30") as stopped:
        train(tmp_path / "run")
    assert stopped.value.code == 128 + number
    assert newest(tmp_path / "run")[1]["step"] == 13


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(fake, tmp_path, number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        fake(after_step=lambda step: os.kill(os.getpid(), number))
        assert newest(train(tmp_path / "run"))[1]["step"] == 30
    finally:
        signal.signal(number, before)


class Unread(Progress):
    """Its reader disappears after some records."""

    def __init__(self, records):
        self.records = records

    def record(self, record):
        self.records -= 1
        if self.records < 0:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.mark.parametrize("records", [0, 7, 16])
def test_a_run_whose_output_nobody_reads_is_saved_before_it_ends(fake, tmp_path, records):
    whole = train(tmp_path / "whole")
    with pytest.raises(IsogradError, match=r"stopped at step \d+ of 30 and saved: its output .*Broken pipe.*; resume"):
        launch.start("reviews-1-small", Settings(steps=30), tmp_path / "run", Unread(records))
    assert 0 < newest(tmp_path / "run")[1]["step"] < 30
    launch.resume(tmp_path / "run", Progress())
    resumed = [record for record in without_times(read(tmp_path / "run")) if record["kind"] == "train"]
    assert resumed == [record for record in without_times(read(whole)) if record["kind"] == "train"]


def test_a_run_folder_that_is_moved_away_ends_the_run_and_is_not_recreated(fake, tmp_path):
    moved, run_folder = tmp_path / "moved", tmp_path / "run"

    def move(step):
        if step == 13:
            while leftovers(run_folder) or not list_checkpoints(run_folder):
                time.sleep(0.01)  # until nothing is being written
            time.sleep(0.2)
            run_folder.rename(moved)

    fake(after_step=move)
    with pytest.raises(IsogradError, match="the run folder .*run was moved or removed"):
        train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert newest(moved)[1]["step"] == 10


def test_a_second_process_is_kept_out_of_a_run_folder(fake, tmp_path):
    folder = train(tmp_path / "run", steps=5)
    with locked(folder), pytest.raises(IsogradError, match="in use by another isograd process"):
        launch.resume(folder, Progress(), steps=10)


def test_changed_data_is_noticed_on_resuming(fake, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for part in ("train", "test"):
        (data / f"{part}.csv").write_text(",input,label\n" + "".join(f"{i},one plus two,{i % 3}\n" for i in range(30)))
    folder = train(tmp_path / "run", steps=5, data=str(data))
    (data / "train.csv").write_text((data / "train.csv").read_text().replace("one", "six", 1))
    with pytest.raises(IsogradError, match="have changed since"):
        launch.resume(folder, Progress(), steps=10)


def test_seeds_change_the_run(fake, tmp_path):
    first, same, other = (
        without_times(read(train(tmp_path / name, steps=3, seed=seed))) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == same
    assert first[0]["loss"] != other[0]["loss"]


def test_batches_that_do_not_fit_the_model_stop_the_run(fake, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        for batch in batches(*arguments, **options):
            yield batch | {"ids": batch["ids"] + 100}

    monkeypatch.setattr("shared.tasks.classification.batches", broken)
    with pytest.raises(IsogradError, match="token id .* out of range"):
        train(tmp_path / "run")


def test_the_constant_schedule_is_constant():
    assert {constant(3e-4)(step) for step in itertools.chain(range(5), [10**6])} == {3e-4}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_resumed_run_has_the_bits_of_the_uninterrupted_one(monkeypatch, tmp_path, backend):
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(find_experiment(name), checkpoint_every=3))
    start = partial(launch.start, progress=Progress())
    start("reviews-5-small", Settings(backend, steps=6), tmp_path / "whole")
    start("reviews-5-small", Settings(backend, steps=3), tmp_path / "run")
    launch.resume(tmp_path / "run", Progress(), steps=6)
    for name, array in newest(tmp_path / "whole")[0].items():
        assert newest(tmp_path / "run")[0][name].tobytes() == array.tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("torch", "jax"), ("jax", "torch")])
def test_a_run_resumes_in_the_other_framework(tmp_path, first, second):
    launch.start("reviews-4-small", Settings(first, steps=3, dtype="float64"), tmp_path / "run", Progress())
    launch.resume(tmp_path / "run", Progress(), backend=second, steps=6)
    launch.start("reviews-4-small", Settings(first, steps=6, dtype="float64"), tmp_path / "whole", Progress())
    mixed, whole = ([r["loss"] for r in read(tmp_path / name) if r["kind"] == "train"] for name in ("run", "whole"))
    assert all(prove(*map(np.array, losses), floor=0.0).agrees for losses in zip(whole, mixed, strict=True))
    assert newest(tmp_path / "run")[1]["backend"] == second


def test_a_validation_belongs_to_the_epoch_of_the_batches_before_it(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(often(name), batch_size=64))
    records = read(train(tmp_path / "run"))
    epochs = {record["step"]: record["epoch"] for record in records if record["kind"] == "train"}
    validations = [record for record in records if record["kind"] == "validation"]
    assert len(set(epochs.values())) > 1
    assert any(epochs.get(record["step"] + 1, 0) > record["epoch"] for record in validations)  # one ends an epoch
    assert all(record["epoch"] == epochs[record["step"]] for record in validations)


def test_the_accuracy_to_beat_is_that_of_the_most_common_training_label():
    labels = {"train": [0, 0, 0, 1, 1], "validation": [0, 1, 1, 1]}
    examples = {split: SimpleNamespace(labels=np.array(each)) for split, each in labels.items()}
    assert LabelledTexts(None, None, examples).baseline() == {"accuracy": 0.25}


def test_a_schedule_that_has_an_end_keeps_it(fake, tmp_path, monkeypatch):
    schedule = ScheduleConfig("cosine", warmup=2, horizon=7)
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(often(name), schedule=schedule))
    assert read_config(train(tmp_path / "run")).experiment.schedule == schedule


@pytest.mark.parametrize(("steps", "is_told"), [(6, True), (7, False)])
def test_a_trial_that_ends_within_the_warm_up_of_its_experiment_is_told_so(fake, tmp_path, monkeypatch, steps, is_told):
    warm = ScheduleConfig("cosine", warmup=7)
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(often(name), schedule=warm))
    launch.start("reviews-1-small", Settings(steps=steps), tmp_path / "run", notes := Notes())
    sentence = "the warm-up of reviews-1-small takes 7 updates, and this run ends after 6"
    assert [text for text in notes.texts if "warm-up" in text] == [sentence] * is_told


def test_a_run_from_before_there_were_tasks_still_loads_and_resumes(fake, tmp_path):
    folder, path = train(tmp_path / "run", steps=10), tmp_path / "run" / "config.json"
    today, old = read_config(folder), json.loads(path.read_text())
    for name in ("task", "patience"):
        del old["experiment"][name]
    del old["sha256"]
    counts, baseline = old.pop("counts"), old.pop("baseline")
    old |= {"training_examples": counts["train"], "validation_examples": counts["validation"]}
    path.write_text(json.dumps(old | {"majority_accuracy": baseline["accuracy"]}))
    assert read_config(folder) == today
    launch.resume(folder, Progress(), steps=20)
    assert read(folder)[-1]["step"] == 20


def test_a_run_of_an_unknown_task_is_refused_in_one_sentence(fake, tmp_path):
    path = train(tmp_path / "run", steps=10) / "config.json"
    path.write_text(path.read_text().replace('"classification"', '"divination"'))
    with pytest.raises(IsogradError, match="task: expected one of classification, .*, got divination"):
        launch.resume(tmp_path / "run", Progress())
