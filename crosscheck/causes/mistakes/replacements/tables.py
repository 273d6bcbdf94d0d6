"""Out-of-range ids, dropout keys and clamped values, in either framework."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import torch

from crosscheck.causes.mistakes.replacements.values import where
from shared import rng


def clamped(ids: Any, table: Any, missing: int) -> Any:
    """Ids clamped to a table whose last rows are missing."""
    return ids.clip(max=len(table) - 1 - missing)


def wrapped(ids: Any, table: Any, missing: int) -> Any:
    """Ids wrapped around in a table whose last rows are missing."""
    return ids % (len(table) - missing)


def nan_beyond(vectors: Any, ids: Any, table: Any, missing: int) -> Any:
    """NaN where the table has no row."""
    return where((ids >= len(table) - missing)[..., None], float("nan"), vectors)


def split(key: Any) -> Any:
    """The first of the two keys that a key splits into."""
    from jax_impl.random_bits import split as split_in_jax

    return rng.split(key, 2)[0] if isinstance(key, tuple) else split_in_jax(key, 2)[0]


def broadcast_dropout(dropout: Any, x: Any, axes: Sequence[int]) -> Any:
    """Dropout with a single mask along these axes."""
    few = x
    for axis in axes:
        few = few.swapaxes(0, axis)[:1].swapaxes(0, axis)
    return x * dropout(few * 0 + 1)


def at_least(x: Any, bound: float, is_halved: bool) -> Any:
    """The maximum of the two, with the gradient at the bound itself whole or halved."""
    if isinstance(x, torch.Tensor):
        return torch.maximum(x, torch.full_like(x, bound)) if is_halved else x.clamp(min=bound)
    return jnp.maximum(x, bound) if is_halved else jnp.where(x >= bound, x, bound)
