"""All flips of mistakes, in the order they are tried: what is met most often first."""

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.activations import ACTIVATION_FLIPS, STOPPED_FLIPS
from crosscheck.causes.flips.mistakes.angles import ANGLE_FLIPS
from crosscheck.causes.flips.mistakes.images import IMAGE_FLIPS
from crosscheck.causes.flips.mistakes.losses import LOSS_FLIPS
from crosscheck.causes.flips.mistakes.masks import MASK_FLIPS
from crosscheck.causes.flips.mistakes.order import ORDER_FLIPS
from crosscheck.causes.flips.mistakes.padding import PADDING_FLIPS
from crosscheck.causes.flips.mistakes.scales import SCALE_FLIPS
from crosscheck.causes.flips.mistakes.vectors import VECTOR_FLIPS

MISTAKE_FLIPS: tuple[Flip, ...] = (
    *SCALE_FLIPS, *ORDER_FLIPS, *MASK_FLIPS, *PADDING_FLIPS, *ANGLE_FLIPS, *IMAGE_FLIPS, *LOSS_FLIPS, *VECTOR_FLIPS,
    *ACTIVATION_FLIPS, *STOPPED_FLIPS,
)  # fmt: skip
