"""`locate_twin` locates a fault in a twin of the registry, and names the first wrong step of a training run."""

import json

import pytest

from crosscheck.faults.table import FAULTS
from crosscheck.locate import MARK, locate_twin
from crosscheck.runs.compare_runs import compare_runs
from crosscheck.twins.suite import UPDATES
from shared.errors import IsogradError

pytestmark = pytest.mark.slow

FAULTY = (  # one per side, phase and mode
    "linear-bias-added-twice/jax",
    "norm-eps-of-flax/torch",
    "gru-reset-before-product/jax",
    "attention-values-without-gradient/jax",
    "norm-scale-frozen/torch",
    "dropout-not-scaled/torch",
    "softmax-in-bfloat16/jax",
)
LATE = "rate-of-the-step-before/torch"  # the first step is right


@pytest.mark.parametrize("name", FAULTY)
def test_a_planted_fault_is_located_by_comparing_every_module_by_itself(name):
    fault = FAULTS[name]
    location = locate_twin(fault.twin, fault=name, dtype=fault.dtype, case=fault.case, train=fault.mode == "train")
    module = f"{fault.twin}.{fault.module}".rstrip(".")
    assert location.first_divergence[:2] == (module, fault.phase), str(location)
    assert str(location).count(MARK) == 1
    assert location.report.name == fault.twin


def test_a_fault_of_the_optimizer_is_no_modules():
    location = locate_twin("Linear", fault="decay-of-optax/jax", train=True)
    assert location.first_divergence[:2] == ("Linear.optimizer", "update")
    assert MARK not in str(location)
    assert location.to_dict()["step"] == 1
    assert max(filter(None, (row.step for row in location.report.rows))) == UPDATES


def test_a_twin_without_a_fault_agrees():
    assert str(locate_twin("Linear")).startswith("Linear odd_sizes float64 eval cpu: agrees")


def test_the_first_training_step_that_parts_is_named():
    location = locate_twin("ReviewClassifierTransformer", fault=LATE, steps=3)
    assert location.first_divergence[:2] == ("ReviewClassifierTransformer.optimizer", "update")
    assert location.first_row.step == 2
    assert "after 2 steps" in str(location)
    found = json.loads(json.dumps(location.to_dict(), allow_nan=False))
    assert location.cause == ""  # repeated from the same state, this step is right
    assert (found["step"], found["mode"], found["modules"]) == (2, "run of 3 steps", [])
    assert {row["tensor"].partition("/")[0] for row in found["rows"] if row["verdict"] == "DISAGREES"} == {"2", "3"}


PARTING = {  # a fault -> the trained twin, what its run shows, and the module at fault with its phase
    "gelu-by-tanh/jax": ("ReviewClassifierTransformer", "loss", "transformer.blocks.0.mlp", "forward"),
    "linear-bias-frozen/torch": (
        "ReviewClassifierGRU:encoder_only",
        "gradient norm",
        "classifier",
        "parameter gradient",
    ),
}


@pytest.mark.parametrize("name", PARTING)
def test_the_module_at_fault_is_named_where_a_run_parts_in_the_loss_or_a_gradient(name):
    twin, kind, module, phase = PARTING[name]
    location = locate_twin(twin, fault=name, steps=1)
    assert location.first_divergence[:2] == (f"{twin}.{module}", phase)
    assert (location.first_row.kind, location.first_row.step) == (kind, 1)
    lines = str(location).splitlines()
    assert lines[0].endswith(f"{twin}.{module} is at fault ({phase})")
    assert lines[-1] == location.to_dict()["cause"]
    assert lines[-1].startswith(f"from the same state the model differs: {twin}.{module}, {phase}")


def test_a_run_that_parts_around_the_model_is_no_modules_fault():
    location = locate_twin("ReviewClassifierGRU:encoder_only", fault="sum-not-divided/torch", steps=1)
    assert location.first_divergence[:2] == ("ReviewClassifierGRU:encoder_only", "parameter gradient")
    assert location.cause == "from the same state the gradients agree, and the two differ in gradient_norm"


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_a_gradient_that_only_one_side_has_is_named(side):
    twin = "ReviewClassifierGRU:no_attention"
    location = locate_twin(twin, fault=f"frozen-in-the-norm/{side}", steps=1)
    assert location.first_divergence[:2] == (twin, "parameter gradient")
    assert "encoder.rnn" in location.cause


def test_runs_of_equal_twins_agree_in_all_that_they_log_and_hold():
    report = compare_runs("ReviewClassifierTransformer", steps=2)
    assert report.agrees, str(report)
    kinds = [(row.step, row.kind) for row in report.rows]
    of_every_step = {(step, kind) for step in (1, 2) for kind in ("loss", "accuracy", "gradient norm", "update")}
    assert set(kinds) == of_every_step | {(2, "evaluation loss"), (2, "prediction")}
    assert kinds == sorted(kinds, key=lambda pair: pair[0])


WRONG = {
    "twin": (["MultiheadAttention"], {}, "unknown twin 'MultiheadAttention': did you mean 'MultiHeadedAttention'"),
    "case": (["Linear"], {"case": "odd"}, "unknown case of Linear 'odd'"),
    "dtype": (["Linear"], {"dtype": "float8"}, "unknown dtype 'float8'"),
    "device": (["Linear"], {"device": "tpu"}, "unknown device 'tpu'"),
    "fault": (["Linear"], {"fault": "linear-bias-droped/jax"}, "linear-bias-dropped/jax"),
    "a twin that no backend trains": (
        ["Linear"],
        {"steps": 2},
        "Linear can't be trained on its own: expected one of",
    ),
    "no steps": (["ReviewClassifierGRU"], {"steps": 0}, "steps: expected at least 1, got 0"),
}


@pytest.mark.parametrize(("twin", "options", "words"), WRONG.values(), ids=WRONG)
def test_what_does_not_exist_is_one_sentence(twin, options, words):
    with pytest.raises(IsogradError, match=words) as caught:
        locate_twin(*twin, **options)
    assert "\n" not in str(caught.value)
