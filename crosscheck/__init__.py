"""Prove that a torch module and a JAX module agree in outputs, gradients and weights, or find where they diverge."""

import importlib
import importlib.util

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  (import torch before jax)

from crosscheck.compare import compare
from crosscheck.judging.rows import Divergence, Row
from crosscheck.recording.record import record
from crosscheck.recording.recording import Recording
from crosscheck.report import Report

__all__ = ["Divergence", "Pair", "Recording", "Report", "Row", "build_pair", "compare", "copy_weights", "record"]
# The rest of the API needs only one framework.
NEED_BOTH = {
    "Pair": "twins.pair",
    "build_pair": "twins.pair",
    "copy_weights": "pairing.copy_weights",
}


def __getattr__(name: str) -> object:
    """Import what needs both frameworks on first use."""
    if name in NEED_BOTH:
        return getattr(importlib.import_module(f"crosscheck.{NEED_BOTH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
