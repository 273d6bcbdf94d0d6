"""Faults in the kernels of a GRU layer, as changes of their source, each with the layer that shows it."""

from dataclasses import dataclass

from crosscheck.faults.fault import TextChange
from crosscheck.kernels.layers import Case, Sizes

# Two groups a direction, and groups of several programs: weights kept on the chip, and streamed.
KEPT = Case(Sizes(19, 4, 2, 40, "float16"))
STREAMED = Case(Sizes(19, 4, 2, 70, "float32"))
# The state is kept for some 400 steps; what the gates in two bytes leave of 1 - z says little of gradients.
LASTING = Case(Sizes(7, 96, 1, 17, "float16"), keep=6.0, judged=("outputs", "final"))


@dataclass(frozen=True)
class KernelFault:
    """Each change replaces a text that occurs once in shared/kernels/gru.py.

    Only hardware shows some: the interpreter multiplies float32 with all its digits.
    """

    name: str
    what: str
    changes: tuple[TextChange, ...]
    case: Case = KEPT
    only_on_gpu: bool = False


# Short rows are easier to scan.
# fmt: off
WAITS = (
    KernelFault("forward-no-wait", "programs go on before their group has swapped its states",
                (("        _meet(counter, (number + 1) * SLICES, BOUNDED)\n        states =", "        states ="),)),
    KernelFault("forward-one-too-few", "programs wait for all of the group but one",
                (("* SLICES, BOUNDED)\n        states", "* SLICES - 1, BOUNDED)\n        states"),)),
    KernelFault("forward-arrives-first", "a program says that its state is there before it is",
                (("        tl.store(ring + ((number + 1) % 2) * half + swapped + column, h.to(dtype))\n"
                  "        _arrive(counter)\n",
                  "        _arrive(counter)\n"
                  "        tl.store(ring + ((number + 1) % 2) * half + swapped + column, h.to(dtype))\n"),)),
    KernelFault("forward-one-buffer", "the new states overwrite those that others still read",
                (("ring + (number % 2) * half", "ring"), ("ring + ((number + 1) % 2) * half", "ring"))),
    KernelFault("one-counter", "all groups count on the counter of the first",
                (("counters + (1 + group) * APART", "counters + APART"),)),
    KernelFault("backward-no-wait", "partial sums are read before they are there",
                (("        _meet(counter, (number + 1) * SLICES, BOUNDED)\n        for other", "        for other"),)),
    KernelFault("backward-one-too-few", "programs wait for the partial sums of all but one",
                (("* SLICES, BOUNDED)\n        for other", "* SLICES - 1, BOUNDED)\n        for other"),)),
    KernelFault("backward-one-buffer", "new partial sums overwrite those that others still read",
                (("left = sums + (number % 2) * half", "left = sums"),
                 ("theirs = sums + (number % 2) * half", "theirs = sums"))),
)
BUFFERS = (
    KernelFault("forward-stale-buffer", "the state before the last one is multiplied",
                (("ring + (number % 2) * half", "ring + ((number + 1) % 2) * half"),)),
    KernelFault("forward-slice-shifted", "new states are swapped one column to the right of theirs",
                (("((number + 1) % 2) * half + swapped + column",
                  "((number + 1) % 2) * half + swapped + (column + 1) % WIDTH"),)),
    KernelFault("forward-chunk-dropped", "the first chunk of a product is left out",
                (("(0, WIDTH, CHUNK):\n                some = start + tl.arange(0, CHUNK)\n",
                  "(CHUNK, WIDTH, CHUNK):\n                some = start + tl.arange(0, CHUNK)\n"),),
                STREAMED),
    KernelFault("backward-chunk-dropped", "the partial sums of the first chunk are left out",
                (("(0, WIDTH, CHUNK):\n                some = start + tl.arange(0, CHUNK)[None, :]",
                  "(CHUNK, WIDTH, CHUNK):\n                some = start + tl.arange(0, CHUNK)[None, :]"),),
                STREAMED),
    KernelFault("partial-sum-dropped", "the partial sums of the first program are not added",
                (("tl.static_range(SLICES)", "tl.static_range(1, SLICES)"),)),
    KernelFault("partial-sums-in-one-place", "all programs leave their partial sums in the first one's place",
                (("* half + part * ROWS * WIDTH", "* half"),)),
    KernelFault("bias-sums-of-one-direction", "both directions leave the sums of their biases in one place",
                (("own = d_bias + group * 4 * H", "own = d_bias + (group % groups) * 4 * H"),)),
    KernelFault("weights-of-one-direction", "the second direction multiplies by the weights of the first",
                (("own = weight + direction * 3 * H * H + column * H", "own = weight + column * H"),)),
    KernelFault("next-step-of-other-direction", "the next step's inputs are those of the other direction",
                (("stride * DIRECTIONS, 0)\n        read", "stride, 0)\n        read"),)),
)
ARITHMETIC = (
    KernelFault("gates-exchanged", "the reset and the update gate change places",
                (("r = _sigmoid(x_r + h_r + b_r)", "r = _sigmoid(x_z + h_z + b_z)"),
                 ("z = _sigmoid(x_z + h_z + b_z)", "z = _sigmoid(x_r + h_r + b_r)"))),
    KernelFault("reset-before-product", "the bias of the candidate's state is not reset",
                (("x_n + b_n + r * h_n", "x_n + b_n + b_h + r * (h_n - b_h)"),)),
    KernelFault("candidate-bias-dropped", "the candidate's state has no bias", (("        h_n += b_h\n", ""),)),
    KernelFault("initial-state-dropped", "every example starts from zeros",
                (("h = tl.load(initial + ends, mask=live, other=0.0).to(WORK)",
                  "h = tl.zeros((ROWS, COLUMNS), WORK)"),)),
    KernelFault("state-rounded", "the state itself is kept in the dtype of the layer",
                (("h = tl.where(valid, n + z * (h - n), h)",
                  "h = tl.where(valid, n + z * (h - n), h).to(dtype).to(WORK)"),), LASTING),
    KernelFault("tanh-coefficient", "a coefficient of the hyperbolic tangent has a wrong digit",
                (("1.33314422036e-1", "1.43314422036e-1"),), STREAMED),
    KernelFault("one-product-of-tf32", "float32 is multiplied in TF32",
                (("h_n = tl.dot(state, w_n, h_n, input_precision=PRECISION, out_dtype=WORK)",
                  'h_n = tl.dot(state, w_n, h_n, input_precision="tf32", out_dtype=WORK)'),),
                STREAMED, only_on_gpu=True),
    KernelFault("state-after-instead-of-before", "the backward pass gets the states after the steps",
                (("tl.store(before + step * H + column, last", "tl.store(before + step * H + column, h"),)),
    KernelFault("wrong-gate-kept", "the backward pass gets the candidate in place of its recurrent part",
                (("tl.store(kept + 3 * H, h_n", "tl.store(kept + 3 * H, n"),)),
    KernelFault("reset-gate-slope", "the slope of the reset gate lacks 1 - r",
                (("d_n * h_n * r * (1.0 - r)", "d_n * h_n * r"),)),
    KernelFault("candidate-not-reset", "the gradient of the candidate is not reset before its product",
                (("product = tl.dot(d_hn.to(dtype), w_n, product)\n            tl.store",
                  "product = tl.dot(d_n.to(dtype), w_n, product)\n            tl.store"),)),
    KernelFault("candidate-kept-unreset", "the gradient of the candidate is not reset for the weights",
                (("tl.store(d_recurrent + written + 2 * H, d_hn", "tl.store(d_recurrent + written + 2 * H, d_n"),)),
    KernelFault("final-gradient-dropped", "the gradient of the final state is left out",
                (("d_h = tl.load(d_final + ends, mask=live, other=0.0).to(WORK)",
                  "d_h = tl.zeros((ROWS, COLUMNS), WORK)"),)),
)
ORDER = (
    KernelFault("forward-lengths-one-too-long", "the first padded step counts as valid",
                (("number < length\n        last", "number <= length\n        last"),)),
    KernelFault("padding-has-outputs", "outputs after the end are not zero",
                (("tl.where(valid, h, 0.0).to(dtype)", "h.to(dtype)"),)),
    KernelFault("forward-not-reversed", "the second direction reads from the start",
                (("first = tl.where(direction == 0, 0, steps - 1)", "first = 0"),
                 ("stride = tl.where(direction == 0, 1, -1)", "stride = 1"))),
    KernelFault("final-state-of-the-longest-only", "the final state of a shorter example is zero",
                (("(final + ends, h.to(dtype)", "(final + ends, tl.where(length < steps, 0.0, h).to(dtype)"),)),
    KernelFault("backward-lengths-one-too-long", "the first padded step has gradients",
                (("number < length\n        d_step", "number <= length\n        d_step"),)),
    KernelFault("padding-stops-gradients", "no gradient passes through padded steps",
                (("d_h = tl.where(valid, d_step * z, d_h)", "d_h = d_step * z"),)),
    KernelFault("backward-not-reversed", "gradients of the second direction start at its first step",
                (("first = tl.where(direction == 0, steps - 1, 0)", "first = steps - 1"),
                 ("stride = tl.where(direction == 0, -1, 1)", "stride = -1"))),
)
# fmt: on

KERNEL_FAULTS = (*WAITS, *BUFFERS, *ARITHMETIC, *ORDER)

# Not faults: programs that pause, by their multiprocessor's clock, before others can read what they write.
PAUSE = """@triton.jit
def _pause():
    clock = tl.inline_asm_elementwise("mov.u32 $0, %clock;", "=r", [], dtype=tl.int32, is_pure=False, pack=1)
    mixed = (clock * 1103515245) >> 13
    time = tl.where((mixed & 7) == 0, (mixed >> 3) & 2047, 0)
    sleep: tl.constexpr = "nanosleep.u32 $1; mov.u32 $0, $1;"
    tl.inline_asm_elementwise(sleep, "=r,r", [time], dtype=tl.int32, is_pure=False, pack=1)


"""
DELAYS: tuple[TextChange, ...] = (
    ("@triton.jit\ndef _arrive(counter):\n", f"{PAUSE}@triton.jit\ndef _arrive(counter):\n"),
    ('    tl.atomic_add(counter, 1, sem="release", scope="gpu")\n',
     '    _pause()\n    tl.atomic_add(counter, 1, sem="release", scope="gpu")\n    _pause()\n'),
    ("        last = h\n", "        last = h\n        _pause()\n"),
    ("        sum_h += d_hn\n", "        sum_h += d_hn\n        _pause()\n"),
)  # fmt: skip
NEVER_COMPLETE: tuple[TextChange, ...] = (
    ("LONGEST_WAIT = tl.constexpr(2**28)", "LONGEST_WAIT = tl.constexpr(2**12)"),
    ("* SLICES, BOUNDED)\n        states", "* SLICES + 1, BOUNDED)\n        states"),
)
