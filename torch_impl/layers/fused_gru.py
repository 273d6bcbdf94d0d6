"""The layers of a GRU as fast as the framework allows, with the weights of the reference.
Twin: jax_impl/layers/fused_gru.py.

On a GPU that it serves, a layer is a kernel of ours; elsewhere `torch.gru` calls cuDNN, or the library's loop on a CPU.
"""

import sys
import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from shared.gru_plan import runs_as
from torch_impl.layers.linear import Linear
from torch_impl.layers.persistent_gru import persistent_gru, serves, which, why_not

Cell = tuple[Linear, Linear]  # the input's projection and the state's

warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


def fused_gru(
    inputs: Float[Tensor, "B T I"],
    hidden_states: Float[Tensor, "LD B H"],
    layers: Sequence[Sequence[Cell]],
    lengths: Int[Tensor, "B"] | None,
    may_be_ours: bool,
) -> tuple[Float[Tensor, "B T DH"], Float[Tensor, "LD B H"]]:
    """Outputs of the last layer and final states; a layer has D = 1 or 2 cells, and the second reads from the end.

    Only where `may_be_ours`, a layer can be our kernel.
    """
    served = may_be_ours and serves(inputs, hidden_states.shape[-1])
    if lengths is None and not served:
        return _library_gru(inputs, hidden_states, layers)
    finals = []
    for cells, h in zip(layers, hidden_states.chunk(len(layers)), strict=True):
        inputs, final = (_kernel if served else _library)(inputs, h, cells, lengths)
        finals.append(final)
    return inputs, torch.cat(finals)


def describe_gru(implementation: str, hidden_size: int, dtype: str, device: torch.device) -> str:
    """What a layer runs as on this device, in words, and why."""
    library = "PyTorch's loop" if device.type == "cpu" else f"cuDNN {torch.backends.cudnn.version()}"
    layer = getattr(torch, dtype), hidden_size, device
    return runs_as(implementation, why_not(*layer), library, which(*layer))


def _kernel(
    inputs: Float[Tensor, "B T I"], h: Float[Tensor, "D B H"], cells: Sequence[Cell], lengths: Int[Tensor, "B"] | None
) -> tuple[Float[Tensor, "B T DH"], Float[Tensor, "D B H"]]:
    """A layer as one kernel, with one product for the inputs of all directions."""
    batch_size, steps, _ = inputs.shape
    projected = F.linear(inputs, _stack([x.weight for x, _ in cells]).flatten(0, 1)).unflatten(-1, (len(cells), -1))
    b_i, b_h = (_stack([part.bias for part in each]).float() for each in zip(*cells, strict=True))
    gates = 2 * h.shape[-1], h.shape[-1]  # the candidate's biases stay apart
    (b_i, b_in), (b_h, b_hn) = b_i.split(gates, 1), b_h.split(gates, 1)
    bias = torch.cat([b_i + b_h, b_in, b_hn], dim=1)
    if lengths is None:
        lengths = torch.full((batch_size,), steps, dtype=torch.int32, device=inputs.device)
    weight = _stack([hidden.weight for _, hidden in cells])
    h, weight = h.to(projected.dtype), weight.to(projected.dtype)  # autocast narrows products alone
    outputs, final = persistent_gru(projected, h, weight, bias, lengths)
    return outputs.flatten(2), final


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor is not copied."""
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0][None]


def _library(
    inputs: Float[Tensor, "B T I"], h: Float[Tensor, "D B H"], cells: Sequence[Cell], lengths: Int[Tensor, "B"]
) -> tuple[Float[Tensor, "B T DH"], Float[Tensor, "D B H"]]:
    """A layer by the library with packed semantics, without waiting for the host."""
    last = lengths.clamp(0, inputs.shape[1])[:, None] - 1
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    valid = (steps <= last)[..., None]
    mirrored = torch.where(steps <= last, last - steps, steps)  # so that the padding stays at the end
    outputs, finals = [], []
    for cell, first, reverse in zip(cells, h, (False, True), strict=False):
        read, _ = _library_gru(_steps(inputs, mirrored) if reverse else inputs, first[None], [[cell]])
        final = _steps(read, last.clamp(min=0)).squeeze(1)
        finals.append(torch.where(last >= 0, final, first))
        read = torch.where(valid, read, 0.0)
        outputs.append(_steps(read, mirrored) if reverse else read)
    return torch.cat(outputs, dim=-1), torch.stack(finals)


def _library_gru(
    inputs: Float[Tensor, "B T I"], hidden_states: Float[Tensor, "LD B H"], layers: Sequence[Sequence[Cell]]
) -> tuple[Float[Tensor, "B T DH"], Float[Tensor, "LD B H"]]:
    """A compiler of steps would write the library's loop out, so it is left out; to load one takes seconds."""
    is_compiler_loaded = "torch._dynamo" in sys.modules
    return (_not_compiled if is_compiler_loaded else _torch_gru)(inputs, hidden_states, layers)


def _torch_gru(
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


_not_compiled = torch._disable_dynamo(_torch_gru)  # torch.compiler.disable, which loads the compiler at the first call


def _steps(x: Float[Tensor, "B T H"], at: Int[Tensor, "B S"]) -> Float[Tensor, "B S H"]:
    """The steps of each example at these positions."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
