"""Random rounding of a float64 run, all of whose numbers stand for those of one shorter dtype."""

import numpy as np
import pytest
import torch
from bounds import roundings

from crosscheck import criterion
from crosscheck.runs.random_rounding import EXACT, RandomRounding

ROUNDOFF = criterion.unit_roundoff(np.dtype("bfloat16"))
X = torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(3, 4)
INDEX, MIDDLE = torch.tensor([2, 0]), X.mean()
LEFT = {  # operations that only move numbers around
    "cat": lambda x: torch.cat([x, x]),
    "stack": lambda x: torch.stack([x, x]),
    "where": lambda x: torch.where(x > 0, x, -x),
    "where with a number": lambda x: torch.where(x > 0, x, -1.5),
    "embedding": lambda x: torch.nn.functional.embedding(INDEX, x),
    "clone": lambda x: x.clone(),
    "to_copy": lambda x: x.to(torch.float32).to(torch.float64),
    "index": lambda x: x[INDEX],
    "index_select": lambda x: x.index_select(0, INDEX),
    "gather": lambda x: x.gather(1, torch.tensor([[3], [1], [0]])),
    "masked_fill": lambda x: x.masked_fill(x > MIDDLE, -torch.inf),
    "full": lambda x: torch.full((3,), 0.7, dtype=x.dtype),
    "ones": lambda x: torch.ones_like(x),
    "arange": lambda x: torch.arange(3, dtype=x.dtype),
    "neg": lambda x: -x,
    "abs": lambda x: x.abs(),
    "relu": lambda x: x.relu(),
    "tril": lambda x: x.tril(),
    "views": lambda x: x.T[1:].unsqueeze(0),
    "reshape in a different order": lambda x: x.T.reshape(2, 6),
    "comparisons": lambda x: x > MIDDLE,
}
MOVED = {
    "add": lambda x: x + 1,
    "multiply": lambda x: x * 2,
    "exp": lambda x: x.exp(),
    "sum": lambda x: x.sum(-1),
    "product": lambda x: x @ x.T,
    "softmax": lambda x: x.softmax(-1),
    "gelu": lambda x: torch.nn.functional.gelu(x),
}


def rounded(function, x=X):
    with RandomRounding(ROUNDOFF, seed=0):
        return function(x)


@pytest.mark.parametrize("name", LEFT)
def test_what_only_moves_numbers_keeps_them_to_the_bit(name):
    assert torch.equal(rounded(LEFT[name]), LEFT[name](X))


@pytest.mark.parametrize("name", MOVED)
def test_every_result_of_arithmetic_moves_by_about_a_roundoff(name):
    exact, found = MOVED[name](X), rounded(MOVED[name])
    assert (found != exact).all()
    assert criterion.difference(found.numpy(), exact.numpy()) < roundings(8, "bfloat16") * criterion.norm(exact.numpy())


def test_what_comes_out_is_rounded_too_where_nothing_that_goes_in_can_move():
    assert (rounded(lambda x: x.exp(), 0 * X) != 1).all()


def test_the_terms_of_a_sum_that_cancels_move_one_by_one():
    assert rounded(lambda x: x.sum(), torch.tensor([1.0, -1.0], dtype=torch.float64)) != 0


@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0)], ids=str)
def test_a_softmax_of_one_number_and_of_none_has_a_gradient(function, shape):
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    rounded(lambda x: function(x, -1).sum().backward(), x)
    assert x.grad is not None


@pytest.mark.parametrize("name", ["relu", "masked_fill", "views"])
def test_a_gradient_that_is_handed_on_is_not_rounded(name):
    x = X.clone().requires_grad_()

    def gradient(x: torch.Tensor) -> torch.Tensor:
        (found,) = torch.autograd.grad(LEFT[name](x), x, torch.ones_like(LEFT[name](X)))
        return found

    assert torch.equal(rounded(gradient, x), gradient(x))


def test_the_operations_without_rounding_are_torchs_own_names():
    assert [name for name in EXACT if not hasattr(torch.ops.aten, name)] == []
