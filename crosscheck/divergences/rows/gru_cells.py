"""One GRU cell in both frameworks, for the rows that take it apart."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import Tensor, nn

from crosscheck.divergences.measurement import draw, load
from shared.arrays import ArrayMapping

WIDTH, HIDDEN, BATCH = 5, 7, 8
TORCH_STD = 1 / np.sqrt(3 * HIDDEN)  # of torch's default U(-1/sqrt(H), 1/sqrt(H))
SHAPES = {
    "weight_ih": (3 * HIDDEN, WIDTH),
    "weight_hh": (3 * HIDDEN, HIDDEN),
    "bias_ih": (3 * HIDDEN,),
    "bias_hh": (3 * HIDDEN,),
}
LINEN_CELL = linen.GRUCell(HIDDEN, param_dtype=jnp.float64)
IS_CANDIDATE = np.arange(3 * HIDDEN) >= 2 * HIDDEN  # mask over the rows of the three stacked gates


def draw_weights(seed: int = 0) -> ArrayMapping:
    """Weights for nn.GRUCell at the scale torch draws them."""
    return {name: draw(*shape, std=TORCH_STD, seed=seed + i) for i, (name, shape) in enumerate(SHAPES.items())}


def draw_states() -> tuple[np.ndarray, np.ndarray]:
    """A batch of inputs and of hidden states."""
    return draw(BATCH, WIDTH, seed=11), draw(BATCH, HIDDEN, seed=12)


def cut(stacked: np.ndarray, order: str = "rzn") -> ArrayMapping:
    """The gates by letter."""
    return dict(zip(order, np.split(stacked, 3), strict=True))


def to_linen(weights: ArrayMapping, order: str = "rzn") -> dict[str, dict[str, np.ndarray]]:
    """Parameters of linen.GRUCell, with torch's two biases of r and z summed."""
    weight_ih, weight_hh, bias_ih, bias_hh = (cut(weights[name], order) for name in SHAPES)
    inputs = {f"i{g}": {"kernel": weight_ih[g].T, "bias": bias_ih[g] + bias_hh[g]} for g in "rz"}
    hidden = {f"h{g}": {"kernel": weight_hh[g].T} for g in "rz"}
    candidate = {
        "in": {"kernel": weight_ih["n"].T, "bias": bias_ih["n"]},
        "hn": {"kernel": weight_hh["n"].T, "bias": bias_hh["n"]},
    }
    return {**inputs, **hidden, **candidate}


def linen_step(parameters: Mapping[str, Mapping[str, np.ndarray | jax.Array]]) -> jax.Array:
    """The hidden state after one step of linen.GRUCell."""
    inputs, hidden = draw_states()
    return LINEN_CELL.apply({"params": parameters}, hidden, inputs)[1]


def torch_step() -> Tensor:
    """The hidden state after one step of nn.GRUCell."""
    inputs, hidden = map(torch.tensor, draw_states())
    return load(nn.GRUCell(WIDTH, HIDDEN), draw_weights())(inputs, hidden)
