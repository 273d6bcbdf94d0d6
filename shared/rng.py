"""One stream of random numbers for both frameworks: threefry-2x32, in the layout that JAX calls partitionable.

A key is two words of 32 bits, and `threefry2x32(key, counter)` turns a counter of two words into two words that look
random (Salmon et al., SC 2011). Nothing is stored between draws, so an element of a stream depends only on its key and
its position, and a part of a stream can be drawn without the rest. With i = 0, 1, 2, ... below 2**63:

    bits[i]        x0 ^ x1                           (x0, x1) = threefry2x32(key, (i >> 32, i mod 2**32))
    uniform[i]     (bits[i] >> 9) / 2**23            float32 in [0, 1)
    bernoulli[i]   uniform[i] < float32(p)           as integers: bits[i] >> 9 < threshold(p)
    normal[i]      sqrt(2) erfinv(2 uniform[i] - 1)  the argument in float32, moved up by 2**-24 since it must not be -1
    split(key, n)  n keys: threefry2x32(key, (0, i))
    fold_in        one key: threefry2x32(key, (0, number)); a name folds in through its CRC-32
    key_from_seed  (seed >> 32, seed mod 2**32)

numpy, PyTorch and JAX draw bit-identical numbers, equal to those of `jax.random` except for its normal:
JAX's float32 erfinv is up to 91 units in the last place off (PyTorch's 1). Ours is computed in float64 and is the
float32 nearest to the true value. Only 2**23 arguments occur, and none has its true value within 38 float64 units of
the midpoint of two float32 (both measured over all arguments), so that any decent float64 erfinv gives the same.
"""

import math
import zlib
from collections.abc import Iterator
from statistics import NormalDist
from typing import TypeVar

import numpy as np

from shared.errors import IsogradError

Key = tuple[int, int]  # two words of 32 bits
Counter = TypeVar("Counter", int, np.ndarray)

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
WORD = 0xFFFFFFFF
UNIFORM_BITS = 23  # a float32 in [1, 2) has this many free bits
LOWEST = float(np.nextafter(np.float32(-1), np.float32(0)))  # the argument of erfinv for uniform 0
LENGTH = 2**63  # of a stream: positions are held in int64
CHUNK = 2**15  # elements encrypted together


def threefry2x32(key: Key, high: Counter, low: Counter) -> tuple[Counter, Counter]:
    """Encrypt the counter (high, low) under `key`: two Python integers, or two uint32 arrays of one shape."""
    words = key[0], key[1], key[0] ^ key[1] ^ PARITY
    x0, x1 = (high + words[0]) & WORD, (low + words[1]) & WORD
    for round_group in range(5):
        for rotation in ROTATIONS[round_group % 2]:
            x0 = (x0 + x1) & WORD
            x1 = x0 ^ ((x1 << rotation) & WORD | (x1 >> (32 - rotation)))
        x0 = (x0 + words[(round_group + 1) % 3]) & WORD
        x1 = (x1 + words[(round_group + 2) % 3] + round_group + 1) & WORD
    return x0, x1


def random_bits(key: Key, size: int, first: int = 0) -> np.ndarray:
    """uint32 (size,) of the stream of `key` from element `first` on."""
    check_range(first, size)
    drawn = np.empty(size, np.uint32)
    for place, bits in _stream(key, size, first):
        drawn[place] = bits
    return drawn


def random_mask(key: Key, size: int, threshold: int, first: int = 0) -> np.ndarray:
    """bool (size,), True where the upper 23 of the random bits are below `threshold`."""
    check_range(first, size)
    mask = np.empty(size, np.bool_)
    for place, bits in _stream(key, size, first):
        np.less(bits >> np.uint32(32 - UNIFORM_BITS), np.uint32(threshold), out=mask[place])
    return mask


def random_uniform(key: Key, size: int, first: int = 0) -> np.ndarray:
    """float32 (size,) in [0, 1), multiples of 2**-23."""
    one_to_two = (random_bits(key, size, first) >> np.uint32(32 - UNIFORM_BITS)) | np.float32(1).view(np.uint32)
    return one_to_two.view(np.float32) - np.float32(1)


def random_bernoulli(key: Key, size: int, probability: float, first: int = 0) -> np.ndarray:
    """bool (size,), True with this probability."""
    return random_mask(key, size, threshold(probability), first)


def random_normal(key: Key, size: int, first: int = 0) -> np.ndarray:
    """float32 (size,) of mean 0 and variance 1, between -5.42 and 5.23."""
    centred = random_uniform(key, size, first) * np.float32(2) + np.float32(LOWEST)
    quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])  # sqrt(2) erfinv(x) is that of (1 + x) / 2
    return quantile((1 + centred.astype(np.float64)) / 2).astype(np.float32)


def key_from_seed(seed: int) -> Key:
    """The key of an integer seed; equal to `jax.random.key(seed)` (whose upper word is 0 unless x64 is on)."""
    return (seed >> 32) & WORD, seed & WORD


def split(key: Key, number: int) -> list[Key]:
    """Split a key into this many new keys."""
    high, low = threefry2x32(key, np.zeros(number, np.uint32), np.arange(number, dtype=np.uint32))
    return list(zip(high.tolist(), low.tolist(), strict=True))


def fold_in(key: Key, number: int) -> Key:
    """A new key from a key and an integer below 2**32."""
    return threefry2x32(key, 0, int(number))


def fold_in_name(key: Key, name: str) -> Key:
    """A new key from a key and a name (a layer's path), through the name's CRC-32."""
    return fold_in(key, zlib.crc32(name.encode()))


def threshold(probability: float) -> int:
    """The bound that an element's upper 23 bits are below with this probability; IsogradError unless in [0, 1]."""
    if not 0 <= probability <= 1:
        raise IsogradError(f"a probability must be between 0 and 1, got {probability}: pass a number in that range")
    return math.ceil(float(np.float32(probability)) * 2**UNIFORM_BITS)


def _stream(key: Key, size: int, first: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The slices of an answer and the uint32 that belong there, in chunks that fit the processor's cache."""
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        yield slice(start, stop), _encrypted(key, np.arange(first + start, first + stop, dtype=np.uint64))


def _encrypted(key: Key, positions: np.ndarray) -> np.ndarray:
    """x0 ^ x1 of `threefry2x32` at these positions (uint64), whose sums wrap in uint32; in place, for speed."""
    words = np.array((key[0], key[1], key[0] ^ key[1] ^ PARITY), np.uint32)
    x0, x1 = (positions >> np.uint64(32)).astype(np.uint32), positions.astype(np.uint32)
    left = np.empty_like(x1)
    x0 += words[0]
    x1 += words[1]
    for round_group in range(5):
        for rotation in ROTATIONS[round_group % 2]:
            x0 += x1
            np.left_shift(x1, np.uint32(rotation), out=left)
            x1 >>= np.uint32(32 - rotation)
            x1 |= left
            x1 ^= x0
        x0 += words[(round_group + 1) % 3]
        x1 += words[(round_group + 2) % 3]
        x1 += np.uint32(round_group + 1)
    x0 ^= x1
    return x0


def keep_threshold(rate: float) -> int:
    """The `threshold` of the elements that dropout keeps when it drops this fraction of them."""
    return threshold(1.0 - rate)


def check_range(first: int, size: int) -> None:
    """IsogradError unless elements `first` to `first` + `size` exist."""
    if not 0 <= first <= first + size <= LENGTH:
        raise IsogradError(
            f"a stream has elements 0 to 2**63 - 1, got {size} from {first} on: draw from a first element in that range"
        )
