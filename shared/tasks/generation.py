"""Generation of tokens, as far as the frameworks share it: settings, checks, buckets of lengths, random numbers."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from shared import rng
from shared.errors import IsogradError

SMALLEST_BUCKET = 16  # tokens; shapes are powers of two from here on, so that few programs are compiled


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen: the likeliest (no temperature), or drawn from the `top_k` likeliest tokens, and of
    those from the likeliest whose probabilities reach `top_p`. A row ends with the token `stop`.

    Raises IsogradError for settings that mean nothing.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise IsogradError(
                f"temperature must be above 0, got {self.temperature}: leave it out for the likeliest token"
            )
        if self.top_k is not None and self.top_k < 1:
            raise IsogradError(f"top_k must be at least 1, got {self.top_k}: leave it out to draw from all tokens")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise IsogradError(f"top_p must be above 0 and at most 1, got {self.top_p}: leave it out for all tokens")
        if self.temperature is None and (self.top_k is not None or self.top_p is not None):
            raise IsogradError("top_k and top_p limit what is drawn, which needs a temperature: set temperature to 1.0")


@dataclass(frozen=True)
class Plan:
    """What a generation starts from: tokens (B, L) with room for the new ones, the prompts' lengths, and the widths
    of what is read at each step. L is a bucket; places behind the new tokens hold 0, those of new tokens `stop`.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    steps: int
    uniforms: np.ndarray  # (L, B) in [0, 1), of the shared random stream, a row for each step; the others are 0
    context: int
    with_cache: bool

    @cached_property
    def longest(self) -> int:
        """The longest prompt."""
        return int(self.lengths.max())

    def keeps_cache(self, step: int) -> bool:
        """Past the context every position moves, so that nothing of a cache holds."""
        return self.with_cache and self.longest + step <= self.context

    def width(self, step: int) -> int:
        """How many tokens of each row are read: all that the context holds, or the newest if a cache has the others."""
        if step > 0 and self.keeps_cache(step):
            return 1
        return min(bucket(self.longest + step), self.context)

    def size(self, step: int) -> int:
        """How many keys there is room for."""
        return min(self.tokens.shape[1], self.context) if self.keeps_cache(step) else self.width(step)

    def stretches(self, *, step_by_step: bool) -> list[range]:
        """The steps in the order of time, cut where they begin to read otherwise, or after each."""

        def reads(step: int) -> tuple[bool, int, int]:
            begins_cache = step == 0 and self.keeps_cache(step)
            return begins_cache, self.width(step), step if step_by_step else 0

        groups = (list(group) for _, group in itertools.groupby(range(self.steps), reads))
        return [range(group[0], group[-1] + 1) for group in groups]


def plan(
    ids: Any, *, steps: int, lengths: Any, stop: int | None, seed: int, cache: bool, vocabulary_size: int, context: int
) -> Plan:
    """The checked start of a generation; raises IsogradError for prompts that the model can't read."""
    prompts = checked_prompts(ids, vocabulary_size, context)
    rows, longest = prompts.shape
    if steps < 0:
        raise IsogradError(f"steps must be at least 0, got {steps}")
    if stop is not None and not 0 <= stop < vocabulary_size:
        raise IsogradError(f"expected a stop token of the vocabulary, 0 to {vocabulary_size - 1}, got {stop}")
    ends = _lengths(lengths, rows, longest)
    places = np.arange(bucket(longest + steps))
    room = np.pad(prompts, ((0, 0), (0, len(places) - longest)))
    is_new = (places >= ends[:, None]) & (places < ends[:, None] + steps)
    tokens = np.where(places < ends[:, None], room, np.where(is_new, stop or 0, 0))
    uniforms = np.pad(_uniforms(seed, rows, steps), ((0, len(places) - steps), (0, 0)))
    return Plan(tokens, ends, steps, uniforms, context, cache)


def bucket(length: int) -> int:
    """The smallest power of two, from 16 on, that holds this many tokens."""
    return max(SMALLEST_BUCKET, 1 << (length - 1).bit_length())


def checked_prompts(ids: Any, vocabulary_size: int, context: int) -> np.ndarray:
    """Prompts (B, T) as int64; raises IsogradError for those that the model can't read."""
    prompts = np.asarray(ids)
    if prompts.ndim != 2 or prompts.dtype.kind not in "iu" or 0 in prompts.shape:
        raise IsogradError(
            f"expected prompts as integers (B, T) with at least one token each, got {prompts.dtype} of shape "
            f"{prompts.shape}"
        )
    unknown = prompts[(prompts < 0) | (prompts >= vocabulary_size)]
    if len(unknown):
        raise IsogradError(f"expected token ids of the vocabulary, 0 to {vocabulary_size - 1}, got {unknown[0]}")
    if prompts.shape[1] > context:
        raise IsogradError(
            f"expected a prompt of at most {context} tokens, the context of the model, got {prompts.shape[1]}: "
            "shorten the prompt"
        )
    return prompts.astype(np.int64)


def _lengths(lengths: Sequence[int] | None, rows: int, longest: int) -> np.ndarray:
    given = np.full(rows, longest) if lengths is None else np.asarray(lengths)
    if given.shape != (rows,) or given.dtype.kind not in "iu" or given.min() < 1 or given.max() > longest:
        raise IsogradError(f"expected {rows} lengths between 1 and {longest}, one a prompt, got {given.tolist()}")
    return given.astype(np.int64)


def _uniforms(seed: int, rows: int, steps: int) -> np.ndarray:
    """Each row has a stream of its own, so that it draws the same whatever else is in the batch."""
    keys = [rng.fold_in(rng.key_from_seed(seed), row) for row in range(rows)]
    return np.stack([rng.random_uniform(key, steps) for key in keys], axis=1)
