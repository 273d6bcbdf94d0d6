"""`explain_twin` names the rows of planted faults, and `measure` says whether a catalogue row still holds."""

import dataclasses
import json
import math

import pytest

from crosscheck.divergences import status as measuring
from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.status import measure
from crosscheck.divergences.table import find_divergence
from crosscheck.explain import explain_twin
from crosscheck.faults.table import FAULTS
from shared.errors import IsogradError

pytestmark = pytest.mark.slow

KNOWN = (
    "norm-eps-of-flax/torch",
    "norm-eps-of-flax/jax",
    "norm-variance-fast/jax",
    "linear-input-in-float32/torch",
    "padding-index-of-roberta/jax",
    "gru-gate-biases-merged/torch",
    "causal-mask-upside-down/jax",
    "hidden-row-averages/torch",
    "heads-joined-with-the-head-inside/jax",
    "heads-loaded-dimension-first/jax",
    "square-kernels-loaded-as-they-are/jax",
    "positions-loaded-one-late/jax",
    "mean-without-weights/torch",
    "softmax-in-float16/torch",
    "decay-of-optax/torch",
    "dropout-mask-shared-by-batch/jax",
)


@pytest.mark.parametrize("name", KNOWN)
def test_a_fault_that_the_catalogue_knows_is_named(name):
    fault = FAULTS[name]
    found = explain_twin(fault.twin, fault=name, dtype=fault.dtype, case=fault.case, train=fault.mode == "train")
    assert found.divergence is not None, str(found)
    assert found.divergence.id == fault.divergence, str(found)


def test_a_fault_that_the_catalogue_does_not_know_is_not_explained():
    found = explain_twin("MLP", fault="linear-bias-added-twice/jax")
    assert found.divergence is None, str(found)
    assert "no known divergence explains it" in str(found)


def test_a_twin_without_a_fault_has_nothing_to_explain():
    assert str(explain_twin("Linear")).endswith("there is nothing to explain")


@pytest.mark.parametrize("wrong", [{"twin": "Lineer"}, {"fault": "linear"}, {"case": "odd"}, {"dtype": "int8"}])
def test_what_does_not_exist_is_refused(wrong):
    with pytest.raises(IsogradError, match="unknown .* did you mean"):
        explain_twin(**{"twin": "Linear", **wrong})


# Measuring


def row(size: float, predicted: float = 1.0, device: str = "cpu") -> KnownDivergence:
    return dataclasses.replace(find_divergence("D18"), predicted=predicted, measure=lambda: size, device=device)


@pytest.mark.parametrize(
    ("size", "predicted", "status"),
    [(1.5, 1.0, "holds"), (3.0, 1.0, "moved"), (math.nan, math.nan, "holds"), (0.0, math.nan, "moved")],
)
def test_a_measured_row_holds_or_has_moved(size, predicted, status):
    found = measure(row(size, predicted))
    assert found.status == status
    assert found.line.endswith(status)
    assert f"measured {size:.3g}" in found.line
    assert f"measured {size:.3g} {status}" in " ".join(str(found).split())


def test_a_row_that_needs_a_gpu_is_not_measured_without_one(monkeypatch):
    monkeypatch.setattr(measuring, "_has_cuda", lambda: False)
    found = measure(dataclasses.replace(row(1.0, device="cuda"), measure=lambda: 1 / 0))
    assert (found.size, found.status) == (None, "needs cuda")
    assert found.line.endswith("needs cuda")
    monkeypatch.setattr(measuring, "_has_cuda", lambda: True)
    assert measure(row(1.0, device="cuda")).status == "holds"


def test_a_measured_row_is_strict_json_and_names_the_versions():
    found = json.loads(json.dumps(measure(row(math.nan, math.inf)).to_dict(), allow_nan=False))
    assert (found["id"], found["measured"], found["predicted"], found["status"]) == ("D18", "nan", "inf", "moved")
    assert {"torch", "jax", "flax"} == set(found["versions"])


def test_a_measured_row_says_what_to_change_on_either_side():
    found = find_divergence("D18")
    text = str(measure(row(1.0)))
    assert all(words in text for words in (found.trigger, found.source, found.to_torch, found.to_jax, found.size_of))
