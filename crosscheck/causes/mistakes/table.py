"""All mistakes made in source, most specific first."""

from crosscheck.causes.mistakes.layers import LAYERS
from crosscheck.causes.mistakes.mistake import Mistake
from crosscheck.causes.mistakes.recurrent import RECURRENT
from crosscheck.causes.mistakes.training import TRAINING

MISTAKES: tuple[Mistake, ...] = (*RECURRENT, *LAYERS, *TRAINING)
