"""All mistakes that are made in source, the most special first."""

from crosscheck.causes.mistakes.layers import LAYERS
from crosscheck.causes.mistakes.mistake import Mistake
from crosscheck.causes.mistakes.recurrent import RECURRENT
from crosscheck.causes.mistakes.training import TRAINING

MISTAKES: tuple[Mistake, ...] = (*RECURRENT, *LAYERS, *TRAINING)
