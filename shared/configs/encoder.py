"""The sizes that the layers of a pretrained encoder share."""

import math
from dataclasses import dataclass

from shared.configs.validation import check_heads
from shared.errors import IsogradError


@dataclass(frozen=True)
class EncoderConfig:
    """A stack of encoder layers (Vaswani et al. 2017); raises IsogradError for sizes that make no model.

    `activation` is a row of ACTIVATIONS in layers/pretrained/activations.py, `attention_dropout` that of the weights.
    """

    embed_dim: int = 768
    num_heads: int = 12
    num_layers: int = 12
    hidden_dim: int = 3072
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    eps: float = 1e-12

    def __post_init__(self) -> None:
        check_sizes(self, ("embed_dim", "num_heads", "num_layers", "hidden_dim"))
        check_heads(self.embed_dim, self.num_heads)
        check_rates(self, ("dropout", "attention_dropout"))
        check_positive(self, "eps")


def check_sizes(config: object, names: tuple[str, ...]) -> None:
    """Raise unless each of these fields is an integer of at least 1."""
    for name in names:
        size = getattr(config, name)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise IsogradError(f"{name} must be an integer of at least 1, got {size!r}")


def check_positive(config: object, name: str) -> None:
    """Raise unless this field is finite and above 0."""
    if not 0 < getattr(config, name) < math.inf:
        raise IsogradError(f"{name} must be finite and above 0, got {getattr(config, name)}")


def check_rates(config: object, names: tuple[str, ...]) -> None:
    """Raise unless each of these fields is a probability below 1."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise IsogradError(f"{name} must be at least 0 and below 1, got {getattr(config, name)}")
