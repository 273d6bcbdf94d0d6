"""Recurrent encoder and decoders of words, letter by letter, without and with attention.
Twin: jax_impl/models/recurrent_translation.py.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.configs.validation import check_choice
from torch_impl.layers.cross_attention import AdditiveAttention, ScaledDotAttention
from torch_impl.layers.embedding import Embedding
from torch_impl.layers.linear import Linear
from torch_impl.layers.reset_before_gru import ResetBeforeGRUCell

ATTENTIONS = {"additive": AdditiveAttention, "scaled_dot": ScaledDotAttention}


class GRUEncoder(nn.Module):
    """source ids (B, S), mask (B, S) -> annotations (B, S, H), zero at padding, and the last state (B, H)."""

    def __init__(self, vocabulary_size: int, hidden_size: int):
        super().__init__()
        self.hidden_size = hidden_size
        self.characters = Embedding(vocabulary_size, hidden_size)
        self.cell = ResetBeforeGRUCell(hidden_size, hidden_size)

    def forward(
        self, source: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S H"], Float[Tensor, "B H"]]:
        x = self.characters(source)
        return self.cell.scan(x, x.new_zeros(x.shape[0], self.hidden_size), source_mask)


class RNNDecoder(nn.Module):
    """targets (B, T) from the start mark on, a state (B, H) -> logits of the next letters (B, T, V).

    All that it knows of the source is the state; annotations and mask are not read, and there are no weights.
    """

    def __init__(self, vocabulary_size: int, hidden_size: int):
        super().__init__()
        self.characters = Embedding(vocabulary_size, hidden_size)
        self.cell = ResetBeforeGRUCell(hidden_size, hidden_size)
        self.out = Linear(hidden_size, vocabulary_size)

    def forward(
        self,
        targets: Int[Tensor, "B T"],
        annotations: Float[Tensor, "B S H"],
        source_mask: Bool[Tensor, "B S"],
        hidden: Float[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B T V"], None]:
        x = self.characters(targets)
        every_step = torch.ones(targets.shape, dtype=torch.bool, device=targets.device)
        outputs, _ = self.cell.scan(x, hidden, every_step)
        return self.out(outputs), None


class RNNAttentionDecoder(nn.Module):
    """As RNNDecoder, each step reading [letter; context], the attention of the state before it over the annotations.

    targets (B, T), annotations (B, S, H), mask (B, S), state (B, H) -> logits (B, T, V), weights (B, T, S).
    """

    def __init__(self, vocabulary_size: int, hidden_size: int, attention_type: str = "scaled_dot"):
        super().__init__()
        check_choice("attention", attention_type, ATTENTIONS)
        self.characters = Embedding(vocabulary_size, hidden_size)
        self.attention = ATTENTIONS[attention_type](hidden_size)
        self.cell = ResetBeforeGRUCell(2 * hidden_size, hidden_size)
        self.out = Linear(hidden_size, vocabulary_size)

    def forward(
        self,
        targets: Int[Tensor, "B T"],
        annotations: Float[Tensor, "B S H"],
        source_mask: Bool[Tensor, "B S"],
        hidden: Float[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T S"]]:
        states, weights = [], []
        for letter in self.characters(targets).unbind(1):
            hidden, of_step = self.step(letter, annotations, hidden, source_mask)
            states.append(hidden)
            weights.append(of_step)
        return self.out(torch.stack(states, dim=1)), torch.stack(weights, dim=1)

    def step(
        self,
        letter: Float[Tensor, "B H"],
        annotations: Float[Tensor, "B S H"],
        hidden: Float[Tensor, "B H"],
        source_mask: Bool[Tensor, "B S"],
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B S"]]:
        """The next state, and what the state before it attended to."""
        context, weights = self.attention(hidden, annotations, annotations, source_mask)
        x = torch.cat([letter, context[:, 0]], dim=-1)
        return self.cell(x, hidden), weights.reshape(source_mask.shape)
