"""Images cut into patches. Twin: jax_impl/layers/pretrained/patch_embedding.py."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.configs.gpt import DEVIATION


class PatchEmbedding(nn.Module):
    """A linear map of each square patch: pixels (B, C, H, W) -> vectors (B, N, E), in rows from the top left.

    The weight is that of a convolution whose stride is its size; what is left over at the right and bottom is not seen.
    """

    def __init__(self, channels: int, patch_size: int, embed_dim: int):
        super().__init__()
        self.patch_size = patch_size
        shape = (embed_dim, channels, patch_size, patch_size)
        self.weight = nn.Parameter(DEVIATION * torch.randn(shape))

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N E"]:
        (batch_size, channels, height, width), size = pixels.shape, self.patch_size
        rows, columns = height // size, width // size
        seen = pixels[:, :, : rows * size, : columns * size]
        patches = seen.reshape(batch_size, channels, rows, size, columns, size)
        vectors = torch.einsum("bcypxq,ecpq->byxe", patches, self.weight)
        return vectors.reshape(batch_size, rows * columns, -1)
