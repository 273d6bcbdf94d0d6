"""The sizes of a GPT, and the presets of minGPT and GPT-2."""

import math
from dataclasses import dataclass, fields

from shared.configs.validation import check_choice, check_heads
from shared.errors import IsogradError

DEVIATION = 0.02  # of the initial weights, as in GPT-2
POSITIONS = ("learned", "sinusoidal", "rotary", "none")
SHARED = {  # the projections that give queries, keys and values
    "none": {"q": "q_proj", "k": "k_proj", "v": "v_proj"},
    "kv": {"q": "q_proj", "k": "k_proj", "v": "k_proj"},
    "qk": {"q": "q_proj", "k": "q_proj", "v": "v_proj"},
    "qkv": {"q": "q_proj", "k": "q_proj", "v": "q_proj"},
}
LINFORMER = "linformer"
WITH_SCORES = ("softmax", "zeroed")


@dataclass(frozen=True)
class GPTConfig:
    """A decoder-only transformer (Radford et al. 2019); raises IsogradError for sizes that make no model.

    `sequence_length` is the context in tokens; `hidden_dim` of the feed-forward layers is 4 `embed_dim` unless given.
    `tied`: the head multiplies by the token embedding. For ablations, `attention`, `similarity` and
    `projection` are rows of tables in models/gpt.py, `shared` of SHARED, and `positions` is one of POSITIONS.
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
    similarity: str = "dot"
    shared: str = "none"
    projection: str = "linear"
    positions: str = "learned"

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "sequence_length", "embed_dim", "num_layers"):
            if getattr(self, name) < 1:
                raise IsogradError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_heads(self.embed_dim, self.num_heads)
        if not 0 <= self.dropout < 1:
            raise IsogradError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        check_choice("shared", self.shared, SHARED)
        check_choice("positions", self.positions, POSITIONS)
        if self.attention == LINFORMER:
            raise IsogradError(
                "a linformer has no causal form: each of its keys is a sum over all positions, so that every query "
                "would read tokens to come: choose a different attention"
            )
        if self.attention not in WITH_SCORES and self.similarity != "dot":
            raise IsogradError(
                f"attention by {self.attention!r} computes no similarities, so {self.similarity!r} has no effect: "
                "leave it out"
            )
        if self.positions == "rotary" and self.embed_dim // self.num_heads % 2:
            raise IsogradError(
                f"rotary positions turn pairs of numbers: expected heads of an even width, got "
                f"{self.embed_dim // self.num_heads}"
            )

    @property
    def feed_forward_dim(self) -> int:
        return 4 * self.embed_dim if self.hidden_dim is None else self.hidden_dim

    @property
    def is_gpt2(self) -> bool:
        """Whether nothing of an ablation is set."""
        return all(getattr(self, field.name) == field.default for field in fields(self) if type(field.default) is str)

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
