"""Faults in the kernels of clusters, as changes of shared/kernels/gru_cluster.cu."""

from dataclasses import dataclass

from crosscheck.faults.fault import TextChange
from crosscheck.kernels.layers import Case, Sizes

PROCESSORS = 16  # so few that the rows of a cluster take turns
TURNS = Case(Sizes(17, 3, 2, 256, "float16"))
NARROW = Case(Sizes(3, 3, 1, 256, "float16"))  # in blocks of 32 units; while others take turns, what was sent arrives
BY_ENGINE = Case(Sizes(3, 3, 2, 256, "float16"))  # in blocks of 64
# A step moves the state by less than its numbers in two bytes are apart: rounded at each, it stands still.
LASTING = Case(Sizes(2, 96, 1, 256, "float16"), keep=8.0, judged=("outputs", "final"))


@dataclass(frozen=True)
class ClusterFault:
    """Each change replaces a text that occurs once.

    For a CPU only are those that show on a GPU by chance, and those for which it could wait for ever.
    """

    name: str
    what: str
    changes: tuple[TextChange, ...]
    case: Case = TURNS
    only_on_cpu: bool = False


# Short rows are easier to scan.
# fmt: off
CLUSTER_FAULTS = (
    ClusterFault("cluster-forward-no-wait", "blocks go on before the states of the others are there",
                 (("if (step) wait(here + now * 8, (step - 1) / 2 % 2);", ""),), NARROW, only_on_cpu=True),
    ClusterFault("cluster-forward-old-phase", "blocks wait for the states of two steps before",
                 (("(step - 1) / 2 % 2);", "1 - (step - 1) / 2 % 2);"),), only_on_cpu=True),
    ClusterFault("cluster-forward-one-buffer", "new states overwrite those that are still multiplied",
                 (("factors + (turn * 2 + now)", "factors + turn * 2"),
                  ("auto& eight = memory.states[turn][next]", "auto& eight = memory.states[turn][0]")), NARROW,
                 only_on_cpu=True),
    ClusterFault("cluster-no-meeting-of-a-warp", "a warp sends states before its threads have made them",
                 (("      meet_in_warp();\n", ""),), NARROW, only_on_cpu=True),
    ClusterFault("cluster-engine-to-one-block", "the copy engine gives all states to the first block",
                 (("8 * 2>(in_block(from, lane)", "8 * 2>(in_block(from, 0)"),), BY_ENGINE, only_on_cpu=True),
    ClusterFault("cluster-own-states-untold", "a block does not count its own states, for which it waits",
                 (("        arrived(barrier, 8 * PAIRS * 8 * 2);\n", ""),), BY_ENGINE, only_on_cpu=True),
    ClusterFault("cluster-stale-states", "the states before the last ones are multiplied",
                 (("factors + (turn * 2 + now)", "factors + (turn * 2 + 1 - now)"),)),
    ClusterFault("cluster-states-of-other-rows", "the rows of the first turn are multiplied at every turn",
                 (("factors + (turn * 2 + now)", "factors + now"),)),
    ClusterFault("cluster-half-dropped", "one half of the products is left out",
                 (("sums[gate][0] += others.x, ", ""),), NARROW),
    ClusterFault("cluster-own-half-twice", "a warp adds what it gave away",
                 (("halves[1 - half][span]", "halves[half][span]"),), NARROW),
    ClusterFault("cluster-no-meeting", "a warp reads the other half before it is there",
                 (("      meet_in_pairs(span);\n", ""),), NARROW, only_on_cpu=True),
    ClusterFault("cluster-biases-exchanged", "the biases of the reset and the update gate change places",
                 (("memory.bias[0][slot", "memory.bias[1 ][slot"), ("memory.bias[1][slot", "memory.bias[0 ][slot"))),
    ClusterFault("cluster-candidate-bias-dropped", "the candidate's state has no bias",
                 ((" + memory.bias[3][slot + i]", ""),)),
    ClusterFault("cluster-reset-before-product", "the bias of the candidate's state is not reset",
                 (("memory.bias[2][slot + i] + r * h_n", "memory.bias[2][slot + i] + h_n"),)),
    ClusterFault("cluster-forward-lengths-one-too-long", "the first padded step counts as valid",
                 (("steps - 1 - step : step) < memory", "steps - 1 - step : step) <= memory"),)),
    ClusterFault("cluster-padding-has-outputs", "outputs after the end are not zero",
                 (("valid ? made[pair] : 0", "made[pair]"),)),
    ClusterFault("cluster-forward-not-reversed", "the second direction reads from the start",
                 (("(beginning + step * onward)", "(step * directions + direction)"),)),
    ClusterFault("cluster-weights-of-one-direction", "both directions multiply by the weights of the first",
                 (("(size_t)(direction * 3 + gate) * H + column", "(size_t)gate * H + column"),)),
    ClusterFault("cluster-state-rounded", "the state itself is kept in the dtype of the layer",
                 (("      out[pair] = valid",
                   "      h.of[2 * pair] = low(made[pair]), h.of[2 * pair + 1] = high(made[pair]);\n"
                   "      out[pair] = valid"),), LASTING),
    ClusterFault("cluster-state-after-instead-of-before", "the backward pass gets the states after the steps",
                 (("(before + at + pair * apart) = last", "(before + at + pair * apart) = made"),)),
    ClusterFault("cluster-backward-no-wait", "sums are added before they are there",
                 (("    wait(barriers + step % 2 * 8, step / 2 % 2);\n", ""),), only_on_cpu=True),
    ClusterFault("cluster-partial-sum-dropped", "the sums of the first block are not added",
                 (("for (int from = 0; from < BLOCKS; from++)", "for (int from = 1; from < BLOCKS; from++)"),)),
    ClusterFault("cluster-partial-sums-in-one-place", "all blocks leave their sums in the place of the first",
                 (("memory.sums[0][block][eighth]", "memory.sums[0][0][eighth]"),)),
    ClusterFault("cluster-no-meeting-of-slopes", "a warp multiplies slopes before they are there",
                 (("    memory.own[threadIdx.x] = d_h;\n    __syncthreads();\n",
                   "    memory.own[threadIdx.x] = d_h;\n"),), only_on_cpu=True),
    ClusterFault("cluster-slopes-in-one-buffer", "slopes overwrite those that a slow warp still multiplies",
                 (("memory.slopes[step % 2][(gate", "memory.slopes[0][(gate"),
                  ("factors + buffer * sizeof(memory.slopes[0])", "factors"),
                  ("memory.slopes[buffer][(gate", "memory.slopes[0][(gate")), NARROW, only_on_cpu=True),
    ClusterFault("cluster-reset-gate-slope", "the slope of the reset gate lacks 1 - r",
                 (("d_n * h_n * r * (1.f - r)", "d_n * h_n * r"),)),
    ClusterFault("cluster-candidate-not-reset", "the gradient of the candidate is not reset before its product",
                 (("slope[2][i] = d_n * r;", "slope[2][i] = d_n;"),)),
    ClusterFault("cluster-backward-lengths-one-too-long", "the first padded step has gradients",
                 (("step : steps - 1 - step) < length;", "step : steps - 1 - step) <= length;"),)),
    ClusterFault("cluster-padding-stops-gradients", "no gradient passes through padded steps",
                 (("if (valid) d_h.of[mine] = d_step * z;", "d_h.of[mine] = d_step * z;"),)),
    ClusterFault("cluster-gates-in-wrong-order", "gradients of the reset and the update gate change places",
                 (("(d_projected + of_gates + min(gate, 2) * H)",
                   "(d_projected + of_gates + (gate < 2 ? 1 - gate : 2) * H)"),)),
    ClusterFault("cluster-candidate-kept-unreset", "the gradient of the candidate is not reset for the weights",
                 (("gate != 3) *(Owned*)(d_recurrent + of_gates + gate * H)",
                   "gate != 2) *(Owned*)(d_recurrent + of_gates + min(gate, 2) * H)"),)),
    ClusterFault("cluster-bias-sums-exchanged", "the biases of the candidate get each other's gradients",
                 (("gate < 2 ? gate : 5 - gate;", "gate;"),)),
    ClusterFault("cluster-bias-sums-of-one-direction", "both directions leave the sums of their biases in one place",
                 (("d_bias[((size_t)cluster * 4", "d_bias[((size_t)(cluster % groups) * 4"),)),
)
# fmt: on
