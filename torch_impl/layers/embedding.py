"""Table of token vectors. Twin: jax_impl/layers/embedding.py."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from torch_impl.ordered_embedding import ordered_embedding


class Embedding(nn.Module):
    """Rows of a table drawn from N(0, 1): ids (B, T) -> vectors (B, T, E).

    The row `padding_idx` starts at zero and gets no gradient. Ids outside the table raise an IndexError.
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, padding_idx: int | None = None):
        super().__init__()
        self.padding_idx = padding_idx
        self.weight = nn.Parameter(torch.randn(vocabulary_size, embedding_size))
        if padding_idx is not None:
            nn.init.zeros_(self.weight[padding_idx])

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        if ids.is_cuda and torch.compiler.is_compiling():
            return ordered_embedding(ids, self.weight, self.padding_idx)
        return F.embedding(ids, self.weight, self.padding_idx)
