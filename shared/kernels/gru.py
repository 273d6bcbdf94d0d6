"""All steps of a GRU layer as one launch forward and one backward, in Triton, for both frameworks.

A group of programs owns some rows of the batch in one direction. Each of its programs owns a slice of W_h, which stays
on the chip for all steps where it fits; after every step the group swaps one array through the GPU's L2 cache and meets
at a counter. A program finds its place by a ticket, so that groups fill up in the order in which programs start:
whatever else runs on the GPU, a group that waits waits for programs that come next.
"""

import triton
import triton.language as tl

from shared.gru_plan import COUNTERS_APART

APART = tl.constexpr(COUNTERS_APART)
LONGEST_WAIT = tl.constexpr(2**28)  # polls of a counter: minutes, where a step takes microseconds
NEAR_0 = tl.constexpr(0.625)  # where the series of the hyperbolic tangent serves
SCALARS = ["batch_size", "steps", "groups"]


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x, EXACT: tl.constexpr):
    """The hyperbolic tangent; not EXACT, its error near 0 is that of numbers near 1.

    EXACT, the polynomial of the Cephes library serves where 1 - 2 / (exp(2x) + 1) would lose digits.
    """
    if not EXACT:
        return 2.0 * _sigmoid(2.0 * x) - 1.0
    y = x * x
    series = -5.70498872745e-3 * y + 2.06390887954e-2
    series = series * y - 5.37397155531e-2
    series = series * y + 1.33314422036e-1
    series = series * y - 3.33332819422e-1
    return tl.where(tl.abs(x) < NEAR_0, x + x * y * series, 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0))


@triton.jit
def _arrive(counter):
    tl.debug_barrier()  # after the stores of all threads
    tl.atomic_add(counter, 1, sem="release", scope="gpu")


@triton.jit
def _meet(counter, arrivals, BOUNDED: tl.constexpr):
    if BOUNDED:
        polls = 0
        while (tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < arrivals) & (polls < LONGEST_WAIT):
            polls += 1
        tl.device_assert(
            polls < LONGEST_WAIT, "programs of a GRU layer did not arrive: the GPU never ran them together"
        )
    else:
        while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < arrivals:
            pass
    tl.debug_barrier()


@triton.jit
def _place(counters, SLICES: tl.constexpr):
    """The next ticket: a group, the program's slice in it, and the group's counter."""
    ticket = tl.atomic_add(counters, 1)
    group = ticket // SLICES
    return group, ticket % SLICES, counters + (1 + group) * APART


@triton.jit(do_not_specialize=SCALARS)
def gru_forward(
    projected,
    initial,
    weight,
    bias,
    lengths,
    outputs,
    final,
    before,
    gates,
    ring,
    counters,
    batch_size,
    steps,
    groups,
    DIRECTIONS: tl.constexpr,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BOUNDED: tl.constexpr,
    TRAINS: tl.constexpr,
):
    """projected (B, T, D, 3H) = W_i x, initial (D, B, H), weight (D, 3H, H), bias (D, 4H), lengths (B,) int32
    -> outputs (B, T, D, H), final (D, B, H); if it TRAINS, also before (B, T, D, H), the states before each step, and
    gates (B, T, D, 4H): r, z, n and W_hn h + b_hn. Steps from an example's length on keep the state and put out zero.

    The biases, in float32 at least, are b_ir + b_hr, b_iz + b_hz, b_in and b_hn, the order of the gates. A product of
    float32 is made in the PRECISION that `tl.dot` calls so. A BOUNDED wait ends in an assertion.
    """
    SLICES: tl.constexpr = WIDTH // COLUMNS
    group, part, counter = _place(counters, SLICES)
    direction = group // groups
    local = tl.arange(0, ROWS)[:, None]
    row = (group % groups) * ROWS + local
    column = part * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    live = (row < batch_size) & (column < H)
    dtype = outputs.dtype.element_ty
    WORK: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32

    own = weight + direction * 3 * H * H + column * H
    if CHUNK == 0:
        every = tl.arange(0, WIDTH)
        fits = (every[:, None] < H) & (column < H)
        w_r = tl.load(own + every[:, None], mask=fits, other=0.0)
        w_z = tl.load(own + H * H + every[:, None], mask=fits, other=0.0)
        w_n = tl.load(own + 2 * H * H + every[:, None], mask=fits, other=0.0)
    biases = bias + direction * 4 * H + column
    b_r = tl.load(biases, mask=column < H, other=0.0)
    b_z = tl.load(biases + H, mask=column < H, other=0.0)
    b_n = tl.load(biases + 2 * H, mask=column < H, other=0.0)
    b_h = tl.load(biases + 3 * H, mask=column < H, other=0.0)

    ends = direction * batch_size * H + row * H + column
    h = tl.load(initial + ends, mask=live, other=0.0).to(WORK)
    length = tl.load(lengths + row, mask=row < batch_size, other=0)
    swapped = group * ROWS * WIDTH + local * WIDTH
    half = DIRECTIONS * groups * ROWS * WIDTH
    tl.store(ring + swapped + column, h.to(dtype))
    _arrive(counter)

    first = tl.where(direction == 0, 0, steps - 1)
    stride = tl.where(direction == 0, 1, -1)
    if WIDE:
        step = (row.to(tl.int64) * steps + first) * DIRECTIONS + direction
    else:
        step = (row * steps + first) * DIRECTIONS + direction
    read = projected + step * 3 * H + column
    x_r = tl.load(read, mask=live, other=0.0).to(WORK)
    x_z = tl.load(read + H, mask=live, other=0.0).to(WORK)
    x_n = tl.load(read + 2 * H, mask=live, other=0.0).to(WORK)
    for number in range(steps):
        _meet(counter, (number + 1) * SLICES, BOUNDED)
        states = ring + (number % 2) * half + swapped
        if CHUNK == 0:
            state = tl.load(states + every[None, :], cache_modifier=".cg")
            h_r = tl.dot(state, w_r)
            h_z = tl.dot(state, w_z)
            h_n = tl.dot(state, w_n)
        else:
            h_r = tl.zeros((ROWS, COLUMNS), WORK)
            h_z = tl.zeros((ROWS, COLUMNS), WORK)
            h_n = tl.zeros((ROWS, COLUMNS), WORK)
            for start in range(0, WIDTH, CHUNK):
                some = start + tl.arange(0, CHUNK)
                fits = (some[:, None] < H) & (column < H)
                state = tl.load(states + some[None, :], cache_modifier=".cg")
                w_r = tl.load(own + some[:, None], mask=fits, other=0.0)
                w_z = tl.load(own + H * H + some[:, None], mask=fits, other=0.0)
                w_n = tl.load(own + 2 * H * H + some[:, None], mask=fits, other=0.0)
                h_r = tl.dot(state, w_r, h_r, input_precision=PRECISION, out_dtype=WORK)
                h_z = tl.dot(state, w_z, h_z, input_precision=PRECISION, out_dtype=WORK)
                h_n = tl.dot(state, w_n, h_n, input_precision=PRECISION, out_dtype=WORK)
        r = _sigmoid(x_r + h_r + b_r)
        z = _sigmoid(x_z + h_z + b_z)
        h_n += b_h
        n = _tanh(x_n + b_n + r * h_n, dtype == tl.float32)
        valid = first + stride * number < length
        last = h
        h = tl.where(valid, n + z * (h - n), h)
        tl.store(ring + ((number + 1) % 2) * half + swapped + column, h.to(dtype))
        _arrive(counter)
        tl.store(outputs + step * H + column, tl.where(valid, h, 0.0).to(dtype), mask=live)
        if TRAINS:
            tl.store(before + step * H + column, last.to(dtype), mask=live)
            kept = gates + step * 4 * H + column
            tl.store(kept, r.to(dtype), mask=live)
            tl.store(kept + H, z.to(dtype), mask=live)
            tl.store(kept + 2 * H, n.to(dtype), mask=live)
            tl.store(kept + 3 * H, h_n.to(dtype), mask=live)
        step += tl.where(number + 1 < steps, stride * DIRECTIONS, 0)
        read = projected + step * 3 * H + column
        x_r = tl.load(read, mask=live, other=0.0).to(WORK)
        x_z = tl.load(read + H, mask=live, other=0.0).to(WORK)
        x_n = tl.load(read + 2 * H, mask=live, other=0.0).to(WORK)
    tl.store(final + ends, h.to(dtype), mask=live)


@triton.jit(do_not_specialize=SCALARS)
def gru_backward(
    weight,
    lengths,
    before,
    gates,
    d_outputs,
    d_final,
    d_projected,
    d_recurrent,
    d_bias,
    d_initial,
    partial_sums,
    counters,
    batch_size,
    steps,
    groups,
    DIRECTIONS: tl.constexpr,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BOUNDED: tl.constexpr,
):
    """Gradients of what `gru_forward` read, from those of outputs and final: d_projected (B, T, D, 3H); d_recurrent
    (B, T, D, 3H), of W_h h + b_h; d_bias (D, groups, 4H), the sums of a group; d_initial (D, B, H).

    A program multiplies its own gates' gradients by its own rows of W_h, and leaves a partial sum for every column;
    the owner of a column adds up those of the group, always in the same order.
    """
    SLICES: tl.constexpr = WIDTH // COLUMNS
    group, part, counter = _place(counters, SLICES)
    direction = group // groups
    local = tl.arange(0, ROWS)[:, None]
    row = (group % groups) * ROWS + local
    mine = part * COLUMNS + tl.arange(0, COLUMNS)
    column = mine[None, :]
    live = (row < batch_size) & (column < H)
    dtype = d_projected.dtype.element_ty
    WORK: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32

    own = weight + direction * 3 * H * H + mine[:, None] * H
    if CHUNK == 0:
        every = tl.arange(0, WIDTH)[None, :]
        fits = (mine[:, None] < H) & (every < H)
        w_r = tl.load(own + every, mask=fits, other=0.0)
        w_z = tl.load(own + H * H + every, mask=fits, other=0.0)
        w_n = tl.load(own + 2 * H * H + every, mask=fits, other=0.0)

    ends = direction * batch_size * H + row * H + column
    d_h = tl.load(d_final + ends, mask=live, other=0.0).to(WORK)
    length = tl.load(lengths + row, mask=row < batch_size, other=0)
    sums = partial_sums + group * SLICES * ROWS * WIDTH + local * WIDTH
    half = DIRECTIONS * groups * SLICES * ROWS * WIDTH
    sum_r = tl.zeros((ROWS, COLUMNS), WORK)
    sum_z = tl.zeros((ROWS, COLUMNS), WORK)
    sum_n = tl.zeros((ROWS, COLUMNS), WORK)
    sum_h = tl.zeros((ROWS, COLUMNS), WORK)

    first = tl.where(direction == 0, steps - 1, 0)
    stride = tl.where(direction == 0, -1, 1)
    if WIDE:
        step = (row.to(tl.int64) * steps + first) * DIRECTIONS + direction
    else:
        step = (row * steps + first) * DIRECTIONS + direction
    kept = gates + step * 4 * H + column
    r = tl.load(kept, mask=live, other=0.0).to(WORK)
    z = tl.load(kept + H, mask=live, other=0.0).to(WORK)
    n = tl.load(kept + 2 * H, mask=live, other=0.0).to(WORK)
    h_n = tl.load(kept + 3 * H, mask=live, other=0.0).to(WORK)
    last = tl.load(before + step * H + column, mask=live, other=0.0).to(WORK)
    d_output = tl.load(d_outputs + step * H + column, mask=live, other=0.0).to(WORK)
    for number in range(steps):
        valid = first + stride * number < length
        d_step = tl.where(valid, d_h + d_output, 0.0)
        d_n = d_step * (1.0 - z) * (1.0 - n * n)
        d_r = d_n * h_n * r * (1.0 - r)
        d_z = d_step * (last - n) * z * (1.0 - z)
        d_hn = d_n * r
        d_h = tl.where(valid, d_step * z, d_h)
        sum_r += d_r
        sum_z += d_z
        sum_n += d_n
        sum_h += d_hn
        left = sums + (number % 2) * half + part * ROWS * WIDTH
        if CHUNK == 0:
            product = tl.dot(d_r.to(dtype), w_r)
            product = tl.dot(d_z.to(dtype), w_z, product)
            product = tl.dot(d_hn.to(dtype), w_n, product)
            tl.store(left + every, product.to(dtype))
        else:
            for start in range(0, WIDTH, CHUNK):
                some = start + tl.arange(0, CHUNK)[None, :]
                fits = (mine[:, None] < H) & (some < H)
                w_r = tl.load(own + some, mask=fits, other=0.0)
                w_z = tl.load(own + H * H + some, mask=fits, other=0.0)
                w_n = tl.load(own + 2 * H * H + some, mask=fits, other=0.0)
                product = tl.zeros((ROWS, CHUNK), WORK)
                product = tl.dot(d_r.to(dtype), w_r, product, input_precision=PRECISION, out_dtype=WORK)
                product = tl.dot(d_z.to(dtype), w_z, product, input_precision=PRECISION, out_dtype=WORK)
                product = tl.dot(d_hn.to(dtype), w_n, product, input_precision=PRECISION, out_dtype=WORK)
                tl.store(left + some, product.to(dtype))
        _arrive(counter)
        written = step * 3 * H + column
        tl.store(d_projected + written, d_r.to(dtype), mask=live)
        tl.store(d_projected + written + H, d_z.to(dtype), mask=live)
        tl.store(d_projected + written + 2 * H, d_n.to(dtype), mask=live)
        tl.store(d_recurrent + written, d_r.to(dtype), mask=live)
        tl.store(d_recurrent + written + H, d_z.to(dtype), mask=live)
        tl.store(d_recurrent + written + 2 * H, d_hn.to(dtype), mask=live)
        step += tl.where(number + 1 < steps, stride * DIRECTIONS, 0)
        kept = gates + step * 4 * H + column
        r = tl.load(kept, mask=live, other=0.0).to(WORK)
        z = tl.load(kept + H, mask=live, other=0.0).to(WORK)
        n = tl.load(kept + 2 * H, mask=live, other=0.0).to(WORK)
        h_n = tl.load(kept + 3 * H, mask=live, other=0.0).to(WORK)
        last = tl.load(before + step * H + column, mask=live, other=0.0).to(WORK)
        d_output = tl.load(d_outputs + step * H + column, mask=live, other=0.0).to(WORK)
        _meet(counter, (number + 1) * SLICES, BOUNDED)
        for other in tl.static_range(SLICES):
            theirs = sums + (number % 2) * half + other * ROWS * WIDTH + column
            d_h += tl.load(theirs, cache_modifier=".cg").to(WORK)
    tl.store(d_initial + ends, d_h.to(dtype), mask=live)
    own = d_bias + group * 4 * H + column
    tl.store(own, tl.sum(sum_r, 0)[None, :], mask=column < H)
    tl.store(own + H, tl.sum(sum_z, 0)[None, :], mask=column < H)
    tl.store(own + 2 * H, tl.sum(sum_n, 0)[None, :], mask=column < H)
    tl.store(own + 3 * H, tl.sum(sum_h, 0)[None, :], mask=column < H)
