"""The sizes of a translator, and its architecture."""

from dataclasses import dataclass

from shared.configs.validation import check_choice, check_heads
from shared.errors import IsogradError

RECURRENT = ("plain", "additive", "scaled_dot")
ARCHITECTURES = (*RECURRENT, "transformer", "multi_headed")  # rows of ENCODERS and DECODERS in models/translator.py
UNLIMITED = 2**20  # tokens of a context without learned positions


@dataclass(frozen=True)
class TranslationConfig:
    """An encoder and a decoder of letters, or a decoder alone; raises IsogradError for sizes that make no model.

    `num_layers`, of a transformer; `num_heads`, `hidden_dim` (of the feed-forward layers, 4 `hidden_size` unless given)
    and `dropout`, of the multi-headed one.
    """

    vocabulary_size: int = 30
    hidden_size: int = 64
    architecture: str = "transformer"
    num_layers: int = 3
    num_heads: int = 4
    hidden_dim: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, ARCHITECTURES)
        for name in ("vocabulary_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise IsogradError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.architecture == "multi_headed":
            check_heads(self.hidden_size, self.num_heads)
        if not 0 <= self.dropout < 1:
            raise IsogradError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    @property
    def feed_forward_dim(self) -> int:
        return 4 * self.hidden_size if self.hidden_dim is None else self.hidden_dim

    @property
    def sequence_length(self) -> int:
        """Sinusoidal positions and states end nowhere."""
        return UNLIMITED
