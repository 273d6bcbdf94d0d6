"""Self-attention of several heads, as pretrained encoders have it.
Twin: torch_impl/layers/pretrained/self_attention.py.
"""

from flax import nnx
from jax import Array
from jaxtyping import Float, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers import attention
from jax_impl.layers.small_normal import NormalLinear
from shared.configs.encoder import EncoderConfig


class SelfAttention(nnx.Module):
    """Scaled dot-product attention (Vaswani et al. 2017): x (B, T, E) -> (B, T, E), and the weights (B, m, T, T).

    The mask is (B, T), 1 = token and 0 = padding, or any shape that broadcasts to (B, m, T, T). The weights are those
    before dropout; a query that sees nothing gives zeros before the output projection.
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        self.num_heads = config.num_heads
        self.q_proj = NormalLinear(config.embed_dim, config.embed_dim, rngs=rngs)
        self.k_proj = NormalLinear(config.embed_dim, config.embed_dim, rngs=rngs)
        self.v_proj = NormalLinear(config.embed_dim, config.embed_dim, rngs=rngs)
        self.weights_dropout = Dropout(config.attention_dropout, rngs=rngs)
        self.out_proj = NormalLinear(config.embed_dim, config.embed_dim, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None = None
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B m T T"]]:
        queries, keys, values = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        queries, keys, values = attention.split_heads_qkv(queries, keys, values, self.num_heads)
        if mask is not None and mask.ndim == 2:
            mask = mask[:, None, None, :]
        scores = attention.attn_scaled(attention.pairwise_similarities(queries, keys), x.shape[-1], self.num_heads)
        weights = attention.masked_softmax(scores, mask, axis=-1)
        y = attention.merge_heads(attention.compute_outputs(self.weights_dropout(weights), values))
        return self.out_proj(y), weights
