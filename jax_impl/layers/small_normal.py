"""Affine map and table of vectors with small, normally distributed initial values, as in GPT-2.
Twin: torch_impl/layers/small_normal.py.
"""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.layers.embedding import Embedding
from shared.configs.gpt import DEVIATION


class NormalLinear(nnx.Linear):
    """y = x W^T + b for x (..., in_features) -> (..., out_features); W drawn from N(0, deviation), b zero."""

    def __init__(self, in_features: int, out_features: int, deviation: float = DEVIATION, *, rngs: nnx.Rngs):
        normal, zeros = nnx.initializers.normal(deviation), nnx.initializers.zeros
        super().__init__(in_features, out_features, kernel_init=normal, bias_init=zeros, rngs=rngs)

    def __call__(self, inputs: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        return super().__call__(inputs)


class NormalEmbedding(Embedding):
    """Rows of a table drawn from N(0, DEVIATION): ids (B, T) -> vectors (B, T, E).

    The row `padding_idx` gets no gradient from the ids.
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, padding_idx: int | None = None, *, rngs: nnx.Rngs):
        super().__init__(vocabulary_size, embedding_size, rngs=rngs)
        self.padding_idx = padding_idx
        self.weight.set_value(DEVIATION * self.weight[...])

    def attend(self, x: Float[Array, "*B E"]) -> Float[Array, "*B V"]:
        """The product of each vector with every row."""
        return jnp.dot(x, self.weight[...].T)
