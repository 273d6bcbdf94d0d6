"""threefry-2x32 of `shared/rng.py` as one Triton kernel: element i of the stream of a key."""

import triton
import triton.language as tl

BLOCK = 1024


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
def threefry_stream(words, bits, size, BLOCK: tl.constexpr):
    """bits (size,) int64 from words (3,) int64, the key and its parity: bits[i] = x0 ^ x1 of threefry2x32(key, i)."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    key0, key1, key2 = tl.load(words).to(tl.uint32), tl.load(words + 1).to(tl.uint32), tl.load(words + 2).to(tl.uint32)
    x0, x1 = (index >> 32).to(tl.uint32) + key0, (index & 0xFFFFFFFF).to(tl.uint32) + key1
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
    tl.store(bits + index, (x0 ^ x1).to(tl.int64), mask=index < size)
