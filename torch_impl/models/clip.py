"""CLIP: texts and images as vectors of one space, compared by their cosine. Twin: jax_impl/models/clip.py."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from shared.configs.clip import LOGIT_SCALE, CLIPConfig
from shared.configs.validation import check_context
from torch_impl.layers import attention
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.pretrained.encoder_layers import PreNormLayer
from torch_impl.layers.pretrained.patch_embedding import PatchEmbedding
from torch_impl.layers.small_normal import NormalEmbedding
from torch_impl.losses import cross_entropy
from torch_impl.precision import at_least_float32

States = tuple[list[Float[Tensor, "B T E"]], list[Float[Tensor, "B m T T"]]]
Embedded = tuple[Float[Tensor, "I N"], Float[Tensor, "N D"], Float[Tensor, "I D"]]


def ends(inputs: Int[Tensor, "B T"], end_token: int | None) -> Int[Tensor, "B"]:
    """The step at which each text is read: its first end token (step 0 if it has none), or its highest id."""
    return inputs.argmax(1) if end_token is None else (inputs == end_token).int().argmax(1)


def normalised(x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Each row divided by its length."""
    wide = at_least_float32(x)
    return (wide / (wide**2).sum(-1, keepdim=True).sqrt()).to(x.dtype)


class CLIPTextModel(nn.Module):
    """The tower of texts: ids (B, T), mask (B, T) -> states (B, T, E), and those at the end of each text (B, E).

    Every step sees the tokens up to its own. Raises IsogradError for more tokens than positions.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        self.token_embedding = NormalEmbedding(config.vocabulary_size, config.text_embed_dim)
        self.position_embedding = NormalEmbedding(config.sequence_length, config.text_embed_dim)
        self.layers = nn.ModuleList([PreNormLayer(config.text) for _ in range(config.text_num_layers)])
        self.norm = LayerNorm(config.text_embed_dim, config.text_eps)

    def forward(
        self, inputs: Int[Tensor, "B T"], mask: Shaped[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B E"]]:
        x = self.norm(self.states(inputs, mask)[0][-1])
        rows = torch.arange(len(inputs), device=inputs.device)
        return x, x[rows, ends(inputs, self.config.end_token)]

    def states(self, inputs: Int[Tensor, "B T"], mask: Shaped[Tensor, "B T"] | None = None) -> States:
        """The embedded tokens and every layer's output, and the weights of every attention."""
        check_context(inputs.shape[1], self.config.sequence_length)
        positions = torch.arange(inputs.shape[1], device=inputs.device)[None]
        states, attentions = [self.token_embedding(inputs) + self.position_embedding(positions)], []
        visible = attention.make_causal_mask(inputs.shape[1]).to(inputs.device)
        if mask is not None:
            visible = visible & (mask != 0)[:, None, None, :]
        for layer in self.layers:
            x, weights = layer(states[-1], visible if visible.ndim == 4 else visible[None, None])
            states.append(x)
            attentions.append(weights)
        return states, attentions


class CLIPVisionModel(nn.Module):
    """The tower of images: pixels (B, C, S, S) -> states (B, 1 + N, E) of a class token and N patches, pooled (B, E).

    The pooled output is the normalised state of the class token.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        width = config.vision_embed_dim
        self.class_embedding = nn.Parameter(torch.randn(width) / width**0.5)
        self.patch_embedding = PatchEmbedding(config.channels, config.patch_size, config.vision_embed_dim)
        self.position_embedding = NormalEmbedding(config.patches + 1, config.vision_embed_dim)
        self.input_norm = LayerNorm(config.vision_embed_dim, config.vision_eps)
        self.layers = nn.ModuleList([PreNormLayer(config.vision) for _ in range(config.vision_num_layers)])
        self.norm = LayerNorm(config.vision_embed_dim, config.vision_eps)

    def forward(self, pixels: Float[Tensor, "B C S S"]) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B E"]]:
        x = self.states(pixels)[0][-1]
        return x, self.norm(x[:, 0])

    def states(self, pixels: Float[Tensor, "B C S S"]) -> States:
        """The embedded class token and patches and every layer's output, and the weights of every attention."""
        patches = self.patch_embedding(pixels)
        first = self.class_embedding.expand(len(pixels), 1, self.config.vision_embed_dim)
        x = torch.cat([first, patches], dim=1)
        positions = torch.arange(x.shape[1], device=x.device)[None]
        states, attentions = [self.input_norm(x + self.position_embedding(positions))], []
        for layer in self.layers:
            x, weights = layer(states[-1])
            states.append(x)
            attentions.append(weights)
        return states, attentions


class Projection(nn.Module):
    """y = x W^T without a bias: x (N, E) -> (N, D); W drawn from N(0, 1 / E)."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        drawn = torch.randn(out_features, in_features)
        self.weight = nn.Parameter(drawn / in_features**0.5)

    def forward(self, x: Float[Tensor, "N E"]) -> Float[Tensor, "N D"]:
        return x @ self.weight.T


class CLIPModel(nn.Module):
    """Both towers: ids (N, T), pixels (I, C, S, S), mask (N, T) -> logits (I, N), texts (N, D) and images (I, D).

    A logit is the cosine of an image and a text times exp(logit_scale).
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        self.text = CLIPTextModel(config)
        self.vision = CLIPVisionModel(config)
        self.text_projection = Projection(config.text_embed_dim, config.projection_dim)
        self.visual_projection = Projection(config.vision_embed_dim, config.projection_dim)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE))

    def forward(
        self,
        inputs: Int[Tensor, "N T"],
        pixels: Float[Tensor, "I C S S"],
        mask: Shaped[Tensor, "N T"] | None = None,
    ) -> Embedded:
        texts, images = self.embed_texts(inputs, mask), self.embed_images(pixels)
        scale = at_least_float32(self.logit_scale).exp()
        return (scale * at_least_float32(images @ texts.T)).to(images.dtype), texts, images

    def embed_texts(
        self, inputs: Int[Tensor, "N T"], mask: Shaped[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N D"]:
        """A vector of length 1 for each text."""
        return normalised(self.text_projection(self.text(inputs, mask)[1]))

    def embed_images(self, pixels: Float[Tensor, "I C S S"]) -> Float[Tensor, "I D"]:
        """A vector of length 1 for each image."""
        return normalised(self.visual_projection(self.vision(pixels)[1]))


def contrastive_loss(logits: Float[Tensor, "N N"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the own text of each image and of the own image of each text, which share an index.

    Every other row is a negative, so a batch can be neither accumulated in parts nor filled up.
    """
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own).mean() + cross_entropy(logits.T, own).mean()) / 2
