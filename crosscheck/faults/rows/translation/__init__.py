"""Faults in the translators: recurrent, one-headed and multi-headed."""

from crosscheck.faults.fault import Equivalent, Fault
from crosscheck.faults.rows.translation.layers import EQUIVALENTS_LAYERS, LAYERS
from crosscheck.faults.rows.translation.models import EQUIVALENTS_MODELS, MODELS
from crosscheck.faults.rows.translation.multi_headed import MULTI_HEADED

TRANSLATION: tuple[Fault, ...] = (*LAYERS, *MODELS, *MULTI_HEADED)
EQUIVALENTS_TRANSLATION: tuple[Equivalent, ...] = (*EQUIVALENTS_LAYERS, *EQUIVALENTS_MODELS)
