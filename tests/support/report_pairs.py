"""What the pairs of public reports share: how they are made, and what is expected of them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from flax import nnx

from crosscheck.pairing.copy_weights import copy_weights

Pair = Callable[[], tuple[Any, Any]]


class Report(NamedTuple):
    """The wrong pair and the right one, their inputs, the module where they differ, and words of the cause's name."""

    pairs: tuple[Pair, Pair]
    inputs: Any
    module: str
    words: str


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


ROWS, TOKENS, IMAGES = drawn(4, 6), drawn(2, 5, 6, seed=1), drawn(2, 3, 8, 8, seed=2)


def _modules(ours, theirs):
    torch.manual_seed(0)
    ours = ours().double()
    for parameter in ours.parameters():
        parameter.data = (torch.randn_like(parameter) + parameter.data) / 2
    return ours, copy_weights(ours, theirs(nnx.Rngs(0)))


def modules_of(ours, theirs):
    """A module of torch's, and one of JAX's that may be wrong."""
    return lambda: _modules(ours, functools.partial(theirs, wrong=True)), lambda: _modules(ours, theirs)


def wrong_in_torch(ours, theirs):
    """A module of torch's that may be wrong, and one of JAX's."""
    return lambda: _modules(functools.partial(ours, wrong=True), theirs), lambda: _modules(ours, theirs)


def functions_of(ours, theirs):
    """A function of torch's, and one of JAX's that may be wrong."""
    return lambda: (ours, functools.partial(theirs, wrong=True)), lambda: (ours, theirs)
