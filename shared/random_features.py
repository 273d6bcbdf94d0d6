"""Directions of random features, the same in both frameworks."""

import functools

import numpy as np


@functools.cache
def orthogonal_directions(count: int, width: int, seed: int = 0) -> np.ndarray:
    """`count` vectors (count, width) of N(0, 1), orthogonal in groups of `width` (Choromanski et al. 2021)."""
    generator, groups = np.random.default_rng(seed), -(-count // width)
    square = np.concatenate([np.linalg.qr(each)[0] for each in generator.standard_normal((groups, width, width))])
    lengths = np.linalg.norm(generator.standard_normal(square.shape), axis=1)
    return (square * lengths[:, None])[:count]
