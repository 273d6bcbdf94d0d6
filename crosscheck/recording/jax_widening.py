"""Reads casts to narrower floats inside JAX code, and arrays created in them, as float64. Sibling: torch_widening.py.

JAX asks one function for the dtype behind every `dtype=`, `astype` and `preferred_element_type`. A traced program could
not be rewritten instead: its constants have been rounded by then.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax._src import dtypes as of_jax

from crosscheck.recording.nesting import is_array, is_float
from shared.errors import IsogradError

KEPT = ("bitcast_convert_type", "dtype")  # callers that ask what bits mean, or what a given array is
WIDENED = jax.make_user_context(())  # part of the key of JAX's caches: programs traced before stay as they were


@contextmanager
def widening(dtypes: Sequence[str]) -> Iterator[set[str]]:
    """Context in which every request for one of these dtypes gives float64; yields those that were requested."""
    found: set[str] = set()
    if not dtypes:
        yield found
        return
    original = getattr(of_jax, "_maybe_canonicalize_explicit_dtype", None)
    if original is None:
        raise IsogradError(f"casts in JAX {jax.__version__} can't be widened: it asks for dtypes in another way")

    def canonical(dtype: Any, caller: str) -> Any:
        dtype = original(dtype, caller)
        if str(dtype) not in dtypes or caller in KEPT:
            return dtype
        found.add(str(dtype))
        return np.dtype(np.float64)

    of_jax._maybe_canonicalize_explicit_dtype = canonical
    try:
        with WIDENED(tuple(dtypes)):
            yield found
    finally:
        of_jax._maybe_canonicalize_explicit_dtype = original


def widened(module: Any) -> Any:
    """A copy of an NNX or Linen module with all its floats in float64; a function is returned as it is."""
    if isinstance(module, nnx.Module):
        graph, state = nnx.split(module)
        return nnx.merge(graph, jax.tree.map(_wide, state))
    if isinstance(module, nn.Module) and module.scope is not None:
        module = module.unbind()
    return (module[0], jax.tree.map(_wide, module[1])) if isinstance(module, tuple) else module


def _wide(leaf: Any) -> Any:
    return jnp.asarray(leaf, jnp.float64) if is_array(leaf) and is_float(leaf.dtype) else leaf
