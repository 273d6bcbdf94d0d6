"""Prove that a torch module and a JAX module agree: outputs, gradients, weights."""

import torch  # noqa: F401, I001  (torch before jax in one process)

from crosscheck.compare import compare
from crosscheck.pair import Pair, build_pair
from crosscheck.report import Divergence, Report, Row

__all__ = ["Divergence", "Pair", "Report", "Row", "build_pair", "compare"]
