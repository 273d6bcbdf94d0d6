"""Images cut into patches. Twin: torch_impl/layers/pretrained/patch_embedding.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from shared.configs.gpt import DEVIATION


class PatchEmbedding(nnx.Module):
    """A linear map of each square patch: pixels (B, C, H, W) -> vectors (B, N, E), in rows from the top left.

    The weight is that of a convolution whose stride is its size; what is left over at the right and bottom is not seen.
    """

    def __init__(self, channels: int, patch_size: int, embed_dim: int, *, rngs: nnx.Rngs):
        self.patch_size = patch_size
        shape = (embed_dim, channels, patch_size, patch_size)
        self.weight = nnx.Param(DEVIATION * jax.random.normal(rngs.params(), shape, jnp.float32))

    def __call__(self, pixels: Float[Array, "B C H W"]) -> Float[Array, "B N E"]:
        (batch_size, channels, height, width), size = pixels.shape, self.patch_size
        rows, columns = height // size, width // size
        seen = pixels[:, :, : rows * size, : columns * size]
        patches = seen.reshape(batch_size, channels, rows, size, columns, size)
        vectors = jnp.einsum("bcypxq,ecpq->byxe", patches, self.weight[...])
        return vectors.reshape(batch_size, rows * columns, -1)
