"""A run check covers clipping, parameter groups, the average, accumulated gradients, and the full state."""

import re
from contextlib import nullcontext

import numpy as np
import pytest

from crosscheck.recording.values import Options
from crosscheck.runs import compare_runs as runs
from crosscheck.runs import random_rounding
from crosscheck.runs.compare_runs import (
    ACCUMULATING,
    FREEZING,
    SEED,
    _curve,
    batch_of,
    compare_runs,
    optimizer_of,
    record_run,
    trainable,
    training_of,
)
from shared.configs.optimizer import OPTIMIZERS
from shared.parameter_groups import by_group
from shared.registry import TWINS
from shared.training_state import AVERAGE, GRADIENT_SUM, WEIGHTS, groups_of

TRAINABLE = tuple(filter(trainable, TWINS))
STEPS = 4
WRONG = "2/exp_avg/norm.weight"
ALWAYS_CLIPPED = ("Transformer", "GPT", "^Translator$", "^Translator:transformer", "DecoderOnly")


def curve(twin):
    return _curve("torch", twin, STEPS, "float64", "cpu")


def names_of(twin):
    return [name.split("/")[2] for name in curve(twin) if name.startswith("1/weights/")]


@pytest.fixture(scope="module")
def accumulated():
    return compare_runs(ACCUMULATING)


@pytest.mark.parametrize("twin", TRAINABLE)
def test_a_run_clips_gradients_and_some_runs_leave_some_as_they_are(twin):
    found, is_last, most = curve(twin), training_of(twin).accumulate, training_of(twin).clip_norm
    clipped = [found[f"{step}/gradient_norm"] > most for step in range(is_last, STEPS + 1, is_last)]
    assert any(clipped)
    assert all(clipped) == any(re.search(pattern, twin) for pattern in ALWAYS_CLIPPED)


@pytest.mark.parametrize("twin", TRAINABLE)
def test_a_run_has_parameters_without_decay_with_another_rate_and_with_neither(twin):
    groups = by_group(names_of(twin), training_of(twin).groups)
    *_, (undecayed, biases), (slower, embeddings), (plain, others) = groups
    assert (undecayed.weight_decay, slower.rate_factor, plain.weight_decay) == (0.0, 0.5, None)
    assert min(map(len, (biases, embeddings, others))) > 0


def test_every_optimizer_is_run_by_some_model():
    assert {type(optimizer_of(twin)) for twin in TRAINABLE} == set(OPTIMIZERS.values())


@pytest.mark.parametrize("twin", TRAINABLE)
def test_every_tensor_of_the_state_is_held_after_every_step(twin):
    groups = groups_of(optimizer_of(twin), training_of(twin), dict.fromkeys(names_of(twin)))
    expected = {f"{step}/{g}/{name}" for step in range(1, STEPS + 1) for g in groups for name in groups[g]}
    assert {name for name in curve(twin) if name.count("/") == 2} == expected
    assert AVERAGE in groups


def test_a_run_freezes_layers_between_a_trainable_embedding_and_a_trainable_head():
    found = curve(FREEZING)
    weights = {n: [found[f"{step}/{WEIGHTS}/{n}"] for step in range(1, STEPS + 1)] for n in names_of(FREEZING)}
    still = {name for name, arrays in weights.items() if all(np.array_equal(arrays[0], array) for array in arrays)}
    assert still == {name for name in weights if "encoder.rnn" in name}
    assert {"encoder_decoder.encoder.embedding.weight", "classifier.weight"} < weights.keys() - still
    assert not [name for name in found if "encoder.rnn" in name and f"/{WEIGHTS}/" not in name]


@pytest.mark.slow
def test_weights_move_with_the_last_batch_of_an_update_only(accumulated):
    ours = accumulated.recordings[0].values.updates
    kernel = [ours[f"{step}/{WEIGHTS}/classifier.weight"] for step in range(1, STEPS + 1)]
    moved = [not np.array_equal(after, before) for before, after in zip(kernel, kernel[1:], strict=False)]
    assert moved == [True, False, True]
    assert [ours[f"{step}/{GRADIENT_SUM}/classifier.weight"].any() for step in (1, 2, 3)] == [True, False, True]


def test_batches_of_an_update_have_different_numbers_of_real_rows():
    first, second = (batch_of(ACCUMULATING, step)["weights"].sum() for step in (1, 2))
    assert first != second > 0


def test_a_run_with_another_seed_has_other_weights():
    (ours, theirs) = (record_run("torch", "ReviewClassifierTransformer", 1, seed=seed) for seed in (SEED, SEED + 1))
    assert ours.values.updates["1/weights/classifier.weight"].any()
    assert not np.array_equal(*(side.values.updates["1/weights/classifier.weight"] for side in (ours, theirs)))


def test_the_noise_of_a_run_is_the_largest_of_its_draws(monkeypatch):
    drawn = []
    monkeypatch.setattr(random_rounding, "RandomRounding", lambda roundoff, seed: nullcontext(drawn.append(seed)))
    monkeypatch.setattr(runs, "_curve", lambda *_: {"1/loss": np.array([0.0, 4.0, 8.0, 2.0][len(drawn)])})
    noise = runs._noise("GRU", STEPS, Options(np.dtype("float32"), noise_runs=3), SEED)
    assert drawn == [0, 1, 2]
    assert noise.movement["updates"] == {"1/loss": 8.0}


def test_every_number_of_two_runs_is_a_row_of_its_kind_and_the_first_that_differs_is_named(monkeypatch):
    logged = {"loss": "loss", "accuracy": "accuracy", "gradient_norm": "gradient norm", "exp_avg/norm.weight": "update"}
    evaluated = {"losses": "evaluation loss", "predictions": "prediction"}
    kinds = {f"{step}/{name}": kind for step in (1, 2) for name, kind in logged.items()}
    kinds |= {f"2/{name}": kind for name, kind in evaluated.items()}

    def made(side, *given):
        assert given == ("GPT", 2, "float64", "cpu", SEED)
        return {name: np.ones(3) * (1 + (side == "jax" and name in ("2/losses", WRONG))) for name in kinds}

    monkeypatch.setattr(runs, "_curve", made)
    report = compare_runs("GPT", steps=2)
    assert {row.tensor: row.kind for row in report.rows} == kinds
    assert [row.tensor for row in report.rows if not row.agrees] == [WRONG, "2/losses"]
    assert (report.title, report.first_row.tensor) == ("GPT float64 run of 2 steps cpu", WRONG)
    assert report.first_divergence == ("GPT.optimizer", "update", WRONG)


@pytest.mark.slow
def test_runs_that_sum_gradients_agree_in_float64(accumulated):
    assert accumulated.agrees, str(accumulated)


@pytest.mark.slow
def test_weights_that_are_all_alike_are_decided_in_float64_where_their_order_is_noise():
    report = compare_runs("ReviewClassifierTransformer", dtype="float32", steps=1)  # after a step norms are 1 - rate
    assert report.agrees, str(report)
    assert {row.decided_in for row in report.rows} == {"", "float64"}
    assert report.first_divergence is None


@pytest.mark.slow
@pytest.mark.optimised
def test_a_run_below_float64_is_held_to_the_noise_rule():
    report = compare_runs(ACCUMULATING, dtype="float32")
    assert report.agrees, str(report)
    assert report.recordings[0].noise is not None
