"""Rows D04, D05, D07 and D08: how many biases a recurrent cell has, and what happens to the others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, load, measurement
from crosscheck.divergences.rows.gru_cells import (
    BATCH,
    HIDDEN,
    IS_CANDIDATE,
    LINEN_CELL,
    WIDTH,
    draw_states,
    draw_weights,
    linen_step,
    to_linen,
    torch_step,
)
from shared.arrays import Arrays

STEPS, RATE = 100, 0.01


@measurement()
def _no_candidate_bias() -> float:
    weights = draw_weights()
    merged = weights["bias_ih"] + np.where(IS_CANDIDATE, 0.0, weights["bias_hh"])
    cell = nnx.GRUCell(
        WIDTH, HIDDEN, recurrent_kernel_init=nnx.initializers.zeros, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    cell.dense_i.kernel.set_value(jnp.asarray(weights["weight_ih"].T))
    cell.dense_i.bias.set_value(jnp.asarray(merged))
    cell.dense_h.kernel.set_value(jnp.asarray(weights["weight_hh"].T))
    if cell.dense_h.bias is not None:  # once Flax adds it, the divergence is gone
        cell.dense_h.bias.set_value(jnp.asarray(np.where(IS_CANDIDATE, weights["bias_hh"], 0.0)))
    inputs, hidden = draw_states()
    return largest_gap(torch_step(), cell(hidden, inputs)[1])


def _train_torch(sequence: np.ndarray, target: np.ndarray) -> Arrays:
    cell = load(nn.GRUCell(WIDTH, HIDDEN), draw_weights())
    optimizer = torch.optim.Adam(cell.parameters(), lr=RATE)
    for _ in range(STEPS):
        hidden = torch.zeros(BATCH, HIDDEN, dtype=torch.float64)
        for inputs in torch.tensor(sequence):
            hidden = cell(inputs, hidden)
        optimizer.zero_grad()
        ((hidden - torch.tensor(target)) ** 2).mean().backward()
        optimizer.step()
    return {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}


def _train_jax(sequence: np.ndarray, target: np.ndarray) -> dict[str, dict[str, jax.Array]]:
    optimizer = optax.adam(RATE)

    def loss(parameters):
        hidden = jnp.zeros((BATCH, HIDDEN))
        for inputs in sequence:
            hidden, _ = LINEN_CELL.apply({"params": parameters}, hidden, inputs)
        return ((hidden - target) ** 2).mean()

    def step(carry, _):
        parameters, state = carry
        updates, state = optimizer.update(jax.grad(loss)(parameters), state)
        return (optax.apply_updates(parameters, updates), state), None

    parameters = jax.tree.map(jnp.asarray, to_linen(draw_weights()))
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=STEPS)[0])
    return run((parameters, optimizer.init(parameters)))[0]


@measurement()
def _merged_bias() -> float:
    sequence, target = draw(3, BATCH, WIDTH, seed=13), draw(BATCH, HIDDEN, seed=14)
    expected, found = to_linen(_train_torch(sequence, target)), _train_jax(sequence, target)
    return max(largest_gap(expected[name]["kernel"], found[name]["kernel"]) for name in expected)


@measurement()
def _lstm_biases() -> float:
    cell = nnx.eval_shape(lambda: nnx.OptimizedLSTMCell(WIDTH, HIDDEN, rngs=nnx.Rngs(0)))
    ours = sum(parameter.numel() for parameter in nn.LSTMCell(WIDTH, HIDDEN).parameters())
    return float(ours - sum(leaf.size for leaf in jax.tree.leaves(nnx.state(cell, nnx.Param))))


@measurement()
def _equinox_biases() -> float:
    weights = draw_weights()
    kept = np.where(IS_CANDIDATE, weights["bias_hh"], 0.0)  # bias_n holds nothing else
    return largest_gap(torch_step(), linen_step(to_linen({**weights, "bias_hh": kept})))


BIASES = (
    KnownDivergence(
        id="D04",
        name="gru-nnx-no-bhn",
        trigger="nnx.GRUCell holds the weights of a torch GRU with nonzero bias_hh (273 of 294 numbers at 5 -> 7)",
        predicted=0.124,
        size_of="largest absolute difference after one step of a GRU cell (5 -> 7) without the candidate's hidden bias",
        measure=_no_candidate_bias,
        source="flax#5594, flax#5595",
        to_torch="two nnx.Linear(..., 3 * H), both with bias, as in jax_impl.GRU, or flax.linen.GRUCell",
        to_jax="cell.bias_hh.data.zero_() and cell.bias_hh.requires_grad_(False)",
    ),
    KnownDivergence(
        id="D05",
        name="gru-merged-bias",
        trigger="training: Flax has one bias where torch adds two, and each of torch's gets the full gradient",
        predicted=0.63,
        size_of="largest absolute difference in the weights after 100 steps of Adam at 0.01, equal outputs at first",
        measure=_merged_bias,
        source="torch.nn.GRU and flax.linen.GRUCell documentation",
        to_torch="keep both biases: two nnx.Linear with bias, input_proj(x) + hidden_proj(h), as in jax_impl.GRU",
        to_jax="zero cell.bias_hh[: 2 * H] and its gradient: cell.bias_hh.register_hook(lambda g: g * is_candidate)",
    ),
    KnownDivergence(
        id="D07",
        name="lstm-bias",
        trigger="LSTM weights go from torch (bias_ih and bias_hh) to Flax (one bias) and back, or are trained further",
        predicted=28.0,
        size_of="count of numbers in nn.LSTMCell (5 -> 7) without a counterpart in nnx.OptimizedLSTMCell",
        measure=_lstm_biases,
        source="flax#3746",
        to_torch="bias = bias_ih + bias_hh for equal outputs; for equal training, a cell of two nnx.Linear with bias",
        to_jax="cell.bias_hh.data.zero_() and cell.bias_hh.requires_grad_(False)",
    ),
    KnownDivergence(
        id="D08",
        name="eqx-gru",
        trigger="a torch GRU is loaded into equinox.nn.GRUCell: bias (3H) and bias_n (H) can't hold b_hr and b_hz",
        predicted=0.17,
        size_of="largest absolute difference after one step of a GRU cell (5 -> 7), Equinox's formula on linen.GRUCell",
        measure=_equinox_biases,
        source="equinox#1003",
        to_torch="bias = bias_ih + jnp.concatenate([bias_hh[: 2 * H], jnp.zeros(H)]), bias_n = bias_hh[2 * H :]",
        to_jax="bias_ih = bias, bias_hh = torch.cat([torch.zeros(2 * H), bias_n]), first 2H entries kept at zero",
    ),
)
