"""Table of token vectors. Twin: torch_impl/layers/embedding.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Int

from jax_impl.precision import at_least_float32


class Embedding(nnx.Module):
    """Rows of a table drawn from N(0, 1): ids (B, T) -> vectors (B, T, E).

    The row `padding_idx` starts at zero and gets no gradient. Ids outside the table give NaN (jit can't raise).
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, padding_idx: int | None = None, *, rngs: nnx.Rngs):
        self.padding_idx = padding_idx
        table = jax.random.normal(rngs.params(), (vocabulary_size, embedding_size), jnp.float32)
        self.weight = nnx.Param(table if padding_idx is None else table.at[padding_idx].set(0.0))

    def __call__(self, ids: Int[Array, "B T"]) -> Float[Array, "B T E"]:
        table = at_least_float32(self.weight[...])  # XLA adds up the gradient of equal ids in the table's own dtype
        vectors = jnp.take(table, ids, axis=0, mode="fill", fill_value=jnp.nan)
        if self.padding_idx is not None:
            vectors = jnp.where((ids == self.padding_idx)[..., None], jax.lax.stop_gradient(vectors), vectors)
        return vectors.astype(self.weight.dtype)
