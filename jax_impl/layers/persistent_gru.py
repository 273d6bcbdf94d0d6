"""All steps of a GRU layer as one kernel on a GPU. Twin: torch_impl/layers/persistent_gru.py.

The kernels, the same for both frameworks, are in shared/kernels/gru.py; products that need no order are left to cuBLAS.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_batching import custom_vmap
from jaxtyping import Float, Int

from jax_impl.precision import at_least_float32
from jax_impl.triton_call import capability, kernel_call, triton_call
from shared.cuda.gru_clusters import cluster_kernel
from shared.cuda.nvrtc import compiler
from shared.gru_plan import NO_SECOND, ClusterPlan, Plan, kernel_of, plan_for, refusal

FORWARD_AXES = 0, 1, None, None, 0  # of the examples, in each array that the kernel reads
BACKWARD_AXES = None, 0, 0, 0, 0, 1


def serves(inputs: Float[Array, "B T I"], hidden_size: int) -> bool:
    """Whether there is a kernel for layers of this size and dtype on this machine's GPU."""
    return inputs.size > 0 and not why_not(inputs.dtype, hidden_size, jax.devices()[0])


def why_not(dtype: jnp.dtype, hidden_size: int, device: jax.Device) -> str:
    """Why no kernel serves a layer, in words; empty if one does."""
    narrow = dtype in (jnp.bfloat16, jnp.float16, jnp.float32)
    version = None if device.platform == "cpu" else capability()
    return refusal(narrow, hidden_size, dtype.itemsize, version, _processors(device))


def which(dtype: jnp.dtype, hidden_size: int, device: jax.Device) -> str:
    """The kernel that serves a layer, in words."""
    return kernel_of(hidden_size, dtype.itemsize, _has_clusters(device))


@jax.custom_vjp
def persistent_gru(
    projected: Float[Array, "B T D H3"],
    initial: Float[Array, "D B H"],
    weight: Float[Array, "D H3 H"],
    bias: Float[Array, "D H4"],
    lengths: Int[Array, "B"],
) -> tuple[Float[Array, "B T D H"], Float[Array, "D B H"]]:
    """Outputs and final states of a layer of D directions, from W_i x and the state's weights.

    The biases, in float32, are b_ir + b_hr, b_iz + b_hz, b_in and b_hn. The second direction starts at the end; steps
    from an example's length on keep the state and put out zero.
    """
    outputs, final = _forward(projected, initial, weight, bias, lengths, trains=False)
    return outputs, final


def _forward(
    projected: Array, initial: Array, weight: Array, bias: Array, lengths: Array, trains: bool
) -> tuple[Array, ...]:
    """Outputs and final states; if it trains, also the states before each step and the gates.

    A batched call (`jax.vmap`) is one launch of all its examples, unless weights are batched: then one after the other.
    """

    @custom_vmap
    def forward(*read: Array) -> tuple[Array, ...]:
        projected, initial, *_ = read
        plan = _plan("forward", projected, initial)
        dtype, hidden_size = projected.dtype, initial.shape[-1]
        kept = projected.shape[:3] if trains else (1, 1, 1)
        results = [
            jax.ShapeDtypeStruct((*projected.shape[:3], hidden_size), dtype),
            jax.ShapeDtypeStruct(initial.shape, dtype),
            jax.ShapeDtypeStruct((*kept, hidden_size), dtype),
            jax.ShapeDtypeStruct((*kept, 4 * hidden_size), dtype),
            jax.ShapeDtypeStruct(plan.states, dtype),
        ]
        return tuple(_launch("forward", plan, read, results, trains)[: 4 if trains else 2])

    @forward.def_vmap
    def all_examples(size: int, batched: Sequence[bool], *read: Array) -> tuple[Any, Any]:
        if batched[2] or batched[3]:
            return _one_by_one(forward, batched, read)
        made = forward(*_folded(size, batched, read, FORWARD_AXES))
        axes = (0, 1, 0, 0)[: len(made)]
        return tuple(map(partial(_unfolded, size), made, axes)), (True,) * len(made)

    return forward(projected, initial, weight, bias, lengths.astype(jnp.int32))


def _forward_and_saved(
    projected: Array, initial: Array, weight: Array, bias: Array, lengths: Array
) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    outputs, final, before, gates = _forward(projected, initial, weight, bias, lengths, trains=True)
    return (outputs, final), (weight, lengths.astype(jnp.int32), before, gates)


@custom_vmap
def _backward(
    weight: Array, lengths: Array, before: Array, gates: Array, d_outputs: Array, d_final: Array
) -> tuple[Array, ...]:
    """Gradients of W_i x, of W_h h + b_h, of the initial states and of the biases."""
    plan = _plan("backward", gates, d_final)
    dtype, hidden_size = gates.dtype, weight.shape[-1]
    results = [
        *[jax.ShapeDtypeStruct((*before.shape[:3], 3 * hidden_size), dtype)] * 2,
        jax.ShapeDtypeStruct((len(weight), plan.groups, 4 * hidden_size), jnp.promote_types(dtype, jnp.float32)),
        jax.ShapeDtypeStruct(d_final.shape, dtype),
        jax.ShapeDtypeStruct(plan.partial_sums, dtype),
    ]
    read = weight, lengths, before, gates, d_outputs, d_final
    d_projected, d_recurrent, d_bias, d_initial, *_ = _launch("backward", plan, read, results)
    return d_projected, d_recurrent, d_initial, d_bias.sum(1)


@_backward.def_vmap
def _backward_of_all(size: int, batched: Sequence[bool], *read: Array) -> tuple[Any, Any]:
    """As forward; the kernel's sums for the biases are of all examples, so each gets its own from its gradients."""
    if batched[0]:
        return _one_by_one(_backward, batched, read)
    *made, _ = _backward(*_folded(size, batched, read, BACKWARD_AXES))
    d_projected, d_recurrent, d_initial = map(partial(_unfolded, size), made, (0, 0, 1))
    d_candidate = d_recurrent[..., -d_initial.shape[-1] :]
    d_bias = at_least_float32(jnp.concatenate([d_projected, d_candidate], axis=-1)).sum((1, 2))
    return (d_projected, d_recurrent, d_initial, d_bias), (True,) * 4


def _folded(size: int, batched: Sequence[bool], arrays: Sequence[Array], axes: Sequence[int | None]) -> list[Array]:
    """The arrays with the axis of a batched call, their first, folded into that of the examples, if they have one."""
    found = []
    for array, is_batched, axis in zip(arrays, batched, axes, strict=True):
        if axis is not None:
            whole = array if is_batched else jnp.broadcast_to(array, (size, *array.shape))
            whole = jnp.moveaxis(whole, 0, axis)
            array = whole.reshape(*whole.shape[:axis], -1, *whole.shape[axis + 2 :])
        found.append(array)
    return found


def _unfolded(size: int, array: Array, axis: int) -> Array:
    return jnp.moveaxis(array.reshape(*array.shape[:axis], size, -1, *array.shape[axis + 1 :]), axis, 0)


def _one_by_one(
    function: Callable[..., tuple[Array, ...]], batched: Sequence[bool], arrays: Sequence[Array]
) -> tuple[Any, Any]:
    """The function of each of a batched call."""

    def one(some: list[Array]) -> tuple[Array, ...]:
        rest = iter(some)
        return function(*(next(rest) if each else array for array, each in zip(arrays, batched, strict=True)))

    made = jax.lax.map(one, [array for array, each in zip(arrays, batched, strict=True) if each])
    return made, (True,) * len(made)


def _gradients(saved: tuple[Array, ...], given: tuple[Array, Array]) -> tuple[Array | None, ...]:
    weight, lengths, before, gates = saved
    d_projected, d_recurrent, d_initial, d_bias = _backward(weight, lengths, before, gates, *given)
    d_weight = jnp.einsum("btdg,btdh->dgh", d_recurrent, before)
    return d_projected, d_initial, d_weight, d_bias, None


persistent_gru.defvjp(_forward_and_saved, _gradients)


def _plan(way: str, steps: Array, states: Array) -> Plan:
    """How a layer of this size is cut on the GPU."""
    batch_size, length = steps.shape[:2]
    sizes = len(states), states.shape[-1], steps.dtype.itemsize
    return plan_for(way, batch_size, length, *sizes, _processors(jax.devices()[0]), _has_clusters(jax.devices()[0]))


def _processors(device: jax.Device) -> int:
    return getattr(device, "core_count", 1)


def _precision() -> str:
    """How a product of float32 is made: as exactly, by three products of TF32, or in TF32 where matmul may be."""
    return "tf32x3" if jax.config.jax_default_matmul_precision in ("highest", "float32") else "tf32"


def _has_clusters(device: jax.Device) -> bool:
    return device.platform == "gpu" and compiler() is not None


def _launch(
    way: str, plan: Plan, read: tuple[Array, ...], written: list[jax.ShapeDtypeStruct], trains: bool | None = None
) -> list[Array]:
    """What the kernel for this plan makes; the last of what is written is what its programs swap."""

    @jax.custom_jvp
    def launch(*read: Array) -> list[Array]:
        results = [*written, jax.ShapeDtypeStruct((plan.counters,), jnp.int32)]
        if isinstance(plan, ClusterPlan):
            kernel = cluster_kernel(way, plan, written[0].dtype.name, bool(trains))
            return kernel_call(kernel, read, results, zeroed=1)
        from shared.kernels import gru

        numbers = [np.int32(number) for number in plan.numbers]
        constants = {**plan.constants, "PRECISION": _precision(), "BOUNDED": False}
        constants |= {} if trains is None else {"TRAINS": trains}
        options = {"num_warps": plan.cut.warps}  # jaxlib's launch of a kernel with an assertion has not been seen yet
        kernel = getattr(gru, f"gru_{way}")
        return triton_call(kernel, read, results, numbers, constants, options, programs=plan.programs, zeroed=1)

    launch.defjvp(_refuse)
    return launch(*read)


def _refuse(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(NO_SECOND)
