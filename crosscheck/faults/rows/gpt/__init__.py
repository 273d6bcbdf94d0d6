"""Faults in GPT and harmless changes to it, by what they change."""

from crosscheck.faults.fault import Equivalent, Fault
from crosscheck.faults.rows.gpt.attention import CAUSAL_ATTENTION, EQUIVALENTS_CAUSAL
from crosscheck.faults.rows.gpt.model import EQUIVALENTS_MODEL, MODEL
from crosscheck.faults.rows.gpt.variants import VARIANT_FAULTS
from crosscheck.faults.rows.gpt.without_scores import WITHOUT_SCORES

GPT: tuple[Fault, ...] = (*CAUSAL_ATTENTION, *MODEL, *VARIANT_FAULTS, *WITHOUT_SCORES)
EQUIVALENTS_GPT: tuple[Equivalent, ...] = (*EQUIVALENTS_CAUSAL, *EQUIVALENTS_MODEL)
