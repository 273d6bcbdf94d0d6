"""Inputs and outputs of a user's own modules: any nesting, masks, keywords of only one side."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from own_pairs import normal

import crosscheck

pytestmark = pytest.mark.usefixtures("float64_in_jax")

X = normal(3, 5)
KEEP = np.array([True, False, True, True, False])


class State(NamedTuple):
    h: Any
    c: Any


@dataclasses.dataclass
class Output:
    logits: Any
    state: Any = None
    scale: Any = None


CALLS = {  # a function that both frameworks can run, and its inputs
    "a tuple in a tuple": (lambda x: (x * 2, (x, x + 1)), X),
    "None among the outputs": (lambda x: (x * 2, None, {"a": None}), X),
    "a dataclass with None": (lambda x: Output(x * 2, {"h": x}), X),
    "a named tuple": (lambda x: State(x * 2, [x, x + 1]), X),
    "integers and booleans": (lambda x: (x > 0, x.argmax(-1), x * 2), X),
    "no floats at all": (lambda ids: (ids + 1, ids > ids[0]), np.arange(5)),
    "a tuple (h, c) as one input": (lambda state, x: state[0] * x + state[1], ((X, X + 1), X)),
    "a named tuple as one input": (lambda state, x: state.h * x + state.c, {"state": State(X, X + 1), "x": X}),
    "a dict with a list as one input": (lambda s, x: s["h"] * x + s["c"][0], {"s": {"h": X, "c": [X + 1]}, "x": X}),
    "plain numbers, text and None": (
        lambda x, scale, mode, mask: x * scale if mode == "on" and mask is None else x,
        {"x": X, "scale": 2.5, "mode": "on", "mask": None},
    ),
    "a boolean mask": (lambda x, keep: x * keep, {"x": X, "keep": KEEP}),
    "lists of numbers": (lambda x: x * 2, {"x": [[1.0, 2.0], [3.0, 4.0]]}),
    "tensors of torch": (lambda x: x * 2, torch.tensor(X)),
    "arrays of JAX": (lambda x: x * 2, (jnp.arange(3.0),)),
    "an empty array": (lambda x: x * 2, np.zeros((0, 3))),
    "an array without axes": (lambda x: x * 2, np.array(1.5)),
}


@pytest.mark.parametrize("call", CALLS)
def test_inputs_and_outputs_may_be_nested_in_any_way(call):
    function, inputs = CALLS[call]
    report = crosscheck.compare(function, lambda *args, **kwargs: function(*args, **kwargs), inputs)
    assert report.agrees, str(report)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: (x, x * 2), lambda x: State(x, x * 2)),
        (lambda x: Output(x, {"h": x}), lambda x: {"logits": x, "state": {"h": x}}),
        (lambda x: (x, None), lambda x: [x]),
    ],
)
def test_a_tuple_pairs_up_with_a_named_one_and_a_dataclass_with_a_dict(ours, theirs):
    assert crosscheck.compare(ours, theirs, X).agrees


@pytest.mark.parametrize(
    ("keep", "agrees"), [(jnp.asarray(KEEP), True), (jnp.asarray(~KEEP), False), (np.asarray(KEEP), True)]
)
def test_each_side_may_take_a_mask_of_its_own_polarity(keep, agrees):
    report = crosscheck.compare(
        lambda x, ignore: x.masked_fill(ignore, 0),
        lambda x, keep: jnp.where(keep, x, 0),
        {"x": X},
        torch_arguments={"ignore": torch.tensor(~KEEP)},
        jax_arguments={"keep": keep},
    )
    assert report.agrees == agrees
    assert {row.tensor for row in report.rows if row.kind == "input"} == {"x"}


def test_a_keyword_of_one_side_may_stand_for_an_input_in_another_layout():
    report = crosscheck.compare(lambda x: x.sum(0), lambda x: x.sum(1), {"x": X}, jax_arguments={"x": X.T})
    assert report.agrees


def test_a_module_may_take_no_inputs_at_all():
    assert crosscheck.compare(lambda: torch.ones(3), lambda: jnp.ones(3), ()).agrees
