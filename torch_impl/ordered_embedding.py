"""A lookup whose gradient is summed in one order, for compiled steps: `torch.compile` would add it up with atomics.

JAX has no twin of this file: XLA's programs add it up with atomics (D55).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Padding is spread over rows behind the table: the sum of a row is one block's work, for which all others would wait.
PADDING_ROWS = 1024


def ordered_embedding(
    ids: Int[Tensor, "B T"], weight: Float[Tensor, "V E"], padding_idx: int | None
) -> Float[Tensor, "B T E"]:
    """Rows of a table: `F.embedding` as operations of its own, which a compiler of steps takes as they are."""
    return _lookup(ids, weight, -1 if padding_idx is None else padding_idx)


@torch.library.custom_op("isograd::embedding", mutates_args=())
def _lookup(ids: Tensor, weight: Tensor, padding_idx: int) -> Tensor:
    return torch.embedding(weight, ids, padding_idx)


@_lookup.register_fake
def _(ids: Tensor, weight: Tensor, padding_idx: int) -> Tensor:
    return weight.new_empty(*ids.shape, weight.shape[1])


@torch.library.custom_op("isograd::embedding_gradient", mutates_args=())
def _gradient(d_vectors: Tensor, ids: Tensor, rows: int, padding_idx: int) -> Tensor:
    if padding_idx < 0:
        return torch.ops.aten.embedding_dense_backward(d_vectors, ids, rows, -1, False)
    others = rows + torch.arange(ids.numel(), dtype=ids.dtype, device=ids.device).view_as(ids) % PADDING_ROWS
    ids = torch.where(ids == padding_idx, others, ids)
    return torch.ops.aten.embedding_dense_backward(d_vectors, ids, rows + PADDING_ROWS, -1, False)[:rows]


@_gradient.register_fake
def _(d_vectors: Tensor, ids: Tensor, rows: int, padding_idx: int) -> Tensor:
    return d_vectors.new_empty(rows, d_vectors.shape[-1])


def _setup(ctx, inputs, output):
    ids, weight, ctx.padding_idx = inputs
    ctx.rows = len(weight)
    ctx.save_for_backward(ids)


def _backward(ctx, d_vectors):
    (ids,) = ctx.saved_tensors
    return None, _gradient(d_vectors.contiguous(), ids, ctx.rows, ctx.padding_idx), None


_lookup.register_autograd(_backward, setup_context=_setup)
