"""threefry-2x32 of `shared/rng.py` in Triton: elements of the stream of a key as numbers, or compared to a mask.

The key is two words in the device's memory, so that a recorded launch can be replayed with another one; first element
and threshold are unspecialised scalars: a new value needs no recompilation.
"""

import triton
import triton.language as tl

BLOCK = 1024  # elements per program
PARITY = tl.constexpr(0x1BD11BDA)
SCALARS = ["first", "threshold"]


@triton.jit
def _mix(x0, x1, rotation: tl.constexpr):
    x0 = x0 + x1
    return x0, x0 ^ ((x1 << rotation) | (x1 >> (32 - rotation)))


@triton.jit
def _four_rounds(x0, x1, first: tl.constexpr, second: tl.constexpr, third: tl.constexpr, fourth: tl.constexpr):
    x0, x1 = _mix(x0, x1, first)
    x0, x1 = _mix(x0, x1, second)
    x0, x1 = _mix(x0, x1, third)
    return _mix(x0, x1, fourth)


@triton.jit
def _bits_at(key, position):
    key0, key1 = tl.load(key).to(tl.uint32), tl.load(key + 1).to(tl.uint32)
    key2 = key0 ^ key1 ^ PARITY
    x0, x1 = (position >> 32).to(tl.uint32) + key0, (position & 0xFFFFFFFF).to(tl.uint32) + key1
    x0, x1 = _four_rounds(x0, x1, 13, 15, 26, 6)
    x0, x1 = x0 + key1, x1 + key2 + 1
    x0, x1 = _four_rounds(x0, x1, 17, 29, 16, 24)
    x0, x1 = x0 + key2, x1 + key0 + 2
    x0, x1 = _four_rounds(x0, x1, 13, 15, 26, 6)
    x0, x1 = x0 + key0, x1 + key1 + 3
    x0, x1 = _four_rounds(x0, x1, 17, 29, 16, 24)
    x0, x1 = x0 + key1, x1 + key2 + 4
    x0, x1 = _four_rounds(x0, x1, 13, 15, 26, 6)
    x0, x1 = x0 + key2, x1 + key0 + 5
    return x0 ^ x1


@triton.jit(do_not_specialize=SCALARS[:1])
def threefry_bits(key, bits, size, first: tl.int64, BLOCK: tl.constexpr):
    """key (2,), of any integers -> bits (size,) int64: the unsigned numbers from element `first` of its stream on."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(bits + index, _bits_at(key, first + index).to(tl.int64), mask=index < size)


@triton.jit(do_not_specialize=SCALARS)
def threefry_mask(key, mask, size, first: tl.int64, threshold: tl.uint32, BLOCK: tl.constexpr):
    """key (2,) -> mask (size,) bool: where the upper 23 bits of these numbers are below `threshold`."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(mask + index, (_bits_at(key, first + index) >> 9) < threshold, mask=index < size)
