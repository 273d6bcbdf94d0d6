"""Faults in pretrained models and harmless changes to them, by what they change."""

from crosscheck.faults.fault import Equivalent, Fault
from crosscheck.faults.rows.pretrained.bert import BERT
from crosscheck.faults.rows.pretrained.clip import CLIP
from crosscheck.faults.rows.pretrained.layers import EQUIVALENTS_LAYERS, LAYERS

PRETRAINED: tuple[Fault, ...] = (*LAYERS, *BERT, *CLIP)
EQUIVALENTS_PRETRAINED: tuple[Equivalent, ...] = EQUIVALENTS_LAYERS
