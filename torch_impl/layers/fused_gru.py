"""The layers of a GRU as fast as the framework allows, with the weights of the reference.
Twin: jax_impl/layers/fused_gru.py.

`torch.gru` calls cuDNN on a GPU, and the library's own loop on a CPU.
"""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torch_impl.layers.linear import Linear

Cell = tuple[Linear, Linear]  # the input's projection and the state's

warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


def fused_gru(
    inputs: Float[Tensor, "B T I"],
    hidden_states: Float[Tensor, "LD B H"],
    layers: Sequence[Sequence[Cell]],
    lengths: Int[Tensor, "B"] | None,
) -> tuple[Float[Tensor, "B T DH"], Float[Tensor, "LD B H"]]:
    """Outputs of the last layer and final states; a layer has D = 1 or 2 cells, and the second reads from the end."""
    if lengths is None:
        return _library_gru(inputs, hidden_states, layers)
    last = lengths.clamp(0, inputs.shape[1])[:, None] - 1
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    valid = (steps <= last)[..., None]
    mirrored = torch.where(steps <= last, last - steps, steps)  # so that the padding stays at the end
    states = iter(hidden_states.unbind(0))
    finals = []
    for layer in layers:
        outputs = []
        for cell, reverse in zip(layer, (False, True), strict=False):
            h = next(states)
            read, _ = _library_gru(_steps(inputs, mirrored) if reverse else inputs, h[None], [[cell]])
            final = _steps(read, last.clamp(min=0)).squeeze(1)
            finals.append(torch.where(last >= 0, final, h))
            read = torch.where(valid, read, 0.0)
            outputs.append(_steps(read, mirrored) if reverse else read)
        inputs = torch.cat(outputs, dim=-1)
    return inputs, torch.stack(finals)


@torch.compiler.disable  # a compiler of steps would write the library's loop out
def _library_gru(
    inputs: Float[Tensor, "B T I"], hidden_states: Float[Tensor, "LD B H"], layers: Sequence[Sequence[Cell]]
) -> tuple[Float[Tensor, "B T DH"], Float[Tensor, "LD B H"]]:
    """`torch.nn.GRU` as a function of our weights."""
    cells = [cell for layer in layers for cell in layer]
    weights = [array for x, h in cells for array in (x.weight, h.weight, x.bias, h.bias)]
    return torch.gru(
        inputs.contiguous(),
        hidden_states.contiguous(),
        weights,
        has_biases=True,
        num_layers=len(layers),
        dropout=0.0,
        train=torch.is_grad_enabled(),
        bidirectional=len(layers[0]) == 2,
        batch_first=True,
    )


def _steps(x: Float[Tensor, "B T H"], at: Int[Tensor, "B S"]) -> Float[Tensor, "B S H"]:
    """The steps of each example at these positions."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
