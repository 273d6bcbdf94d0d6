"""Multi-headed self-attention with a padding mask. Twin: torch_impl/layers/multi_headed_attention.py."""

from flax import nnx
from jax import Array
from jaxtyping import Float, Shaped

from jax_impl.layers import attention
from jax_impl.layers.linear import Linear


class MultiHeadedAttention(nnx.Module):
    """Self-attention of `num_heads` heads of width `head_size` (Vaswani et al. 2017): (B, T, m d) -> (B, T, m d).

    The mask is (B, T), 1 = token and 0 = padding, or any shape that broadcasts to (B, m, T, S). It is applied before
    the softmax; a query that sees nothing gives zeros before the output projection.
    """

    def __init__(self, head_size: int, num_heads: int, *, rngs: nnx.Rngs):
        self.head_size = head_size
        self.num_heads = num_heads
        self.q_proj = Linear(head_size * num_heads, head_size * num_heads, rngs=rngs)
        self.k_proj = Linear(head_size * num_heads, head_size * num_heads, rngs=rngs)
        self.v_proj = Linear(head_size * num_heads, head_size * num_heads, rngs=rngs)
        self.out_proj = Linear(head_size * num_heads, head_size * num_heads, rngs=rngs)

    def get_attention_weights(
        self,
        queries: Float[Array, "B m T d"],
        keys: Float[Array, "B m S d"],
        mask: Shaped[Array, "..."] | None = None,
    ) -> Float[Array, "B m T S"]:
        """Softmax over the keys of the scaled dot products."""
        scores = attention.pairwise_similarities(queries, keys)
        scores = attention.attn_scaled(scores, queries.shape[-1] * self.num_heads, self.num_heads)
        if mask is not None and mask.ndim == 2:
            mask = mask[:, None, None, :]
        return attention.masked_softmax(scores, mask, axis=-1)

    def apply_attention(
        self,
        queries: Float[Array, "B m T d"],
        keys: Float[Array, "B m S d"],
        values: Float[Array, "B m S d"],
        mask: Shaped[Array, "..."] | None = None,
    ) -> Float[Array, "B T E"]:
        """Attended values with the heads merged, before the output projection."""
        weights = self.get_attention_weights(queries, keys, mask)
        return self.merge_heads(attention.compute_outputs(weights, values))

    def split_heads(self, x: Float[Array, "B T E"]) -> Float[Array, "B m T d"]:
        """Cut the width, whatever it is, into `num_heads` heads."""
        return attention.split_heads(x, self.num_heads)

    def merge_heads(self, x: Float[Array, "B m T d"]) -> Float[Array, "B T E"]:
        """Join the heads again; the inverse of `split_heads`."""
        return attention.merge_heads(x)

    def __call__(
        self, hidden_states: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None = None
    ) -> Float[Array, "B T E"]:
        n_tok = hidden_states.shape[1]
        hidden_states, mask = attention.aligned(hidden_states, mask)
        queries = self.split_heads(self.q_proj(hidden_states))
        keys = self.split_heads(self.k_proj(hidden_states))
        values = self.split_heads(self.v_proj(hidden_states))
        return self.out_proj(self.apply_attention(queries, keys, values, mask))[:, :n_tok]
