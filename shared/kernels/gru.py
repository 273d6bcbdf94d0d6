"""All steps of a GRU layer as one launch forward and one backward, in Triton, for both frameworks.

A group of programs owns some rows of the batch in one direction. Each of its programs keeps a slice of W_h on the chip
for all steps; after every step the group swaps one array through the GPU's L2 cache and meets at a counter. A program
finds its place by a ticket, so that groups fill up in the order in which programs start: whatever else runs on the
GPU, a group that waits waits for programs that come next.
"""

from dataclasses import dataclass

import triton
import triton.language as tl

APART = tl.constexpr(32)  # int32 words between two counters, so that no two share a line of the cache
SCALARS = ["batch_size", "steps", "groups"]


@dataclass(frozen=True)
class Plan:
    """How a launch is cut: `rows` of the batch a group, `columns` of the state a program; `width` is H, padded."""

    batch_size: int
    steps: int
    directions: int
    hidden_size: int
    width: int
    rows: int
    columns: int
    warps: int  # of a program

    @property
    def slices(self) -> int:
        """Programs in a group."""
        return self.width // self.columns

    @property
    def groups(self) -> int:
        """Groups in one direction."""
        return -(-self.batch_size // self.rows)

    @property
    def programs(self) -> int:
        """All of the launch."""
        return self.directions * self.groups * self.slices

    @property
    def counters(self) -> int:
        """int32 words that must be zero before the launch: the ticket, then a counter a group."""
        return (1 + self.directions * self.groups) * APART.value

    @property
    def states(self) -> tuple[int, ...]:
        """The shape of the two states that forward programs swap."""
        return 2, self.directions * self.groups, self.rows, self.width

    @property
    def partial_sums(self) -> tuple[int, ...]:
        """The shape of the sums that backward programs swap."""
        return 2, self.directions * self.groups, self.slices, self.rows, self.width

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The kernel's arguments that vary without being compiled for."""
        return self.batch_size, self.steps, self.groups

    @property
    def constants(self) -> dict[str, int]:
        """What the kernel is compiled for."""
        return {
            "DIRECTIONS": self.directions,
            "H": self.hidden_size,
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "WIDTH": self.width,
            "WIDE": self.batch_size * self.steps * self.directions * 4 * self.hidden_size >= 2**31,
        }


# Rows, columns and warps, in the order of the trials: the first of which all programs fit on the GPU, or the last.
CUTS = {
    "forward": {256: ((16, 32, 4), (16, 64, 4)), 512: ((16, 32, 4), (16, 64, 8), (64, 32, 8))},
    "backward": {256: ((16, 32, 4), (16, 64, 4)), 512: ((16, 32, 4), (16, 64, 8), (32, 64, 8))},
}


def plan_for(way: str, batch_size: int, steps: int, directions: int, hidden_size: int, processors: int) -> Plan:
    """The fastest cut that was measured ("forward" or "backward") for a GPU with this many multiprocessors."""
    width = max(32, triton.next_power_of_2(hidden_size))
    cuts = next(cuts for largest, cuts in CUTS[way].items() if width <= largest)
    plans = [
        Plan(batch_size, steps, directions, hidden_size, width, rows, min(columns, width), warps)
        for rows, columns, warps in cuts
    ]
    return next((plan for plan in plans if plan.programs <= processors), plans[-1])


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x):
    return 2.0 * _sigmoid(2.0 * x) - 1.0


@triton.jit
def _arrive(counter):
    tl.debug_barrier()  # after the stores of all threads
    tl.atomic_add(counter, 1, sem="release", scope="gpu")


@triton.jit
def _meet(counter, arrivals):
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
    WIDE: tl.constexpr,
    TRAINS: tl.constexpr,
):
    """projected (B, T, D, 3H) = W_i x, initial (D, B, H), weight (D, 3H, H), bias (D, 4H) float32, lengths (B,) int32
    -> outputs (B, T, D, H), final (D, B, H); if it TRAINS, also before (B, T, D, H), the states before each step, and
    gates (B, T, D, 4H): r, z, n and W_hn h + b_hn. Steps from an example's length on keep the state and put out zero.

    The biases are b_ir + b_hr, b_iz + b_hz, b_in and b_hn, the order of the gates.
    """
    SLICES: tl.constexpr = WIDTH // COLUMNS
    group, part, counter = _place(counters, SLICES)
    direction = group // groups
    local = tl.arange(0, ROWS)[:, None]
    row = (group % groups) * ROWS + local
    column = part * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    every = tl.arange(0, WIDTH)
    live = (row < batch_size) & (column < H)
    fits = (every[:, None] < H) & (column < H)
    dtype = outputs.dtype.element_ty

    own = weight + direction * 3 * H * H + every[:, None] + column * H
    w_r = tl.load(own, mask=fits, other=0.0)
    w_z = tl.load(own + H * H, mask=fits, other=0.0)
    w_n = tl.load(own + 2 * H * H, mask=fits, other=0.0)
    own = bias + direction * 4 * H + column
    b_r = tl.load(own, mask=column < H, other=0.0)
    b_z = tl.load(own + H, mask=column < H, other=0.0)
    b_n = tl.load(own + 2 * H, mask=column < H, other=0.0)
    b_h = tl.load(own + 3 * H, mask=column < H, other=0.0)

    ends = direction * batch_size * H + row * H + column
    h = tl.load(initial + ends, mask=live, other=0.0).to(tl.float32)
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
    x_r = tl.load(read, mask=live, other=0.0).to(tl.float32)
    x_z = tl.load(read + H, mask=live, other=0.0).to(tl.float32)
    x_n = tl.load(read + 2 * H, mask=live, other=0.0).to(tl.float32)
    for number in range(steps):
        _meet(counter, (number + 1) * SLICES)
        state = tl.load(ring + (number % 2) * half + swapped + every[None, :], cache_modifier=".cg")
        r = _sigmoid(x_r + tl.dot(state, w_r) + b_r)
        z = _sigmoid(x_z + tl.dot(state, w_z) + b_z)
        h_n = tl.dot(state, w_n) + b_h
        n = _tanh(x_n + b_n + r * h_n)
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
        x_r = tl.load(read, mask=live, other=0.0).to(tl.float32)
        x_z = tl.load(read + H, mask=live, other=0.0).to(tl.float32)
        x_n = tl.load(read + 2 * H, mask=live, other=0.0).to(tl.float32)
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
    WIDE: tl.constexpr,
):
    """Gradients of what `gru_forward` read, from those of outputs and final: d_projected (B, T, D, 3H); d_recurrent
    (B, T, D, H), of W_hn h + b_hn; d_bias (D, groups, 4H) float32, the sums of a group; d_initial (D, B, H).

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
    every = tl.arange(0, WIDTH)[None, :]
    live = (row < batch_size) & (column < H)
    fits = (mine[:, None] < H) & (every < H)
    dtype = d_projected.dtype.element_ty

    own = weight + direction * 3 * H * H + mine[:, None] * H + every
    w_r = tl.load(own, mask=fits, other=0.0)
    w_z = tl.load(own + H * H, mask=fits, other=0.0)
    w_n = tl.load(own + 2 * H * H, mask=fits, other=0.0)

    ends = direction * batch_size * H + row * H + column
    d_h = tl.load(d_final + ends, mask=live, other=0.0).to(tl.float32)
    length = tl.load(lengths + row, mask=row < batch_size, other=0)
    sums = partial_sums + group * SLICES * ROWS * WIDTH + local * WIDTH
    half = DIRECTIONS * groups * SLICES * ROWS * WIDTH
    sum_r = tl.zeros((ROWS, COLUMNS), tl.float32)
    sum_z = tl.zeros((ROWS, COLUMNS), tl.float32)
    sum_n = tl.zeros((ROWS, COLUMNS), tl.float32)
    sum_h = tl.zeros((ROWS, COLUMNS), tl.float32)

    first = tl.where(direction == 0, steps - 1, 0)
    stride = tl.where(direction == 0, -1, 1)
    if WIDE:
        step = (row.to(tl.int64) * steps + first) * DIRECTIONS + direction
    else:
        step = (row * steps + first) * DIRECTIONS + direction
    kept = gates + step * 4 * H + column
    r = tl.load(kept, mask=live, other=0.0).to(tl.float32)
    z = tl.load(kept + H, mask=live, other=0.0).to(tl.float32)
    n = tl.load(kept + 2 * H, mask=live, other=0.0).to(tl.float32)
    h_n = tl.load(kept + 3 * H, mask=live, other=0.0).to(tl.float32)
    last = tl.load(before + step * H + column, mask=live, other=0.0).to(tl.float32)
    d_output = tl.load(d_outputs + step * H + column, mask=live, other=0.0).to(tl.float32)
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
        product = tl.dot(d_r.to(dtype), w_r)
        product = tl.dot(d_z.to(dtype), w_z, product)
        product = tl.dot(d_hn.to(dtype), w_n, product)
        tl.store(sums + (number % 2) * half + part * ROWS * WIDTH + every, product.to(dtype))
        _arrive(counter)
        written = d_projected + step * 3 * H + column
        tl.store(written, d_r.to(dtype), mask=live)
        tl.store(written + H, d_z.to(dtype), mask=live)
        tl.store(written + 2 * H, d_n.to(dtype), mask=live)
        tl.store(d_recurrent + step * H + column, d_hn.to(dtype), mask=live)
        step += tl.where(number + 1 < steps, stride * DIRECTIONS, 0)
        kept = gates + step * 4 * H + column
        r = tl.load(kept, mask=live, other=0.0).to(tl.float32)
        z = tl.load(kept + H, mask=live, other=0.0).to(tl.float32)
        n = tl.load(kept + 2 * H, mask=live, other=0.0).to(tl.float32)
        h_n = tl.load(kept + 3 * H, mask=live, other=0.0).to(tl.float32)
        last = tl.load(before + step * H + column, mask=live, other=0.0).to(tl.float32)
        d_output = tl.load(d_outputs + step * H + column, mask=live, other=0.0).to(tl.float32)
        _meet(counter, (number + 1) * SLICES)
        for other in tl.static_range(SLICES):
            theirs = sums + (number % 2) * half + other * ROWS * WIDTH + column
            d_h += tl.load(theirs, cache_modifier=".cg").to(tl.float32)
    tl.store(d_initial + ends, d_h.to(dtype), mask=live)
    own = d_bias + group * 4 * H + column
    tl.store(own, tl.sum(sum_r, 0)[None, :], mask=column < H)
    tl.store(own + H, tl.sum(sum_z, 0)[None, :], mask=column < H)
    tl.store(own + 2 * H, tl.sum(sum_n, 0)[None, :], mask=column < H)
    tl.store(own + 3 * H, tl.sum(sum_h, 0)[None, :], mask=column < H)
