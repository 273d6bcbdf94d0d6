"""Soft attention of a decoder's state over its inputs. Twin: jax_impl/layers/soft_attention.py."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from torch_impl.dropout import Dropout
from torch_impl.layers.attention import masked_softmax
from torch_impl.layers.linear import Linear


class Attn(nn.Module):
    """Weigh inputs (B, T, H) by their score against the last hidden state of (L, B, H): Montréal's soft attention.

    score = sum over H of V(tanh(W[inputs; h_last])), softmax over T with padding (mask 0) left out; returns
    (inputs * weights (B, T, H), weights (B, T, 1)), or with pooling="context" their sum over T (B, H).
    Dropout acts on the weights.
    """

    def __init__(self, hidden_size: int = 256, dropout: float = 0.0, pooling: str = "none"):
        super().__init__()
        self.pooling = pooling
        self.W = Linear(2 * hidden_size, hidden_size)
        self.V = Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        inputs: Float[Tensor, "B T H"],
        hidden_states: Float[Tensor, "L B H"],
        mask: Shaped[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"] | Float[Tensor, "B H"], Float[Tensor, "B T 1"]]:
        last = hidden_states[-1][:, None].expand_as(inputs)
        energy = self.V(torch.tanh(self.W(torch.cat([inputs, last], dim=-1))))
        weights = masked_softmax(energy.sum(dim=-1), mask, axis=1)[..., None]
        outputs = inputs * self.dropout(weights)
        return outputs.sum(dim=1) if self.pooling == "context" else outputs, weights
