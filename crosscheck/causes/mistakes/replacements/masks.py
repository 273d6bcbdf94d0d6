"""Masks and fully masked rows, in either framework."""

from typing import Any

from crosscheck.causes.mistakes.replacements.values import where


def hidden_rows(mask: Any, weights: Any, axis: int, fill: str) -> Any:
    """The weights, with NaN or their mean in fully masked rows."""
    is_hidden = ((mask != 0) * (weights * 0 + 1)).sum(axis) == 0
    is_hidden = is_hidden[..., None] if axis == -1 else is_hidden[:, None]
    return where(is_hidden, float("nan") if fill == "NaN" else 1 / weights.shape[axis], weights)


def seen_if_hidden(mask: Any, axis: int) -> Any:
    """The mask, except that rows hiding everything hide nothing."""
    is_hidden = (mask != 0).sum(axis) == 0
    return (mask != 0) | (is_hidden[..., None] if axis == -1 else is_hidden[:, None])
