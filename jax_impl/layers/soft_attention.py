"""Soft attention of a decoder's state over its inputs. Twin: torch_impl/layers/soft_attention.py."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers.attention import masked_softmax
from jax_impl.layers.linear import Linear


class Attn(nnx.Module):
    """Weigh inputs (B, T, H) by their score against the last hidden state of (L, B, H): Montréal's soft attention.

    score = sum over H of V(tanh(W[inputs; h_last])), softmax over T with padding (mask 0) left out; returns
    (inputs * weights (B, T, H), weights (B, T, 1)), or with pooling="context" their sum over T (B, H).
    Dropout acts on the weights.
    """

    def __init__(self, hidden_size: int = 256, dropout: float = 0.0, pooling: str = "none", *, rngs: nnx.Rngs):
        self.pooling = pooling
        self.W = Linear(2 * hidden_size, hidden_size, rngs=rngs)
        self.V = Linear(hidden_size, hidden_size, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)

    def __call__(
        self,
        inputs: Float[Array, "B T H"],
        hidden_states: Float[Array, "L B H"],
        mask: Shaped[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T H"] | Float[Array, "B H"], Float[Array, "B T 1"]]:
        last = jnp.broadcast_to(hidden_states[-1][:, None], inputs.shape)
        energy = self.V(jnp.tanh(self.W(jnp.concatenate([inputs, last], axis=-1))))
        weights = masked_softmax(energy.sum(axis=-1), mask, axis=1)[..., None]
        outputs = inputs * self.dropout(weights)
        return outputs.sum(axis=1) if self.pooling == "context" else outputs, weights
