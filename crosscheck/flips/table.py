"""All flips, in the order in which they are tried."""

from crosscheck.flips.by_hand import BY_HAND_FLIPS
from crosscheck.flips.flip import Flip
from crosscheck.flips.functions import FUNCTION_FLIPS
from crosscheck.flips.modules import INPUT_FLIPS, LAYER_FLIPS, WEIGHT_FLIPS

FLIPS: tuple[Flip, ...] = (*FUNCTION_FLIPS, *LAYER_FLIPS, *WEIGHT_FLIPS, *INPUT_FLIPS, *BY_HAND_FLIPS)
