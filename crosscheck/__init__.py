"""Prove that a torch module and a JAX module agree: outputs, gradients, weights; and find where they do not."""

import importlib.util

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  (torch before jax in one process)

from crosscheck.compare import compare
from crosscheck.recording import Recording, record
from crosscheck.report import Report
from crosscheck.rows import Divergence, Row

__all__ = ["Divergence", "Pair", "Recording", "Report", "Row", "build_pair", "compare", "record"]


def __getattr__(name: str) -> object:
    """`Pair` and `build_pair` need both frameworks, a recording only one."""
    if name in ("Pair", "build_pair"):
        from crosscheck import pair

        return getattr(pair, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
