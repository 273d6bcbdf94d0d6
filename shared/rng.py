"""Counter-based random numbers (threefry-2x32, JAX's partitionable layout), so that both frameworks draw the same bits.

Element i of `bits(key, n)` is x0 ^ x1 of threefry2x32(key, (i >> 32, i & 0xffffffff)): Salmon et al., SC 2011.
"""

import math
import zlib

import numpy as np

Key = tuple[int, int]  # two words of 32 bits

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
UNIFORM_BITS = 23  # a float32 in [1, 2) has this many free bits


def threefry2x32(key: Key, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encrypt the counters (high, low), two uint32 arrays of one shape, under `key`."""
    words = [np.uint32(key[0]), np.uint32(key[1]), np.uint32(key[0] ^ key[1] ^ PARITY)]
    x0, x1 = high + words[0], low + words[1]
    for round_group in range(5):
        for rotation in ROTATIONS[round_group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation)))
        x0 = x0 + words[(round_group + 1) % 3]
        x1 = x1 + words[(round_group + 2) % 3] + np.uint32(round_group + 1)
    return x0, x1


def random_bits(key: Key, size: int) -> np.ndarray:
    """The first `size` uint32 of the stream of `key`; equal to `jax.random.bits` of the same key."""
    return bits_at(key, np.arange(size, dtype=np.uint64))


def bits_at(key: Key, positions: np.ndarray) -> np.ndarray:
    """The uint32 at these positions (uint64) of the stream of `key`."""
    x0, x1 = threefry2x32(key, (positions >> np.uint64(32)).astype(np.uint32), positions.astype(np.uint32))
    return x0 ^ x1


def key_from_seed(seed: int) -> Key:
    """The key of an integer seed; equal to `jax.random.key(seed)` (whose upper word is 0 unless x64 is on)."""
    return (seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF


def fold_in(key: Key, number: int) -> Key:
    """A new key from a key and an integer below 2**32; equal to `jax.random.fold_in`."""
    high, low = threefry2x32(key, np.zeros(1, np.uint32), np.array([number], np.uint32))
    return int(high[0]), int(low[0])


def fold_in_name(key: Key, name: str) -> Key:
    """A new key from a key and a name (a layer's path), through the name's CRC-32."""
    return fold_in(key, zlib.crc32(name.encode()))


def keep_threshold(rate: float) -> int:
    """An element is kept when `bits >> 9` is below this: the integer form of `uniform < 1 - rate` in float32."""
    return math.ceil(float(np.float32(1.0 - rate)) * 2**UNIFORM_BITS)
