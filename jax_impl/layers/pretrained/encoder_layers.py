"""Layers of pretrained encoders: attention and an MLP, normalised after (BERT) or before (CLIP).
Twin: torch_impl/layers/pretrained/encoder_layers.py.
"""

from flax import nnx
from jax import Array
from jaxtyping import Float, Shaped

from jax_impl.dropout import Dropout
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.pretrained.activations import ACTIVATIONS, activate
from jax_impl.layers.pretrained.self_attention import SelfAttention
from jax_impl.layers.small_normal import NormalLinear
from shared.configs.encoder import EncoderConfig
from shared.configs.validation import check_choice

Attended = tuple[Float[Array, "B T E"], Float[Array, "B m T T"]]


class ActivatedMLP(nnx.Module):
    """Linear, the config's activation, Linear: x (B, T, E) -> (B, T, E) through `hidden_dim`."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        check_choice("activation", config.activation, ACTIVATIONS)
        self.activation = config.activation
        self.in_proj = NormalLinear(config.embed_dim, config.hidden_dim, rngs=rngs)
        self.out_proj = NormalLinear(config.hidden_dim, config.embed_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        return self.out_proj(activate(self.in_proj(x), self.activation))


class PostNormLayer(nnx.Module):
    """y = norm(x + attention(x)), norm(y + mlp(y)), with dropout on both branches: (B, T, E), and attention's weights.

    The mask is that of `SelfAttention` (Devlin et al. 2019).
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        self.self_attention = SelfAttention(config, rngs=rngs)
        self.attention_dropout = Dropout(config.dropout, rngs=rngs)
        self.attention_norm = LayerNorm(config.embed_dim, config.eps, rngs=rngs)
        self.activated_mlp = ActivatedMLP(config, rngs=rngs)
        self.mlp_dropout = Dropout(config.dropout, rngs=rngs)
        self.mlp_norm = LayerNorm(config.embed_dim, config.eps, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None = None) -> Attended:
        attended, weights = self.self_attention(x, mask)
        x = self.attention_norm(x + self.attention_dropout(attended))
        return self.mlp_norm(x + self.mlp_dropout(self.activated_mlp(x))), weights


class PreNormLayer(nnx.Module):
    """y = x + attention(norm(x)), y + mlp(norm(y)): (B, T, E), and attention's weights.

    The mask is that of `SelfAttention`; the branches have no dropout (Radford et al. 2021).
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(config.embed_dim, config.eps, rngs=rngs)
        self.self_attention = SelfAttention(config, rngs=rngs)
        self.mlp_norm = LayerNorm(config.embed_dim, config.eps, rngs=rngs)
        self.activated_mlp = ActivatedMLP(config, rngs=rngs)

    def __call__(self, x: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None = None) -> Attended:
        attended, weights = self.self_attention(self.attention_norm(x), mask)
        x = x + attended
        return x + self.activated_mlp(self.mlp_norm(x)), weights
