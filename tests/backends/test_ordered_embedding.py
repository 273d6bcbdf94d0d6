"""The lookup of compiled steps is F.embedding, with a gradient that a test on a GPU sees repeat."""

import pytest
import torch
import torch.nn.functional as F

from torch_impl.ordered_embedding import _gradient, _lookup, ordered_embedding

IDS = torch.tensor([[1, 2, 0], [6, 6, 1]])


@pytest.mark.parametrize("padding_idx", [None, 0, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_and_their_gradients_are_those_of_embedding(padding_idx, dtype):
    table = torch.randn(7, 4, dtype=dtype, requires_grad=True)
    ours, theirs = ordered_embedding(IDS, table, padding_idx), F.embedding(IDS, table, padding_idx)
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad((rows**2).sum(), table)[0] for rows in (ours, theirs)]
    assert torch.equal(*gradients)


def test_a_compiler_may_take_it_as_one_operation():
    table = torch.randn(7, 4, requires_grad=True)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    checked = torch.library.opcheck(_lookup, (IDS, table, 0), test_utils=tests)
    backward = torch.library.opcheck(_gradient, (torch.ones(2, 3, 4), IDS, 7, 0), test_utils=tests[::2])
    assert {*checked.values(), *backward.values()} == {"SUCCESS"}
