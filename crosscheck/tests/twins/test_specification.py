"""Every twin against its formula, forward and backward, in every case and mode, in float64.

Agreement between twins can't reveal a mistake made twice. A formula shares no code with the twins, and a gradient that
both stop alike is in its own. The torch twin meets it in every case, where the JAX twin equals it (test_twins.py, where
what a JAX module computed is held to the formula, too).
"""

import numpy as np
import pytest
from proofs import SIDES, assert_proven

import crosscheck
from crosscheck.recording.nesting import as_call
from crosscheck.recording.precision import full_precision
from crosscheck.recording.values import Options
from crosscheck.twins.formulas.table import FORMULAS, evaluate
from shared.example_inputs import CASES, cases
from shared.registry import TWINS
from torch_impl.weights import to_arrays

EVAL, TRAIN = (Options(np.dtype("float64"), train=train) for train in (False, True))
WITH_DROPOUT = [
    name for name, twin in TWINS.items() if any(twin.arguments[of] for of in twin.arguments if "dropout" in of)
]


IN_EVAL = [("torch", name, case) for name, twin in TWINS.items() for case in cases(twin)]
IN_EVAL += [("jax", name, "odd_sizes") for name, twin in TWINS.items() if twin.function]


def assert_as_specified(side, name, case, options):
    pair = crosscheck.build_pair(name, case=case)
    weights = {} if TWINS[name].function else to_arrays(pair.torch)
    with full_precision():
        ours = SIDES[side].evaluate(getattr(pair, side), as_call(pair.inputs), options)
        assert_proven(ours, evaluate(name, weights, pair.inputs, options))


@pytest.mark.parametrize(("side", "name", "case"), IN_EVAL)
def test_a_twin_computes_its_formula_and_the_gradients_of_it(side, name, case):
    assert_as_specified(side, name, case, EVAL)


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_a_twin_computes_its_formula_with_dropout(name):
    assert_as_specified("torch", name, "odd_sizes", TRAIN)


def test_every_twin_has_a_formula():
    assert {twin.public_name for twin in TWINS.values()} == FORMULAS.keys()


def test_every_case_occurs():
    assert {case for twin in TWINS.values() for case in cases(twin)} == CASES.keys()
