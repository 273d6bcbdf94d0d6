"""Directions of random features, the same in both frameworks."""

import functools

import numpy as np


@functools.cache
def orthogonal_directions(count: int, width: int, seed: int = 0) -> np.ndarray:
    """`count` vectors (count, width) of N(0, 1), orthogonal in groups of `width` (Choromanski et al. 2021)."""
    generator, groups = np.random.default_rng(seed), -(-count // width)
    rotations, triangles = np.linalg.qr(generator.standard_normal((groups, width, width)))
    signs = np.sign(np.diagonal(triangles, axis1=1, axis2=2))  # without which no rotation is as likely as any other
    directions = (rotations * signs[:, None]).reshape(-1, width)
    lengths = np.linalg.norm(generator.standard_normal(directions.shape), axis=1)
    return (directions * lengths[:, None])[:count]
