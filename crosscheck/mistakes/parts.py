"""What the replacements of mistakes call, for tensors of either framework."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from shared import rng
from shared.errors import IsogradError


def narrow(x: Any, dtype: str) -> Any:
    """The value rounded to a narrower dtype, and back in its own; gradients are rounded too."""
    if isinstance(x, float):
        return float(np.asarray(x).astype(dtype))
    if isinstance(x, torch.Tensor) and x.is_floating_point():
        return x.to(getattr(torch, dtype)).to(x.dtype)
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(dtype).astype(x.dtype)
    raise IsogradError("only floating-point numbers are rounded")


def cast(x: Any, dtype: str) -> Any:
    """The value in a narrower dtype, in which what follows is computed."""
    narrow(x, dtype)
    return x.to(getattr(torch, dtype)) if isinstance(x, torch.Tensor) else x.astype(dtype)


def inverted(mask: Any) -> Any:
    """True where the mask is 0; no mask stays none."""
    return None if mask is None else mask == 0


def stopped(x: Any) -> Any:
    """The value without its gradient."""
    return x.detach() if isinstance(x, torch.Tensor) else jax.lax.stop_gradient(x)


def permuted(x: Any, axes: Sequence[int]) -> Any:
    """The axes in another order."""
    return x.permute(*axes) if isinstance(x, torch.Tensor) else jnp.transpose(x, axes)


def where(condition: Any, x: Any, other: Any) -> Any:
    """The framework's own `where`."""
    return (torch if isinstance(condition, torch.Tensor) else jnp).where(condition, x, other)


def other_gelu(approximate: Any) -> Any:
    """The other formula's name."""
    return {"none": "tanh", "tanh": "none"}[approximate] if isinstance(approximate, str) else not approximate


def bessel(x: Any) -> float:
    """What makes a biased variance over the last axis unbiased."""
    return float(x.shape[-1] / (x.shape[-1] - 1))


def fast_variance(x: Any) -> Any:
    """E[x^2] - E[x]^2 over the last axis."""
    means = [(x**power).sum(-1)[..., None] / x.shape[-1] for power in (1, 2)]
    return means[1] - means[0] ** 2


# Masks


def hidden_rows(mask: Any, weights: Any, axis: int, fill: str) -> Any:
    """The weights, and NaN or their mean where a row is masked throughout."""
    is_hidden = ((mask != 0) * (weights * 0 + 1)).sum(axis) == 0
    is_hidden = is_hidden[..., None] if axis == -1 else is_hidden[:, None]
    return where(is_hidden, float("nan") if fill == "NaN" else 1 / weights.shape[axis], weights)


def seen_if_hidden(mask: Any, axis: int) -> Any:
    """A mask whose rows hide nothing where they hid all."""
    is_hidden = (mask != 0).sum(axis) == 0
    return (mask != 0) | (is_hidden[..., None] if axis == -1 else is_hidden[:, None])


# Recurrent layers


def ordered(states: Any, order: Callable[[int], Sequence[int]]) -> Any:
    """States in another order: a list of them, or an array by its first axis."""
    indices = list(order(len(states)))
    return [states[i] for i in indices] if isinstance(states, list | tuple) else states[np.array(indices)]


def by_direction(number: int) -> Sequence[int]:
    """The even ones first."""
    return [*range(0, number, 2), *range(1, number, 2)]


def by_layer(number: int) -> Sequence[int]:
    """The inverse of `by_direction`."""
    return [index for layer in range(number // 2) for index in (layer, number // 2 + layer)]


def backwards(number: int) -> Sequence[int]:
    """The last first."""
    return range(number)[::-1]


def in_pairs(number: int) -> Sequence[int]:
    """Each two neighbours exchanged."""
    return [index ^ 1 for index in range(number)]


def last_output(result: tuple[Any, Any], step: int) -> tuple[Any, Any]:
    """Outputs and final state of a scan, the state taken from the output of a step."""
    return result[0], result[0][:, step]


def candidate_bias(projection: Any) -> Any:
    """The last third of a GRU's hidden bias."""
    bias = projection.bias if isinstance(projection.bias, torch.Tensor) else projection.bias[...]
    return bias[2 * len(bias) // 3 :]


def candidate(projection: Any, h: Any) -> Any:
    """The last third of a GRU's hidden projection."""
    projected = projection(h)
    return projected[..., 2 * projected.shape[-1] // 3 :]


def without_candidate_bias(projection: Any, h: Any) -> Any:
    """A hidden projection without its candidate's bias."""
    projected, bias = projection(h), candidate_bias(projection)
    return projected - (torch.nn.functional.pad if isinstance(bias, torch.Tensor) else jnp.pad)(
        bias, (2 * len(bias), 0)
    )


def frozen_bias(projection: Any, x: Any, gates: int) -> Any:
    """A projection whose bias is not trained in the first gates of three."""
    bias = projection.bias if isinstance(projection.bias, torch.Tensor) else projection.bias[...]
    size = gates * len(bias) // 3
    frozen = (stopped(bias) - bias)[:size]
    rest = (bias * 0)[size:]
    return projection(x) + (torch.cat if isinstance(bias, torch.Tensor) else jnp.concatenate)([frozen, rest])


def unless_zero(projected: Any, h: Any) -> Any:
    """Zero where the state is: a cell that skips its projection then."""
    return where((h != 0).sum(-1)[..., None] != 0, projected, 0.0)


# Tables, dropout, losses


def clamped(ids: Any, table: Any, missing: int) -> Any:
    """Ids of a table whose last rows are missing, clamped to those that are there."""
    return ids.clip(max=len(table) - 1 - missing)


def wrapped(ids: Any, table: Any, missing: int) -> Any:
    """Ids of a table whose last rows are missing, counted on from the first."""
    return ids % (len(table) - missing)


def nan_beyond(vectors: Any, ids: Any, table: Any, missing: int) -> Any:
    """NaN where the table has no row."""
    return where((ids >= len(table) - missing)[..., None], float("nan"), vectors)


def split(key: Any) -> Any:
    """The first of two keys that a key is split into."""
    from jax_impl.random_bits import split as split_in_jax

    return rng.split(key, 2)[0] if isinstance(key, tuple) else split_in_jax(key, 2)[0]


def at_least(x: Any, bound: float, is_halved: bool) -> Any:
    """The larger of the two, the gradient whole or halved at the bound itself."""
    if isinstance(x, torch.Tensor):
        return torch.maximum(x, torch.full_like(x, bound)) if is_halved else x.clamp(min=bound)
    return jnp.maximum(x, bound) if is_halved else jnp.where(x >= bound, x, bound)


# Optimisers


def adamw(
    weights: Any, gradients: Any, means: Any, squares: Any, variant: str, state_steps: Any, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, **_: Any,
) -> None:  # fmt: skip
    """AdamW in torch, in place, but with "L2", with "eps inside" the root, or with biases "spared" by the decay."""
    for w, g, m, v, before in zip(weights, gradients, means, squares, state_steps, strict=True):
        step = float(before) + 1
        g = g + weight_decay * w if variant == "L2" else g
        decay = 0.0 if variant == "L2" or (variant == "spared" and w.ndim < 2) else weight_decay
        m.mul_(beta1).add_((1 - beta1) * g)
        v.mul_(beta2).add_((1 - beta2) * g * g)
        square = v / (1 - beta2**step)
        root = (square + eps).sqrt() if variant == "eps inside" else square.sqrt() + eps
        w.sub_(lr * (m / (1 - beta1**step) / root + decay * w))
