"""Checks of sizes and names that both twins perform when they are built."""

import difflib
from collections.abc import Iterable

from shared.errors import IsogradError

SHOWN = 12  # choices listed if none is close


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Raise unless the width can be split into heads of equal width."""
    if num_heads < 1 or embed_dim % num_heads:
        raise IsogradError(
            f"embed_dim must be divisible by num_heads, got embed_dim {embed_dim} and num_heads {num_heads}: "
            "choose a width that is a multiple of the number of heads"
        )


def check_context(tokens: int, sequence_length: int) -> None:
    """Raise unless this many tokens fit into a model's context."""
    if tokens > sequence_length:
        raise IsogradError(f"expected at most {sequence_length} tokens, the context of the model, got {tokens}")


def check_choice(what: str, got: str, choices: Iterable[str]) -> None:
    """Raise unless `got` is one of `choices`; suggests the closest ones."""
    choices = list(choices)
    if got not in choices:
        nearest = difflib.get_close_matches(got, choices, n=3, cutoff=0.4)
        listed = [repr(choice) for choice in nearest or choices[:SHOWN]]
        if not nearest and len(choices) > SHOWN:
            listed.append(f"one of {len(choices) - SHOWN} others")
        raise IsogradError(f"unknown {what} {got!r}: did you mean {' or '.join(listed)}?")


def check_length(steps: int, longest: int) -> None:
    """Raise unless a sequence is no longer than what the positions were made for."""
    if steps > longest:
        raise IsogradError(
            f"expected a sequence of at most {longest} steps, got {steps}: shorten it, or build with a larger "
            "sequence_length"
        )


def check_rank(rank: int, most: int) -> None:
    """Raise unless a matrix can have this rank."""
    if not 1 <= rank <= most:
        raise IsogradError(f"expected a rank from 1 to {most}, the smaller side of the matrix, got {rank}")
