"""Recurrent encoder and decoders of words, letter by letter, without and with attention.
Twin: torch_impl/models/recurrent_translation.py.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.layers.cross_attention import AdditiveAttention, ScaledDotAttention
from jax_impl.layers.embedding import Embedding
from jax_impl.layers.linear import Linear
from jax_impl.layers.reset_before_gru import ResetBeforeGRUCell
from shared.configs.validation import check_choice

ATTENTIONS = {"additive": AdditiveAttention, "scaled_dot": ScaledDotAttention}


class GRUEncoder(nnx.Module):
    """source ids (B, S), mask (B, S) -> annotations (B, S, H), zero at padding, and the last state (B, H)."""

    def __init__(self, vocabulary_size: int, hidden_size: int, *, rngs: nnx.Rngs):
        self.hidden_size = hidden_size
        self.characters = Embedding(vocabulary_size, hidden_size, rngs=rngs)
        self.cell = ResetBeforeGRUCell(hidden_size, hidden_size, rngs=rngs)

    def __call__(
        self, source: Int[Array, "B S"], source_mask: Bool[Array, "B S"]
    ) -> tuple[Float[Array, "B S H"], Float[Array, "B H"]]:
        x = self.characters(source)
        return self.cell.scan(x, jnp.zeros((x.shape[0], self.hidden_size), x.dtype), source_mask)


class RNNDecoder(nnx.Module):
    """targets (B, T) from the start mark on, a state (B, H) -> logits of the next letters (B, T, V).

    All that it knows of the source is the state; annotations and mask are not read, and there are no weights.
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, *, rngs: nnx.Rngs):
        self.characters = Embedding(vocabulary_size, hidden_size, rngs=rngs)
        self.cell = ResetBeforeGRUCell(hidden_size, hidden_size, rngs=rngs)
        self.out = Linear(hidden_size, vocabulary_size, rngs=rngs)

    def __call__(
        self,
        targets: Int[Array, "B T"],
        annotations: Float[Array, "B S H"],
        source_mask: Bool[Array, "B S"],
        hidden: Float[Array, "B H"],
    ) -> tuple[Float[Array, "B T V"], None]:
        x = self.characters(targets)
        every_step = jnp.ones(targets.shape, dtype=bool)
        outputs, _ = self.cell.scan(x, hidden, every_step)
        return self.out(outputs), None


class RNNAttentionDecoder(nnx.Module):
    """As RNNDecoder, each step reading [letter; context], the attention of the state before it over the annotations.

    targets (B, T), annotations (B, S, H), mask (B, S), state (B, H) -> logits (B, T, V), weights (B, T, S).
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, attention_type: str = "scaled_dot", *, rngs: nnx.Rngs):
        check_choice("attention", attention_type, ATTENTIONS)
        self.characters = Embedding(vocabulary_size, hidden_size, rngs=rngs)
        self.attention = ATTENTIONS[attention_type](hidden_size, rngs=rngs)
        self.cell = ResetBeforeGRUCell(2 * hidden_size, hidden_size, rngs=rngs)
        self.out = Linear(hidden_size, vocabulary_size, rngs=rngs)

    def __call__(
        self,
        targets: Int[Array, "B T"],
        annotations: Float[Array, "B S H"],
        source_mask: Bool[Array, "B S"],
        hidden: Float[Array, "B H"],
    ) -> tuple[Float[Array, "B T V"], Float[Array, "B T S"]]:
        def step(hidden, letter):
            hidden, of_step = self.step(letter, annotations, hidden, source_mask)
            return hidden, (hidden, of_step)

        _, (states, weights) = jax.lax.scan(step, hidden, self.characters(targets).swapaxes(0, 1))
        return self.out(states.swapaxes(0, 1)), weights.swapaxes(0, 1)

    def step(
        self,
        letter: Float[Array, "B H"],
        annotations: Float[Array, "B S H"],
        hidden: Float[Array, "B H"],
        source_mask: Bool[Array, "B S"],
    ) -> tuple[Float[Array, "B H"], Float[Array, "B S"]]:
        """The next state, and what the state before it attended to."""
        context, weights = self.attention(hidden, annotations, annotations, source_mask)
        x = jnp.concatenate([letter, context[:, 0]], axis=-1)
        return self.cell(x, hidden), weights.reshape(source_mask.shape)
