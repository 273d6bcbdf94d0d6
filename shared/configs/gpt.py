"""The sizes of a GPT, and the presets of minGPT and GPT-2."""

import math
from dataclasses import dataclass

from shared.configs.validation import check_heads
from shared.errors import IsogradError

DEVIATION = 0.02  # of the initial weights, as in GPT-2


@dataclass(frozen=True)
class GPTConfig:
    """A decoder-only transformer (Radford et al. 2019); raises IsogradError for sizes that make no model.

    `sequence_length` is the context in tokens; `hidden_dim` of the feed-forward layers is 4 `embed_dim` unless given.
    `tied`: the head multiplies by the token embedding. `attention` is a row of ATTENTIONS in models/gpt.py.
    """

    vocabulary_size: int = 50257
    sequence_length: int = 1024
    embed_dim: int = 768
    num_heads: int = 12
    num_layers: int = 12
    hidden_dim: int | None = None
    dropout: float = 0.1
    tied: bool = True
    attention: str = "softmax"

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "sequence_length", "embed_dim", "num_layers"):
            if getattr(self, name) < 1:
                raise IsogradError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_heads(self.embed_dim, self.num_heads)
        if not 0 <= self.dropout < 1:
            raise IsogradError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    @property
    def feed_forward_dim(self) -> int:
        return 4 * self.embed_dim if self.hidden_dim is None else self.hidden_dim

    @property
    def residual_deviation(self) -> float:
        """Of the initial weights that write to the residual path, on which 2 `num_layers` layers add up."""
        return DEVIATION / math.sqrt(2 * self.num_layers)


PRESETS = {
    "nano": GPTConfig(num_layers=3, num_heads=3, embed_dim=48),
    "micro": GPTConfig(num_layers=4, num_heads=4, embed_dim=128),
    "mini": GPTConfig(num_layers=6, num_heads=6, embed_dim=192),
    "gpt2": GPTConfig(),
}
