"""The layers of a GRU as fast as the framework allows, with the weights of the reference.
Twin: torch_impl/layers/fused_gru.py.

On a GPU that it serves, a layer is a kernel of ours. Elsewhere only the state goes through a loop: the rest is computed
for all steps at once, in the backward pass too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.layers.linear import Linear
from jax_impl.layers.persistent_gru import persistent_gru, serves, which, why_not
from jax_impl.precision import at_least_float32
from shared.gru_plan import runs_as

Cell = tuple[Linear, Linear]  # the input's projection and the state's
UNROLL = {"gpu": 8}  # steps in a row without a loop's overhead; on a CPU it costs compile time and gains none


class _Weights(NamedTuple):
    """The arrays of a cell: W_i (I, 3H), b_i (3H), W_h (H, 3H), b_h (3H)."""

    w_i: Float[Array, "I H3"]
    b_i: Float[Array, "H3"]
    w_h: Float[Array, "H H3"]
    b_h: Float[Array, "H3"]


def fused_gru(
    inputs: Float[Array, "B T I"],
    hidden_states: Float[Array, "LD B H"],
    layers: Sequence[Sequence[Cell]],
    lengths: Int[Array, "B"] | None,
    may_be_ours: bool,
) -> tuple[Float[Array, "B T DH"], Float[Array, "LD B H"]]:
    """Outputs of the last layer and final states; a layer has D = 1 or 2 cells, and the second reads from the end.

    Only where `may_be_ours`, a layer can be our kernel.
    """
    weights = [
        [_Weights(*(a[...] for part in cell for a in (part.kernel, part.bias))) for cell in each] for each in layers
    ]
    if not (may_be_ours and serves(inputs, hidden_states.shape[-1])):
        return _loops(inputs, hidden_states, weights, lengths)
    return jax.lax.platform_dependent(inputs, hidden_states, weights, lengths, cuda=_kernels, default=_loops)


def describe_gru(implementation: str, hidden_size: int, dtype: str, device: jax.Device) -> str:
    """What a layer runs as on this device, in words, and why."""
    layer = jnp.dtype(dtype), hidden_size, device
    return runs_as(implementation, why_not(*layer), "a loop of XLA", which(*layer))


def _kernels(
    inputs: Float[Array, "B T I"],
    hidden_states: Float[Array, "LD B H"],
    layers: Sequence[Sequence[_Weights]],
    lengths: Int[Array, "B"] | None,
) -> tuple[Float[Array, "B T DH"], Float[Array, "LD B H"]]:
    """Each layer as one kernel, with one product for the inputs of all directions."""
    batch_size, steps, _ = inputs.shape
    lengths = jnp.full(batch_size, steps) if lengths is None else lengths
    finals = []
    for cells, h in zip(layers, jnp.split(hidden_states, len(layers)), strict=True):
        projected = inputs @ jnp.concatenate([cell.w_i for cell in cells], axis=1)
        b_i, b_h = (at_least_float32(jnp.stack(each)) for each in zip(*[(c.b_i, c.b_h) for c in cells], strict=True))
        kept = 2 * h.shape[-1]  # the candidate's biases stay apart
        bias = jnp.concatenate([b_i[:, :kept] + b_h[:, :kept], b_i[:, kept:], b_h[:, kept:]], axis=1)
        weight = jnp.stack([cell.w_h.T for cell in cells])
        projected = projected.reshape(batch_size, steps, len(cells), -1)
        inputs, final = persistent_gru(projected, h, weight, bias, lengths)
        inputs = inputs.reshape(batch_size, steps, -1)
        finals.append(final)
    return inputs, jnp.concatenate(finals)


def _loops(
    inputs: Float[Array, "B T I"],
    hidden_states: Float[Array, "LD B H"],
    layers: Sequence[Sequence[_Weights]],
    lengths: Int[Array, "B"] | None,
) -> tuple[Float[Array, "B T DH"], Float[Array, "LD B H"]]:
    """Each layer as one loop of all its cells."""
    inputs = inputs.swapaxes(0, 1)
    valid = None if lengths is None else (jnp.arange(len(inputs))[:, None] < lengths)[..., None]
    finals = []
    for cells, h in zip(layers, jnp.split(hidden_states, len(layers)), strict=True):
        inputs, final = _layer(inputs, h, cells, valid)
        finals.append(final)
    return inputs.swapaxes(0, 1), jnp.concatenate(finals)


def _layer(
    inputs: Float[Array, "T B I"],
    h: Float[Array, "D B H"],
    cells: Sequence[_Weights],
    valid: Bool[Array, "T B 1"] | None,
) -> tuple[Float[Array, "T B DH"], Float[Array, "D B H"]]:
    """All cells of a layer in one loop, each in its own order of the steps."""
    projected = [_in_order(inputs @ cell.w_i + cell.b_i, d) for d, cell in enumerate(cells)]
    weight = jnp.stack([cell.w_h for cell in cells])
    bias = jnp.stack([cell.b_h for cell in cells])[:, None]
    given = None if valid is None else [_in_order(valid, d) for d in range(len(cells))]
    states = _scan(projected, h, weight, bias, given)
    final = jnp.stack([each[-1] for each in states])
    outputs = [_in_order(each, d) for d, each in enumerate(states)]
    if valid is not None:
        outputs = [jnp.where(valid, each, 0.0) for each in outputs]
    return jnp.concatenate(outputs, axis=-1), final


def _in_order(steps: Array, direction: int) -> Array:
    """The second direction starts at the end."""
    return steps[::-1] if direction else steps


def _unroll() -> int:
    return UNROLL.get(jax.default_backend(), 1)


@jax.custom_vjp
def _scan(
    projected: list[Float[Array, "T B H3"]],
    h: Float[Array, "D B H"],
    weight: Float[Array, "D H H3"],
    bias: Float[Array, "D 1 H3"],
    valid: list[Bool[Array, "T B 1"]] | None,
) -> list[Float[Array, "T B H"]]:
    """The state of each direction after every step; where `valid` is False it is kept.

    Directions are apart wherever steps are together, so that all steps are one product, and together within a step.
    """

    def step(h: Array, at: tuple[list[Array], list[Array] | None]) -> tuple[Array, list[Array]]:
        projected, valid = at
        recurrent = _product(h, weight) + bias
        _, z, n, _ = _gates(jnp.stack(projected), recurrent)
        new = ((1 - z) * n + z * h).astype(h.dtype)
        h = new if valid is None else jnp.where(jnp.stack(valid), new, h)
        return h, list(h)

    return jax.lax.scan(step, h, (projected, valid), unroll=_unroll())[1]


def _scan_forward(projected, h, weight, bias, valid):
    states = _scan(projected, h, weight, bias, valid)
    return states, (projected, h, weight, bias, valid, states)


def _scan_backward(saved, d_states):
    """Only dh goes through the loop: gates are computed again for all steps at once, and so are all other gradients."""
    projected, h, weight, bias, valid, states = saved
    before = [jnp.concatenate([first[None], each[:-1]]) for first, each in zip(h, states, strict=True)]
    directions = zip(projected, before, weight, bias, valid or [None] * len(before), strict=True)
    slopes, slopes_n, kept = map(list, zip(*(_slopes(*direction) for direction in directions), strict=True))
    transposed = weight.swapaxes(1, 2)

    def step(dh: Array, at: tuple[list[Array], list[Array], list[Array]]) -> tuple[Array, list[Array]]:
        d_states, slopes, kept = map(jnp.stack, at)
        dh = dh + d_states
        d_recurrent = slopes * _thrice(dh.astype(h.dtype))
        return dh * kept + _product(d_recurrent, transposed), list(dh.astype(h.dtype))

    zero = jnp.zeros(h.shape, jnp.promote_types(h.dtype, jnp.float32))
    dh0, dh = jax.lax.scan(step, zero, (d_states, slopes, kept), reverse=True, unroll=_unroll())
    d_recurrent = [slope * _thrice(each) for slope, each in zip(slopes, dh, strict=True)]
    d_weight = [jnp.einsum("tbh,tbk->hk", *both) for both in zip(before, d_recurrent, strict=True)]
    d_bias = [at_least_float32(each).sum((0, 1)) for each in d_recurrent]
    d_projected = [
        jnp.concatenate([each[..., : -h.shape[-1]], slope * state], axis=-1)
        for each, slope, state in zip(d_recurrent, slopes_n, dh, strict=True)
    ]
    return d_projected, dh0.astype(h.dtype), jnp.stack(d_weight), jnp.stack(d_bias)[:, None].astype(bias.dtype), None


_scan.defvjp(_scan_forward, _scan_backward)


def _slopes(
    projected: Float[Array, "T B H3"],
    before: Float[Array, "T B H"],
    weight: Float[Array, "H H3"],
    bias: Float[Array, "1 H3"],
    valid: Bool[Array, "T B 1"] | None,
) -> tuple[Float[Array, "T B H3"], Float[Array, "T B H"], Float[Array, "T B H"]]:
    """Derivatives of each state by W_h h + b_h and by the candidate's argument, and z, which keeps the last state."""
    r, z, n, h_n = _gates(projected, _product(before, weight) + bias)
    slope_n = (1 - z) * (1 - n * n)
    slopes = jnp.concatenate([slope_n * h_n * r * (1 - r), (before - n) * z * (1 - z), slope_n * r], axis=-1)
    if valid is not None:
        slopes, slope_n, z = jnp.where(valid, slopes, 0.0), jnp.where(valid, slope_n, 0.0), jnp.where(valid, z, 1.0)
    return slopes.astype(before.dtype), slope_n.astype(before.dtype), z.astype(before.dtype)


def _gates(projected: Float[Array, "*D B H3"], recurrent: Float[Array, "*D B H3"]) -> tuple[Array, ...]:
    """r, z, n and W_hn h + b_hn, as GRUCell computes them."""
    x_r, x_z, x_n = jnp.split(at_least_float32(projected), 3, axis=-1)
    h_r, h_z, h_n = jnp.split(recurrent, 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    return r, jax.nn.sigmoid(x_z + h_z), jnp.tanh(x_n + r * h_n), h_n


def _product(a: Float[Array, "... B K"], b: Float[Array, "... K N"]) -> Float[Array, "... B N"]:
    """A product of matrices in their dtype, for a sum in float32 at least."""
    return at_least_float32(a @ b)


def _thrice(x: Float[Array, "*B H"]) -> Float[Array, "*B H3"]:
    return jnp.concatenate([x, x, x], axis=-1)
