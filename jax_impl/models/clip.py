"""CLIP: texts and images as vectors of one space, compared by their cosine. Twin: torch_impl/models/clip.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Int, Shaped

from jax_impl.layers import attention
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.pretrained.encoder_layers import PreNormLayer
from jax_impl.layers.pretrained.patch_embedding import PatchEmbedding
from jax_impl.layers.small_normal import NormalEmbedding
from jax_impl.losses import cross_entropy
from jax_impl.precision import at_least_float32
from shared.configs.clip import LOGIT_SCALE, CLIPConfig
from shared.configs.validation import check_context

States = tuple[list[Float[Array, "B T E"]], list[Float[Array, "B m T T"]]]
Embedded = tuple[Float[Array, "I N"], Float[Array, "N D"], Float[Array, "I D"]]


def ends(inputs: Int[Array, "B T"], end_token: int | None) -> Int[Array, "B"]:
    """The step at which each text is read: its first end token (step 0 if it has none), or its highest id."""
    return inputs.argmax(1) if end_token is None else (inputs == end_token).argmax(1)


def normalised(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Each row divided by its length."""
    wide = at_least_float32(x)
    return (wide / jnp.sqrt((wide**2).sum(-1, keepdims=True))).astype(x.dtype)


class CLIPTextModel(nnx.Module):
    """The tower of texts: ids (B, T), mask (B, T) -> states (B, T, E), and those at the end of each text (B, E).

    Every step sees the tokens up to its own. Raises IsogradError for more tokens than positions.
    """

    def __init__(self, config: CLIPConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.token_embedding = NormalEmbedding(config.vocabulary_size, config.text_embed_dim, rngs=rngs)
        self.position_embedding = NormalEmbedding(config.sequence_length, config.text_embed_dim, rngs=rngs)
        self.layers = nnx.List([PreNormLayer(config.text, rngs=rngs) for _ in range(config.text_num_layers)])
        self.norm = LayerNorm(config.text_embed_dim, config.text_eps, rngs=rngs)

    def __call__(
        self, inputs: Int[Array, "B T"], mask: Shaped[Array, "B T"] | None = None
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B E"]]:
        x = self.norm(self.states(inputs, mask)[0][-1])
        rows = jnp.arange(len(inputs))
        return x, x[rows, ends(inputs, self.config.end_token)]

    def states(self, inputs: Int[Array, "B T"], mask: Shaped[Array, "B T"] | None = None) -> States:
        """The embedded tokens and every layer's output, and the weights of every attention."""
        check_context(inputs.shape[1], self.config.sequence_length)
        positions = jnp.arange(inputs.shape[1])[None]
        states, attentions = [self.token_embedding(inputs) + self.position_embedding(positions)], []
        visible = attention.make_causal_mask(inputs.shape[1])
        if mask is not None:
            visible = visible & (mask != 0)[:, None, None, :]
        for layer in self.layers:
            x, weights = layer(states[-1], visible if visible.ndim == 4 else visible[None, None])
            states.append(x)
            attentions.append(weights)
        return states, attentions


class CLIPVisionModel(nnx.Module):
    """The tower of images: pixels (B, C, S, S) -> states (B, 1 + N, E) of a class token and N patches, pooled (B, E).

    The pooled output is the normalised state of the class token.
    """

    def __init__(self, config: CLIPConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.vision_embed_dim
        self.class_embedding = nnx.Param(jax.random.normal(rngs.params(), (width,), jnp.float32) / width**0.5)
        self.patch_embedding = PatchEmbedding(config.channels, config.patch_size, config.vision_embed_dim, rngs=rngs)
        self.position_embedding = NormalEmbedding(config.patches + 1, config.vision_embed_dim, rngs=rngs)
        self.input_norm = LayerNorm(config.vision_embed_dim, config.vision_eps, rngs=rngs)
        self.layers = nnx.List([PreNormLayer(config.vision, rngs=rngs) for _ in range(config.vision_num_layers)])
        self.norm = LayerNorm(config.vision_embed_dim, config.vision_eps, rngs=rngs)

    def __call__(self, pixels: Float[Array, "B C S S"]) -> tuple[Float[Array, "B T E"], Float[Array, "B E"]]:
        x = self.states(pixels)[0][-1]
        return x, self.norm(x[:, 0])

    def states(self, pixels: Float[Array, "B C S S"]) -> States:
        """The embedded class token and patches and every layer's output, and the weights of every attention."""
        patches = self.patch_embedding(pixels)
        first = jnp.broadcast_to(self.class_embedding[...], (len(pixels), 1, self.config.vision_embed_dim))
        x = jnp.concatenate([first, patches], axis=1)
        positions = jnp.arange(x.shape[1])[None]
        states, attentions = [self.input_norm(x + self.position_embedding(positions))], []
        for layer in self.layers:
            x, weights = layer(states[-1])
            states.append(x)
            attentions.append(weights)
        return states, attentions


class Projection(nnx.Module):
    """y = x W^T without a bias: x (N, E) -> (N, D); W drawn from N(0, 1 / E)."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        drawn = jax.random.normal(rngs.params(), (out_features, in_features), jnp.float32)
        self.weight = nnx.Param(drawn / in_features**0.5)

    def __call__(self, x: Float[Array, "N E"]) -> Float[Array, "N D"]:
        return x @ self.weight[...].T


class CLIPModel(nnx.Module):
    """Both towers: ids (N, T), pixels (I, C, S, S), mask (N, T) -> logits (I, N), texts (N, D) and images (I, D).

    A logit is the cosine of an image and a text times exp(logit_scale).
    """

    def __init__(self, config: CLIPConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.text = CLIPTextModel(config, rngs=rngs)
        self.vision = CLIPVisionModel(config, rngs=rngs)
        self.text_projection = Projection(config.text_embed_dim, config.projection_dim, rngs=rngs)
        self.visual_projection = Projection(config.vision_embed_dim, config.projection_dim, rngs=rngs)
        self.logit_scale = nnx.Param(jnp.array(LOGIT_SCALE, jnp.float32))

    def __call__(
        self,
        inputs: Int[Array, "N T"],
        pixels: Float[Array, "I C S S"],
        mask: Shaped[Array, "N T"] | None = None,
    ) -> Embedded:
        texts, images = self.embed_texts(inputs, mask), self.embed_images(pixels)
        scale = jnp.exp(at_least_float32(self.logit_scale[...]))
        return (scale * at_least_float32(images @ texts.T)).astype(images.dtype), texts, images

    def embed_texts(self, inputs: Int[Array, "N T"], mask: Shaped[Array, "N T"] | None = None) -> Float[Array, "N D"]:
        """A vector of length 1 for each text."""
        return normalised(self.text_projection(self.text(inputs, mask)[1]))

    def embed_images(self, pixels: Float[Array, "I C S S"]) -> Float[Array, "I D"]:
        """A vector of length 1 for each image."""
        return normalised(self.visual_projection(self.vision(pixels)[1]))


def contrastive_loss(logits: Float[Array, "N N"]) -> Float[Array, ""]:
    """Mean cross-entropy of the own text of each image and of the own image of each text, which share an index.

    Every other row is a negative, so a batch can be neither accumulated in parts nor filled up.
    """
    own = jnp.arange(len(logits))
    return (cross_entropy(logits, own).mean() + cross_entropy(logits.T, own).mean()) / 2
