"""Rows D25 to D27: the scale of default initial weights."""

import jax
import jax.numpy as jnp
from flax import linen, nnx
from torch import Tensor, nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import as_float64, measurement


def _spread(ours: Tensor, theirs: jax.Array) -> float:
    return float(abs(as_float64(ours).std() - as_float64(theirs).std()))


@measurement()
def _linear() -> float:
    return _spread(nn.Linear(64, 256).weight, nnx.Linear(64, 256, rngs=nnx.Rngs(0)).kernel[...])


@measurement()
def _embedding() -> float:
    return _spread(nn.Embedding(1000, 64).weight, nnx.Embed(1000, 64, rngs=nnx.Rngs(0)).embedding[...])


@measurement()
def _gru() -> float:
    variables = linen.GRUCell(64).init(jax.random.key(0), jnp.zeros(64), jnp.zeros(64))
    return _spread(nn.GRUCell(64, 64).weight_hh, variables["params"]["hr"]["kernel"])


INITIAL = (
    KnownDivergence(
        id="D25",
        name="init-linear",
        trigger="a linear layer's default initial weights: U(±1/sqrt(in)), bias too, or lecun_normal and zeros",
        predicted=0.053,
        size_of="difference in the standard deviations of 64 -> 256 weights (0.072 in torch, 0.125 in Flax)",
        measure=_linear,
        source="flax#3125",
        to_torch='kernel_init=variance_scaling(1 / 3, "fan_in", "uniform"), and a bias_init that draws U(±1/sqrt(in))',
        to_jax="nn.init.trunc_normal_(weight, std=s, a=-2 * s, b=2 * s), s = in ** -0.5 / 0.8796, nn.init.zeros_(bias)",
    ),
    KnownDivergence(
        id="D26",
        name="init-embed",
        trigger="an embedding's default initial weights: std 1 in torch, 1/sqrt(width) in Flax",
        predicted=0.873,
        size_of="difference in the standard deviations of 1000 rows of 64 (0.999 in torch, 0.126 in Flax)",
        measure=_embedding,
        source="torch.nn.Embedding and flax.nnx.Embed documentation",
        to_torch="nnx.Embed(n, width, embedding_init=nnx.initializers.normal(1.0), rngs=rngs)",
        to_jax="nn.init.normal_(embedding.weight, std=width**-0.5)",
    ),
    KnownDivergence(
        id="D27",
        name="init-rnn",
        trigger="a GRU's default initial weights: all from U(±1/sqrt(H)) in torch; lecun, orthogonal and zeros in Flax",
        predicted=0.053,
        size_of="difference in the standard deviations of recurrent 64 -> 64 weights (0.072 in torch, 0.125 in Linen)",
        measure=_gru,
        source="flax/linen/recurrent.py, torch.nn.GRU documentation",
        to_torch="draw every kernel and bias with jax.random.uniform(key, shape, minval=-(H**-0.5), maxval=H**-0.5)",
        to_jax="for each gate, nn.init.orthogonal_ on weight_hh and std in ** -0.5 on weight_ih; zero biases",
    ),
)
