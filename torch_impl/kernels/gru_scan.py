"""All steps of a GRU layer, with a backward pass for recorded steps: many small launches, together faster than cuDNN's.

Only dh goes through its loop: the gates are computed again for all steps at once, and so are all other gradients.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from torch_impl.precision import at_least_float32

# Columns of the slopes: derivatives of a state by W_h h + b_h (candidate, reset, update), by the candidate's argument,
# and by the last state. In this order the gradients of W_h h and of W_i x are three adjacent columns each.
COLUMNS = 5
OF_STATE, OF_INPUT = slice(0, 3), slice(1, 4)  # the second is reset, update, candidate: the order of the weights
Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # of a direction: W_i (3H, I), W_h (3H, H), b_i and b_h (3H)


class GRUScan(torch.autograd.Function):
    """Inputs (T, B, I), states (D, B, H), the four weights of each direction -> outputs (T, B, DH), final (D, B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Float[Tensor, "T B I"], h: Float[Tensor, "D B H"], *weights: Tensor
    ) -> tuple[Float[Tensor, "T B DH"], Float[Tensor, "D B H"]]:
        outputs, final = torch.gru(
            inputs,
            h,
            weights,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=False,
            bidirectional=len(h) == 2,
            batch_first=False,
        )
        ctx.save_for_backward(inputs, h, outputs, *weights)
        return outputs, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Float[Tensor, "T B DH"], d_final: Float[Tensor, "D B H"]) -> tuple[Any, ...]:
        inputs, h, outputs, *weights = ctx.saved_tensors
        cells = list(zip(*[iter(weights)] * 4, strict=True))
        read = [_in_order(inputs, d) for d in range(len(h))]
        before = [torch.cat([first[None], each[:-1]]) for first, each in zip(h, _directions(outputs, h), strict=True)]
        slopes = outputs.new_empty(*outputs.shape[:2], len(h), COLUMNS, h.shape[-1])
        for x, state, cell, columns in zip(read, before, cells, slopes.unbind(2), strict=True):
            _write_slopes(x.flatten(0, 1), state.flatten(0, 1), cell, columns.flatten(0, 1))
        d_h = _loop(slopes, torch.stack(_directions(d_outputs, h), 2), d_final, [cell[1] for cell in cells])
        d_inputs, d_weights = [], []
        for d, (x, state, cell, columns) in enumerate(zip(read, before, cells, slopes.unbind(2), strict=True)):
            columns = columns.flatten(0, 1)
            d_weights += _weight_gradients(x.flatten(0, 1), state.flatten(0, 1), columns)
            if ctx.needs_input_grad[0]:
                d_inputs.append(_in_order((_joined(columns, OF_INPUT) @ cell[0]).view_as(x), d))
        return functools.reduce(torch.add, d_inputs) if d_inputs else None, d_h, *d_weights


def _in_order(steps: Float[Tensor, "T B I"], direction: int) -> Float[Tensor, "T B I"]:
    """The second direction starts at the end."""
    return steps.flip(0) if direction else steps


def _directions(steps: Float[Tensor, "T B DH"], h: Float[Tensor, "D B H"]) -> list[Float[Tensor, "T B H"]]:
    return [_in_order(each, d) for d, each in enumerate(steps.chunk(len(h), dim=-1))]


def _joined(columns: Float[Tensor, "N C H"], which: slice) -> Float[Tensor, "N H3"]:
    """Adjacent columns as one matrix; a view."""
    return columns[:, which].flatten(1)


def _write_slopes(
    inputs: Float[Tensor, "N I"], before: Float[Tensor, "N H"], cell: Weights, columns: Float[Tensor, "N C H"]
) -> None:
    """The slopes of all steps, before they are multiplied by dh."""
    w_i, w_h, b_i, b_h = cell
    _as_kernel(_slopes, F.linear(inputs, w_i, b_i), F.linear(before, w_h, b_h), before, *columns.unbind(1))


def _loop(
    slopes: Float[Tensor, "T B D C H"],
    d_outputs: Float[Tensor, "T B D H"],
    d_final: Float[Tensor, "D B H"],
    weights: Sequence[Float[Tensor, "H3 H"]],
) -> Float[Tensor, "D B H"]:
    """The gradient of the initial state; multiplies the slopes by the gradient of each step's state."""
    weight = torch.stack([each.roll(each.shape[1], 0) for each in weights])  # candidate, reset, update
    carried = at_least_float32(d_final).transpose(0, 1).contiguous().flatten(0, 1)
    product = d_final.new_zeros(d_final.shape)
    for columns, d_output in zip(reversed(slopes.unbind(0)), reversed(d_outputs.unbind(0)), strict=True):
        carried = _as_kernel(_step, carried, product, d_output.flatten(0, 1), *columns.flatten(0, 1).unbind(1))
        product = torch.bmm(columns[:, :, OF_STATE].flatten(2).transpose(0, 1), weight)
    return (carried.view_as(d_outputs[0]).transpose(0, 1) + product).to(d_final.dtype)


def _weight_gradients(
    inputs: Float[Tensor, "N I"], before: Float[Tensor, "N H"], columns: Float[Tensor, "N C H"]
) -> list[Tensor]:
    """Those of W_i, W_h, b_i and b_h."""
    hidden_size = before.shape[1]
    sums = columns.sum(0, dtype=torch.promote_types(columns.dtype, torch.float32)).to(columns.dtype)
    return [
        _joined(columns, OF_INPUT).T @ inputs,
        (_joined(columns, OF_STATE).T @ before).roll(-hidden_size, 0),
        sums[OF_INPUT].flatten(),
        sums[OF_STATE].flatten().roll(-hidden_size),
    ]


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(inspect.unwrap(function), dynamic=False)  # without the checks of shapes that tests add


def _as_kernel(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """One kernel on a GPU, compiled at the first call. What is written to are matrices that don't overlap."""
    return (_compiled(function) if tensors[0].is_cuda else function)(*tensors)


def _slopes(
    projected: Float[Tensor, "N H3"],
    recurrent: Float[Tensor, "N H3"],
    before: Float[Tensor, "N H"],
    *columns: Float[Tensor, "N H"],
) -> None:
    """Writes the columns, from W_i x + b_i, W_h h + b_h and the state before the step."""
    x_r, x_z, x_n = at_least_float32(projected).chunk(3, dim=-1)
    h_r, h_z, h_n = at_least_float32(recurrent).chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    slope_n = (1 - z) * (1 - n * n)
    slopes = (slope_n * r, slope_n * h_n * r * (1 - r), (before - n) * z * (1 - z), slope_n, z)
    for column, slope in zip(columns, slopes, strict=True):
        column.copy_(slope)


def _step(
    carried: Float[Tensor, "N H"],
    product: Float[Tensor, "D B H"],
    d_output: Float[Tensor, "N H"],
    *columns: Float[Tensor, "N H"],
) -> Float[Tensor, "N H"]:
    """Multiplies the slopes of a step by the gradient of its state; returns what z carries to the state before."""
    *slopes, z = columns
    d_h = carried + product.transpose(0, 1).flatten(0, 1) + d_output
    for slope in slopes:
        slope.mul_(d_h)
    return d_h * z
