"""Layers of pretrained encoders: attention and an MLP, normalised after (BERT) or before (CLIP).
Twin: jax_impl/layers/pretrained/encoder_layers.py.
"""

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from shared.configs.encoder import EncoderConfig
from shared.configs.validation import check_choice
from torch_impl.dropout import Dropout
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.pretrained.activations import ACTIVATIONS, activate
from torch_impl.layers.pretrained.self_attention import SelfAttention
from torch_impl.layers.small_normal import NormalLinear

Attended = tuple[Float[Tensor, "B T E"], Float[Tensor, "B m T T"]]


class ActivatedMLP(nn.Module):
    """Linear, the config's activation, Linear: x (B, T, E) -> (B, T, E) through `hidden_dim`."""

    def __init__(self, config: EncoderConfig):
        check_choice("activation", config.activation, ACTIVATIONS)
        super().__init__()
        self.activation = config.activation
        self.in_proj = NormalLinear(config.embed_dim, config.hidden_dim)
        self.out_proj = NormalLinear(config.hidden_dim, config.embed_dim)

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        return self.out_proj(activate(self.in_proj(x), self.activation))


class PostNormLayer(nn.Module):
    """y = norm(x + attention(x)), norm(y + mlp(y)), with dropout on both branches: (B, T, E), and attention's weights.

    The mask is that of `SelfAttention` (Devlin et al. 2019).
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.attention_dropout = Dropout(config.dropout)
        self.attention_norm = LayerNorm(config.embed_dim, config.eps)
        self.activated_mlp = ActivatedMLP(config)
        self.mlp_dropout = Dropout(config.dropout)
        self.mlp_norm = LayerNorm(config.embed_dim, config.eps)

    def forward(self, x: Float[Tensor, "B T E"], mask: Shaped[Tensor, "..."] | None = None) -> Attended:
        attended, weights = self.self_attention(x, mask)
        x = self.attention_norm(x + self.attention_dropout(attended))
        return self.mlp_norm(x + self.mlp_dropout(self.activated_mlp(x))), weights


class PreNormLayer(nn.Module):
    """y = x + attention(norm(x)), y + mlp(norm(y)): (B, T, E), and attention's weights.

    The mask is that of `SelfAttention`; the branches have no dropout (Radford et al. 2021).
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.attention_norm = LayerNorm(config.embed_dim, config.eps)
        self.self_attention = SelfAttention(config)
        self.mlp_norm = LayerNorm(config.embed_dim, config.eps)
        self.activated_mlp = ActivatedMLP(config)

    def forward(self, x: Float[Tensor, "B T E"], mask: Shaped[Tensor, "..."] | None = None) -> Attended:
        attended, weights = self.self_attention(self.attention_norm(x), mask)
        x = x + attended
        return x + self.activated_mlp(self.mlp_norm(x)), weights
