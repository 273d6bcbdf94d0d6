"""All mistakes that are made in source, the most special first."""

from crosscheck.mistakes.layers import LAYERS
from crosscheck.mistakes.mistake import Mistake
from crosscheck.mistakes.recurrent import RECURRENT
from crosscheck.mistakes.training import TRAINING

MISTAKES: tuple[Mistake, ...] = (*RECURRENT, *LAYERS, *TRAINING)
