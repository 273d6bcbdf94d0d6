"""Affine map and table of vectors with small, normally distributed initial values, as in GPT-2.
Twin: jax_impl/layers/small_normal.py.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.configs.gpt import DEVIATION
from torch_impl.layers.embedding import Embedding


class NormalLinear(nn.Linear):
    """y = x W^T + b for x (..., in_features) -> (..., out_features); W drawn from N(0, deviation), b zero."""

    def __init__(self, in_features: int, out_features: int, deviation: float = DEVIATION):
        super().__init__(in_features, out_features)
        nn.init.normal_(self.weight, std=deviation)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return super().forward(inputs)


class NormalEmbedding(Embedding):
    """Rows of a table drawn from N(0, DEVIATION): ids (B, T) -> vectors (B, T, E).

    The row `padding_idx` gets no gradient from the ids.
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, padding_idx: int | None = None):
        super().__init__(vocabulary_size, embedding_size)
        self.padding_idx = padding_idx
        nn.init.normal_(self.weight, std=DEVIATION)

    def attend(self, x: Float[Tensor, "*B E"]) -> Float[Tensor, "*B V"]:
        """The product of each vector with every row."""
        return F.linear(x, self.weight)
