"""The sizes of CLIP: a tower for texts, a tower for images, and the space that both project to."""

from dataclasses import dataclass

from shared.configs.encoder import EncoderConfig, check_sizes
from shared.errors import IsogradError

LOGIT_SCALE = 2.6592  # of the initial weights: ln(1 / 0.07)


@dataclass(frozen=True)
class CLIPConfig:
    """Texts and images in one space (Radford et al. 2021); raises IsogradError for sizes that make no model.

    A text is read at its first `end_token`; None: at the token with the highest id, as in the first checkpoints.
    """

    vocabulary_size: int = 49408
    sequence_length: int = 77
    end_token: int | None = 49407
    text_embed_dim: int = 512
    text_num_heads: int = 8
    text_num_layers: int = 12
    text_hidden_dim: int = 2048
    text_activation: str = "quick_gelu"
    text_attention_dropout: float = 0.0
    text_eps: float = 1e-5
    image_size: int = 224
    patch_size: int = 32
    channels: int = 3
    vision_embed_dim: int = 768
    vision_num_heads: int = 12
    vision_num_layers: int = 12
    vision_hidden_dim: int = 3072
    vision_activation: str = "quick_gelu"
    vision_attention_dropout: float = 0.0
    vision_eps: float = 1e-5
    projection_dim: int = 512

    def __post_init__(self) -> None:
        sizes = ("vocabulary_size", "sequence_length", "image_size", "patch_size", "channels", "projection_dim")
        check_sizes(self, sizes)
        for tower in (self.text, self.vision):  # each checks its own sizes
            check_sizes(tower, ("embed_dim",))
        if self.patch_size > self.image_size:
            raise IsogradError(f"patch_size must be at most image_size {self.image_size}, got {self.patch_size}")

    @property
    def text(self) -> EncoderConfig:
        """The layers of the text tower."""
        return self._tower("text_")

    @property
    def vision(self) -> EncoderConfig:
        """The layers of the image tower."""
        return self._tower("vision_")

    @property
    def patches(self) -> int:
        """Of an image, in rows from the top left; what is left over at the right and the bottom is not seen."""
        return (self.image_size // self.patch_size) ** 2

    def _tower(self, prefix: str) -> EncoderConfig:
        names = ("embed_dim", "num_heads", "num_layers", "hidden_dim", "activation", "attention_dropout", "eps")
        return EncoderConfig(**{name: getattr(self, prefix + name) for name in names}, dropout=0.0)
