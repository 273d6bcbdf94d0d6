"""Prove that a torch module and a JAX module agree: outputs, gradients, weights; and find where they do not."""

import importlib
import importlib.util

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  (torch before jax in one process)

from crosscheck.compare import compare
from crosscheck.recording import Recording, record
from crosscheck.report import Report
from crosscheck.rows import Divergence, Row

__all__ = ["Divergence", "Pair", "Recording", "Report", "Row", "build_pair", "compare", "copy_weights", "record"]
NEED_BOTH = {"Pair": "pair", "build_pair": "pair", "copy_weights": "copying"}  # the others need one framework only


def __getattr__(name: str) -> object:
    """What needs both frameworks is imported where it is asked for."""
    if name in NEED_BOTH:
        return getattr(importlib.import_module(f"crosscheck.{NEED_BOTH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
