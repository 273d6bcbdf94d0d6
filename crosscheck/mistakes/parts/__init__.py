"""What the replacements of mistakes call, for tensors of either framework."""

from crosscheck.mistakes.parts.masks import hidden_rows, seen_if_hidden
from crosscheck.mistakes.parts.optimizers import adamw, rooted
from crosscheck.mistakes.parts.recurrent import (
    backwards,
    by_direction,
    by_layer,
    candidate,
    candidate_bias,
    frozen_bias,
    in_pairs,
    last_output,
    ordered,
    unless_zero,
    with_states,
    without_candidate_bias,
)
from crosscheck.mistakes.parts.tables import at_least, broadcast_dropout, clamped, nan_beyond, split, wrapped
from crosscheck.mistakes.parts.values import (
    bessel,
    cast,
    fast_variance,
    inverted,
    narrow,
    other_gelu,
    permuted,
    stopped,
    where,
)

__all__ = [
    "adamw",
    "at_least",
    "backwards",
    "bessel",
    "broadcast_dropout",
    "by_direction",
    "by_layer",
    "candidate",
    "candidate_bias",
    "cast",
    "clamped",
    "fast_variance",
    "frozen_bias",
    "hidden_rows",
    "in_pairs",
    "inverted",
    "last_output",
    "nan_beyond",
    "narrow",
    "ordered",
    "other_gelu",
    "permuted",
    "rooted",
    "seen_if_hidden",
    "split",
    "stopped",
    "unless_zero",
    "where",
    "with_states",
    "without_candidate_bias",
    "wrapped",
]
