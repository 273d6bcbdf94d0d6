"""All steps of a GRU layer as one kernel on a GPU. Twin: jax_impl/layers/persistent_gru.py.

The kernels, the same for both frameworks, are in shared/kernels/gru.py; products that need no order are left to cuBLAS.
"""

from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from shared.cuda.gru_clusters import cluster_kernel
from shared.cuda.nvrtc import Kernel, compiler, launch
from shared.gru_plan import ALIGNED, ASSERTING, NO_SECOND, ClusterPlan, Plan, kernel_of, plan_for, refusal
from torch_impl.precision import at_least_float32


def serves(inputs: Float[Tensor, "B T I"], hidden_size: int) -> bool:
    """Whether there is a kernel for layers of this size and dtype on the inputs' device."""
    return inputs.numel() > 0 and not why_not(inputs.dtype, hidden_size, inputs.device)


def why_not(dtype: torch.dtype, hidden_size: int, device: torch.device) -> str:
    """Why no kernel serves a layer, in words; empty if one does."""
    narrow = dtype in (torch.bfloat16, torch.float16, torch.float32)
    return refusal(narrow, hidden_size, dtype.itemsize, _capability(device), _processors(device))


def which(dtype: torch.dtype, hidden_size: int, device: torch.device) -> str:
    """The kernel that serves a layer, in words."""
    return kernel_of(hidden_size, dtype.itemsize, _has_clusters(device))


def persistent_gru(
    projected: Float[Tensor, "B T D H3"],
    initial: Float[Tensor, "D B H"],
    weight: Float[Tensor, "D H3 H"],
    bias: Float[Tensor, "D H4"],
    lengths: Int[Tensor, "B"],
) -> tuple[Float[Tensor, "B T D H"], Float[Tensor, "D B H"]]:
    """Outputs and final states of a layer of D directions, from W_i x and the state's weights.

    The biases, in float32, are b_ir + b_hr, b_iz + b_hz, b_in and b_hn. The second direction starts at the end; steps
    from an example's length on keep the state and put out zero.
    """
    trains = torch.is_grad_enabled() and any(each.requires_grad for each in (projected, initial, weight, bias))
    outputs, final, _, _ = _forward(projected, initial, weight, bias, lengths.int(), trains)
    return outputs, final


@torch.library.custom_op("isograd::gru_forward", mutates_args=())
def _forward(
    projected: Tensor, initial: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, trains: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs and final states, and what the backward pass needs: the states before each step, and the gates."""
    plan = _plan("forward", projected, initial)
    made = _forward_shapes(projected, initial, weight, bias, lengths, trains)
    states = projected.new_empty(plan.states)
    _launch("forward", plan, (projected, initial, weight, bias, lengths), (*made, states), trains)
    return made


@_forward.register_fake
def _forward_shapes(
    projected: Tensor, initial: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, trains: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch_size, steps, directions, _ = projected.shape
    hidden_size = initial.shape[-1]
    kept = (batch_size, steps, directions) if trains else (0, 0, 0)
    return (
        projected.new_empty(batch_size, steps, directions, hidden_size),
        torch.empty_like(initial, memory_format=torch.contiguous_format),
        projected.new_empty(*kept, hidden_size),
        projected.new_empty(*kept, 4 * hidden_size),
    )


@torch.library.custom_op("isograd::gru_backward", mutates_args=())
def _backward(
    weight: Tensor, lengths: Tensor, before: Tensor, gates: Tensor, d_outputs: Tensor, d_final: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of W_i x, of W_h h + b_h, of each group's biases and of the initial states."""
    plan = _plan("backward", gates, d_final)
    made = _backward_shapes(weight, lengths, before, gates, d_outputs, d_final)
    sums = gates.new_empty(plan.partial_sums)
    _launch("backward", plan, (weight, lengths, before, gates, d_outputs, d_final), (*made, sums))
    return made


@_backward.register_fake
def _backward_shapes(
    weight: Tensor, lengths: Tensor, before: Tensor, gates: Tensor, d_outputs: Tensor, d_final: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch_size, steps, directions, hidden_size = before.shape
    return (
        *(before.new_empty(batch_size, steps, directions, 3 * hidden_size) for _ in range(2)),
        at_least_float32(before.new_empty(directions, _plan("backward", gates, d_final).groups, 4 * hidden_size)),
        torch.empty_like(d_final, memory_format=torch.contiguous_format),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, _, weight, _, lengths, _ = inputs
    ctx.save_for_backward(weight, lengths, *output[2:])
    ctx.set_materialize_grads(False)  # zeros as large as the gates, whose gradients nobody asks for


def _gradients(ctx: Any, d_outputs: Tensor | None, d_final: Tensor | None, *others: Any) -> tuple[Any, ...]:
    weight, lengths, before, gates = ctx.saved_tensors
    batch_size, _, directions, size = before.shape
    d_outputs = torch.zeros_like(before) if d_outputs is None else d_outputs
    d_final = before.new_zeros(directions, batch_size, size) if d_final is None else d_final
    d_projected, d_recurrent, d_bias, d_initial = _backward(weight, lengths, before, gates, d_outputs, d_final)
    d_weight = torch.einsum("btdg,btdh->dgh", d_recurrent, before)
    return d_projected, d_initial, d_weight, d_bias.sum(1), None, None


def _refuse(ctx: Any, *given: Any) -> None:
    raise NotImplementedError(NO_SECOND)


_forward.register_autograd(_gradients, setup_context=_setup)
_backward.register_autograd(_refuse)


def _plan(way: str, steps: Tensor, states: Tensor) -> Plan:
    """How a layer of this size is cut on the tensor's device."""
    batch_size, length = steps.shape[:2]
    sizes = len(states), states.shape[-1], steps.dtype.itemsize
    return plan_for(way, batch_size, length, *sizes, _processors(steps.device), _has_clusters(steps.device))


def _precision() -> str:
    """How a product of float32 is made: as exactly, by three products of TF32, or in TF32 where matmul may be."""
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


def _constant_in_a_graph(function: Any) -> Any:
    """torch.compiler.assume_constant_result, which would load the compiler: that takes seconds."""
    function._dynamo_marked_constant = True
    return function


@_constant_in_a_graph
def _capability(device: torch.device) -> tuple[int, int] | None:
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


@_constant_in_a_graph
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _has_clusters(device: torch.device) -> bool:
    return device.type == "cuda" and compiler() is not None


def _launch(
    way: str, plan: Plan, read: tuple[Tensor, ...], written: tuple[Tensor, ...], trains: bool | None = None
) -> None:
    """Launch the kernel for this plan; the last of what is written is what its programs swap."""
    counters = torch.zeros(plan.counters, dtype=torch.int32, device=read[0].device)
    arrays = [*(_aligned(each) for each in read), *written, counters]
    if isinstance(plan, ClusterPlan):
        kernel = cluster_kernel(way, plan, str(written[0].dtype).removeprefix("torch."), bool(trains))
        return _launch_clusters(kernel, arrays)
    from shared.kernels import gru

    constants = {**plan.constants, "PRECISION": _precision(), "BOUNDED": True}
    constants |= {} if trains is None else {"TRAINS": trains}
    options = {"num_warps": plan.cut.warps, **ASSERTING}
    on_device = torch.cuda.device(counters.device) if counters.is_cuda else nullcontext()
    with on_device:  # Triton launches on the current device
        getattr(gru, f"gru_{way}")[plan.programs,](*arrays, *plan.numbers, **constants, **options)
    return None


def _launch_clusters(kernel: Kernel, arrays: list[Tensor]) -> None:
    stream = torch.cuda.current_stream(arrays[0].device)
    launch(kernel, [each.data_ptr() for each in arrays], stream.cuda_stream, stream.device_index)


def _aligned(array: Tensor) -> Tensor:
    """In one piece from an address that is a multiple of 16, from which kernels read 16 bytes at a time."""
    array = array.contiguous()
    return array.clone() if array.data_ptr() % ALIGNED else array
