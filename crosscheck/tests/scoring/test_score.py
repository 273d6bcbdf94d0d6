"""Planted faults are caught and located, equal variants and other seeds raise no alarm, and the score says so.

This is a sample of all kinds; `isograd check --faults` plants the whole table.
"""

import json
from dataclasses import replace

import pytest
from processor import skip_unless_compiled

from crosscheck.faults.fault import Change
from crosscheck.faults.planting import planted
from crosscheck.faults.table import EQUIVALENTS, FAULTS
from crosscheck.scoring import score
from crosscheck.scoring.published_criteria import CRITERIA
from crosscheck.twins.suite import DTYPES, MODES, Check
from shared.errors import IsogradError, WeightsError
from shared.example_inputs import cases
from shared.registry import TWINS

SAMPLE = (
    "linear-bias-frozen/torch",
    "linear-input-detached/jax",
    "linear-input-in-float32/torch",
    "padding-row-trained/jax",
    "embedding-in-bfloat16/jax",
    "positions-start-at-one/torch",
    "gru-update-gate-swapped/jax",
    "gru-gate-biases-merged/torch",
    "gru-carry-gradient-stopped/jax",
    "gru-state-runs-on/jax",
    "soft-attention-over-batch/torch",
    "dropout-not-scaled/torch",
    "dropout-gradient-not-masked/jax",
    "random-key-words-swapped/jax",
    "square-kernels-loaded-as-they-are/jax",
    "weights-through-float32/torch",
    "bfloat16-bits-as-numbers/torch",
    "hidden-row-not-a-number/torch",
    "causal-mask-hides-itself/torch",
    "softmax-in-float16/torch",
    "norm-variance-fast/jax",
    "cls-token-frozen/jax",
    "loss-of-probabilities/torch",
    "mean-without-weights/jax",
    "decay-halved/jax",
    "clip-with-eps/torch",
    "sum-of-means/torch",
    "rate-of-the-step-before/torch",
)
HONEST = (
    "gru-sigmoid-by-tanh/jax",
    "gru-gates-by-slices/torch",
    "embedding-by-product/jax",
    "random-mask-by-uniform/torch",
    "queries-scaled-first/jax",
    "mask-filled-with-minus-infinity/jax",
    "norm-by-rsqrt/torch",
    "mean-divisor-at-least-one/torch",
    "log-softmax-by-logsumexp/jax",
    "adamw-decays-first/jax",
    "clip-by-smaller-factor/torch",
)
SEEDS = (0, 2, 3, 5, 11, 12, 18, 21, 33, 44)  # all dtypes, all modes, cases of few and of strange numbers
LINEAR = Check("Linear", "odd_sizes", "float64", "eval", "cpu")


@pytest.mark.parametrize("field", ["kind", "side", "phase", "mode", "dtype"])
def test_the_sample_holds_a_fault_of_every(field):
    assert {getattr(FAULTS[name], field) for name in SAMPLE} == {getattr(fault, field) for fault in FAULTS.values()}


def test_the_equivalents_of_the_sample_are_of_both_sides():
    assert {EQUIVALENTS[name].side for name in HONEST} == {"torch", "jax"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_is_caught_at_its_module_and_in_its_phase(name):
    outcome = score.try_fault(FAULTS[name])
    assert (outcome.killed, outcome.located) == (True, True), f"expected {outcome.expected}, found {outcome.found}"


@pytest.mark.parametrize("name", HONEST)
def test_another_way_to_the_same_result_raises_no_alarm(name):
    outcome = score.run_job(score.Job("equivalent", name))
    assert not outcome.killed, outcome.found


@pytest.mark.parametrize("seed", SEEDS)
def test_unchanged_twins_with_another_seed_raise_no_alarm(seed):
    skip_unless_compiled(score.seeded_check(seed).dtype)
    outcome = score.run_job(score.Job("seed", str(seed)))
    assert not outcome.killed, f"{score.seeded_check(seed)}: {outcome.found}"


def test_100_seeds_are_of_every_case_dtype_and_mode_and_no_two_alike():
    checks = [score.seeded_check(seed) for seed in range(100)]
    assert {(each.mode, each.case) for each in checks if each.mode == "eval"} == {
        ("eval", case) for twin in TWINS.values() for case in cases(twin)
    }
    assert {each.mode for each in checks} == set(MODES)
    assert {(each.case, each.dtype) for each in checks} == {(each.case, dtype) for each in checks for dtype in DTYPES}
    assert len(set(checks)) == len(checks)


# Planting


def test_a_fault_is_planted_on_top_of_another():
    """One subtracts the bias, the other adds it again: together they are harmless, and both are undone afterwards."""
    less, more = FAULTS["linear-bias-dropped/torch"], FAULTS["linear-bias-added-twice/torch"]
    with planted(less.changes):
        assert not LINEAR.run().agrees
        with planted(more.changes):
            assert LINEAR.run().agrees
        assert not LINEAR.run().agrees
    assert LINEAR.run().agrees


def test_a_fault_that_does_not_fit_leaves_nothing_planted():
    fits = FAULTS["linear-bias-dropped/torch"].changes
    with pytest.raises(IsogradError, match="fix the fault"), planted((*fits, Change(fits[0].path, "no such text", ""))):
        pass
    assert LINEAR.run().agrees


def test_weights_that_are_refused_with_a_sentence_count_as_caught(monkeypatch):
    def refuse(check):
        raise WeightsError("the weights do not fit")

    monkeypatch.setattr(Check, "run", refuse)
    outcome = score.try_fault(FAULTS["kernels-reshaped-on-load/jax"])
    assert (outcome.killed, outcome.located, outcome.found) == (True, True, "refused: the weights do not fit")


def test_a_fault_that_can_not_be_planted_does_not_count_as_caught():
    fault = FAULTS["linear-bias-dropped/torch"]
    stale = replace(fault, changes=(replace(fault.changes[0], old="no such text"),))
    with pytest.raises(IsogradError, match="fix the fault's row"):
        score.try_fault(stale)


@pytest.mark.parametrize(
    ("group", "name", "list_"), [("fault", "linear-bias-dropped/torch", "survivors"), ("seed", "3", "seeds")]
)
def test_a_pair_that_breaks_goes_wrong_by_name_and_ends_no_other(monkeypatch, group, name, list_):
    def break_off(check):
        raise IndexError("index 2 is out of bounds")

    monkeypatch.setattr(Check, "run", break_off)
    found = score.summarise([score.run_job(score.Job(group, name))])
    wrong = found[list_] if group == "fault" else found[list_]["names"]
    assert wrong == [f"{name}: raised IndexError: index 2 is out of bounds"]


# The score


def test_a_score_says_of_every_fault_whether_it_was_caught_located_and_named():
    seen = []
    found = score.score(["linear-input-in-float32/*"], progress=lambda *done: seen.append(done))
    names = [f"linear-input-in-float32/{side}" for side in ("torch", "jax")]
    assert seen == [(done, 2, f"fault {name} Linear float64") for done, name in enumerate(names, 1)]
    assert [outcome["name"] for outcome in found["outcomes"]] == names
    assert {name: found[name] for name in ("total", "killed", "located", "known", "named")} == dict.fromkeys(
        ("total", "killed", "located", "known", "named"), 2
    )
    assert found["kinds"] == [{"kind": "precision", "planted": 2, "killed": 2, "located": 2}]
    assert [row["of"] for row in found["criteria"]] == [2] * len(CRITERIA)
    assert found["equivalents"] == found["seeds"] == {"checked": 0, "alarms": 0, "names": []}
    assert found["survivors"] == found["misplaced"] == found["unnamed"] == []
    json.dumps(found, allow_nan=False)


def test_faults_are_judged_in_every_dtype_that_is_asked_for():
    found = score.score(["mean-without-weights/*"], dtypes=["bfloat16", "float32"])
    assert found["dtypes"] == [
        {"dtype": dtype, "planted": 2, "killed": 2, "located": 2} for dtype in ("bfloat16", "float32")
    ]
    assert found["asked"] == ["bfloat16", "float32"]
    assert FAULTS["mean-without-weights/jax"].divergence == "D31"
    assert found["known"] == 0  # names are promised in float64


def test_a_fault_of_a_training_run_is_not_judged_where_no_run_is():
    found = score.score(["rate-of-the-step-before/torch"], explained=False, dtypes=["bfloat16"])
    assert found["total"] == 0


def test_all_that_goes_wrong_is_named_in_a_score():
    right = score.Outcome("a/jax", "layer", True, True, "A, forward, output", "A, forward", ("Bonsai",))
    named = replace(right, name="b/jax", divergence="D18", explained="D18", caught_by=())
    wrong = [
        replace(named, name="c/jax", group="mask", explained=None),
        replace(right, name="d/jax", located=False, found="B, forward, output"),
        replace(right, name="e/jax", killed=False, located=False, found="agrees", caught_by=()),
        replace(right, name="f/jax", group="equivalent", located=False),
        replace(right, name="7", group="seed", killed=False, located=False, caught_by=()),
    ]
    found = score.summarise([right, named, *wrong])
    assert [found[name] for name in ("total", "killed", "located", "known", "named")] == [5, 4, 3, 2, 1]
    assert found["survivors"] == ["e/jax"]
    assert found["misplaced"] == ["d/jax: expected A, forward; found B, forward, output"]
    assert found["unnamed"] == ["c/jax: D18, named None"]
    assert found["equivalents"] == {"checked": 1, "alarms": 1, "names": ["f/jax: A, forward, output"]}
    assert found["seeds"] == {"checked": 1, "alarms": 0, "names": []}
    assert [(row["kind"], row["planted"], row["killed"]) for row in found["kinds"]] == [("layer", 4, 3), ("mask", 1, 1)]
    bonsai = next(row for row in found["criteria"] if row["name"] == "Bonsai")
    assert [bonsai[name] for name in ("caught", "of", "alarms", "honest")] == [2, 5, 1, 2]


def test_a_published_criterion_is_not_judged_in_a_dtype_that_it_was_not_published_for():
    right = score.Outcome("a/jax", "layer", True, True, "", "", ("Bonsai",))
    seeds = [replace(right, group="seed", dtype=dtype) for dtype in DTYPES]
    found = score.summarise([right, replace(right, dtype="bfloat16"), *seeds])
    bonsai = next(row for row in found["criteria"] if row["name"] == "Bonsai")
    assert [bonsai[name] for name in ("caught", "of", "alarms", "honest")] == [1, 1, 2, 2]
    assert (found["total"], found["seeds"]["checked"]) == (2, 4)


@pytest.mark.parametrize("names", [["no-such-fault"], ["linear-bias-frozen/torch", "*-such-*-fault"]])
def test_an_unknown_fault_is_refused(names):
    with pytest.raises(IsogradError, match="unknown fault '.*such"):
        score.score(names)


def test_a_misspelt_fault_is_answered_with_the_nearest():
    with pytest.raises(IsogradError, match="linear-bias-frozen/torch"):
        score.score(["linear-bias-forzen/torch"])
