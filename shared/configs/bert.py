"""The sizes of BERT and of the models that share its parts: RoBERTa, DistilBERT, MiniLM."""

from dataclasses import dataclass

from shared.configs.encoder import EncoderConfig, check_rates, check_sizes
from shared.errors import IsogradError


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """An encoder of texts (Devlin et al. 2019); raises IsogradError for sizes that make no model.

    `sequence_length` is the number of positions; `positions`, a row of POSITIONS in models/bert.py, says which of them
    a token has: BERT counts from 0, RoBERTa from behind `padding_idx`. `token_types` 0: no table of them, as in
    DistilBERT. Without a `pooler` a classifier reads the output at position 0. A classifier's `head_dropout` is before
    its head, and before the pooler if `dropout_before_pooler`, as in RoBERTa. `head_activation` None:
    that of the layers.
    """

    vocabulary_size: int = 30522
    sequence_length: int = 512
    token_types: int = 2
    padding_idx: int | None = 0
    positions: str = "absolute"
    pooler: bool = True
    pooler_activation: str = "tanh"
    dropout_before_pooler: bool = False
    classifier_dropout: float | None = None
    head_activation: str | None = None
    num_classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, ("vocabulary_size", "sequence_length", "num_classes"))
        check_rates(self, ("head_dropout",))
        if self.token_types < 0:
            raise IsogradError(f"token_types must be at least 0, got {self.token_types}")
        if self.padding_idx is not None and not 0 <= self.padding_idx < self.vocabulary_size:
            raise IsogradError(f"padding_idx must be a token below {self.vocabulary_size}, got {self.padding_idx}")
        if self.context < 1:
            raise IsogradError(
                f"positions {self.positions!r} need padding_idx and more than padding_idx + 1 positions, got "
                f"padding_idx {self.padding_idx} and sequence_length {self.sequence_length}"
            )

    @property
    def head_dropout(self) -> float:
        """`classifier_dropout`, or that of the layers if there is none."""
        return self.dropout if self.classifier_dropout is None else self.classifier_dropout

    @property
    def context(self) -> int:
        """The longest sequence of tokens that the positions are enough for."""
        if self.positions == "absolute":
            return self.sequence_length
        return 0 if self.padding_idx is None else self.sequence_length - self.padding_idx - 1

    @property
    def padded_position(self) -> int | None:
        """The position that padding has, which gets no gradient."""
        return None if self.positions == "absolute" else self.padding_idx
