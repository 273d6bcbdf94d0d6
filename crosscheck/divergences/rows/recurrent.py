"""Rows D03, D06 and D17: the order of gates, where the reset acts, and the axes of a final state."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, load, measurement
from crosscheck.divergences.rows.gru_cells import (
    BATCH,
    HIDDEN,
    LINEN_CELL,
    SHAPES,
    WIDTH,
    cut,
    draw_states,
    draw_weights,
    linen_step,
    to_linen,
    torch_step,
)


@measurement()
def _gates_swapped() -> float:
    return largest_gap(torch_step(), linen_step(to_linen(draw_weights(), order="zrn")))


@measurement()
def _reset_before() -> float:
    inputs, hidden = map(jnp.asarray, draw_states())
    weight_ih, weight_hh, bias_ih, bias_hh = (cut(draw_weights()[name]) for name in SHAPES)
    x = {gate: inputs @ weight_ih[gate].T + bias_ih[gate] for gate in "rzn"}
    r, z = (jax.nn.sigmoid(x[gate] + hidden @ weight_hh[gate].T + bias_hh[gate]) for gate in "rz")
    n = jnp.tanh(x["n"] + (r * hidden) @ weight_hh["n"].T + bias_hh["n"])
    return largest_gap(torch_step(), (1 - z) * n + z * hidden)


@measurement()
def _final_states() -> float:
    directions = {"": draw_weights(), "_reverse": draw_weights(seed=4)}
    arrays = {f"{name}_l0{way}": array for way, weights in directions.items() for name, array in weights.items()}
    sequence = draw(BATCH, 6, WIDTH, seed=13)
    gru = load(nn.GRU(WIDTH, HIDDEN, batch_first=True, bidirectional=True), arrays)
    carries = [
        linen.RNN(LINEN_CELL.clone(), return_carry=True, reverse=way != "").apply(
            {"params": {"cell": to_linen(weights)}}, sequence
        )[0]
        for way, weights in directions.items()
    ]
    return largest_gap(gru(torch.tensor(sequence))[1].reshape(BATCH, -1), np.concatenate(carries, axis=-1))


RECURRENT = (
    KnownDivergence(
        id="D03",
        name="gru-gate-order",
        trigger="the gates of a GRU are stacked in a different order (Keras: z, r, h); all three have the same shape",
        predicted=0.79,
        size_of="largest absolute difference after one step of a GRU cell (5 -> 7) with r and z swapped",
        measure=_gates_swapped,
        source="keras#8720, webnn#83, torch.nn.GRU and flax.linen.GRUCell documentation",
        to_torch="ir, iz, in_ = np.split(weight_ih, 3), hr, hz, hn = np.split(weight_hh, 3): torch stacks r, z, n",
        to_jax="np.concatenate([ir, iz, in_]) is weight_ih: not in alphabetical order, nor in Keras's z, r, h",
    ),
    KnownDivergence(
        id="D06",
        name="gru-reset-after",
        trigger="the reset gate acts before the product (Cho et al., Keras 1) instead of after it (cuDNN, torch, Flax)",
        predicted=0.18,
        size_of="largest absolute difference after one step of a GRU cell (5 -> 7), with JAX resetting before",
        measure=_reset_before,
        source="Keras documentation of GRU's reset_after",
        to_torch="n = jnp.tanh(x_n + r * (h @ kernel_hn + bias_hn)), as flax.linen.GRUCell does",
        to_jax="n = torch.tanh(x_n + F.linear(r * h, weight_hn, bias_hn)) in a custom cell: nn.GRU has no option",
    ),
    KnownDivergence(
        id="D17",
        name="axis-order-state",
        trigger="h_n of a bidirectional or multi-layer GRU is reshaped to (batch, features) without a transpose",
        predicted=0.97,
        size_of="largest absolute difference in the final states (8, 2 * 7), with torch's reshaped as stored",
        measure=_final_states,
        source="torch.nn.GRU and flax.linen.RNN documentation",
        to_torch="jnp.stack(carries): (layers * directions, batch, H), forward before reverse in each layer",
        to_jax="h_n.transpose(0, 1).flatten(1): batch first, then one cell after the other",
    ),
)
