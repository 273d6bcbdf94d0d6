"""All flips, in the order they are tried."""

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.functions import FUNCTION_FLIPS
from crosscheck.causes.flips.modules import INPUT_FLIPS, LAYER_FLIPS, WEIGHT_FLIPS
from crosscheck.causes.flips.written_out import BY_HAND_FLIPS

FLIPS: tuple[Flip, ...] = (*FUNCTION_FLIPS, *LAYER_FLIPS, *WEIGHT_FLIPS, *INPUT_FLIPS, *BY_HAND_FLIPS)
