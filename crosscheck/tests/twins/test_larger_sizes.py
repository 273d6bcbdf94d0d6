"""Twins agree, and compute their formulas, at sizes and rates beyond those of the checks: long texts, more rows."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from alike import as_specified

import crosscheck
from shared import example_inputs
from shared.registry import TWINS

STEPS, ROWS, RATE = 150, 9, 0.8
LARGER = {  # twin -> the arguments that are larger
    "SinusoidalPositions": {},
    "GRU": {},
    "RelativeAttention": {"sequence_length": STEPS},
    "CausalSelfAttention:rotary": {"sequence_length": STEPS, "dropout": RATE},
    "GPT:sinusoidal": {"sequence_length": STEPS, "dropout": RATE},
    "BertModel:roberta": {"sequence_length": STEPS + 2},
    "CLIPTextModel": {"sequence_length": STEPS},
}


@pytest.fixture
def larger(request, monkeypatch):
    """The name of a twin whose checks are larger for a while."""
    name, twin = request.param, TWINS[request.param]
    monkeypatch.setattr(example_inputs, "STEPS", STEPS)
    monkeypatch.setattr(example_inputs, "BATCH", ROWS)
    monkeypatch.setitem(TWINS, name, replace(twin, arguments={**twin.arguments, **LARGER[name]}))
    return name


@pytest.mark.parametrize("larger", LARGER, indirect=True)
def test_both_sides_agree(larger):
    pair = crosscheck.build_pair(larger)
    assert {STEPS, ROWS}.issubset(size for array in pair.inputs.values() for size in array.shape)
    report = crosscheck.compare(pair.torch, pair.jax, pair.inputs, train=True, optimize=False)
    assert report.agrees, str(report)


@pytest.mark.parametrize("larger", LARGER, indirect=True)
def test_they_compute_the_formula(larger):
    as_specified(SimpleNamespace(twin=larger, case="odd_sizes", mode="eval"))
