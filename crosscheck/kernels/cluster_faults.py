"""Faults in the kernels of clusters, as changes of shared/kernels/gru_cluster.cu and gru_rows.cu."""

from dataclasses import dataclass

from crosscheck.faults.fault import TextChange
from crosscheck.kernels.layers import Case, Sizes

PROCESSORS = 16  # so few that the rows of a cluster take turns
TURNS = Case(Sizes(49, 3, 2, 256, "float16"))
NARROW = Case(Sizes(3, 3, 1, 256, "float16"))  # in blocks of 32 units
FEW = Case(Sizes(3, 3, 2, 256, "float16"))  # in blocks of 64, by the copy engine
SHARED = Case(Sizes(33, 3, 1, 256, "float16"))  # three groups of rows, whose steps two clusters share
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
                 (("if (step > from) wait(barriers + now * 8, (step + number - 1) / 2 % 2);", ""),), NARROW,
                 only_on_cpu=True),
    ClusterFault("cluster-forward-old-phase", "blocks wait for the states of two steps before",
                 (("now * 8, (step + number - 1)", "now * 8, 1 - (step + number - 1)"),), NARROW, only_on_cpu=True),
    ClusterFault("cluster-forward-one-buffer", "new states overwrite those that are still multiplied",
                 (("factors + now * sizeof", "factors + 0 * sizeof"),
                  ("auto& eight = memory.states[next]", "auto& eight = memory.states[0]")), NARROW,
                 only_on_cpu=True),
    ClusterFault("cluster-no-meeting-of-a-warp", "a warp sends states before its threads have made them",
                 (("      meet_in_warp();\n", ""),), NARROW, only_on_cpu=True),
    ClusterFault("cluster-engine-to-one-block", "the copy engine gives all states to the first block",
                 (("8 * 2>(in_block(from, lane)", "8 * 2>(in_block(from, 0)"),), FEW, only_on_cpu=True),
    ClusterFault("cluster-own-states-untold", "a block does not count its own states, for which it waits",
                 (("        arrived(barrier, 8 * PAIRS * 8 * 2);\n", ""),), FEW, only_on_cpu=True),
    ClusterFault("cluster-stale-states", "the states before the last ones are multiplied",
                 (("factors + now * sizeof", "factors + next * sizeof"),), FEW),
    ClusterFault("cluster-half-dropped", "one half of the products is left out",
                 (("sums[gate][0] += others.x, ", ""),), NARROW),
    ClusterFault("cluster-own-half-twice", "a warp adds what it gave away",
                 (("halves[1 - half][span]", "halves[half][span]"),), NARROW),
    ClusterFault("cluster-no-meeting", "a warp reads the other half before it is there",
                 (("      meet_in_pairs(span);\n", ""),), NARROW, only_on_cpu=True),
    ClusterFault("cluster-biases-exchanged", "the biases of the reset and the update gate change places",
                 (("memory.bias[0][slot", "memory.bias[1 ][slot"), ("memory.bias[1][slot", "memory.bias[0 ][slot")),
                 FEW),
    ClusterFault("cluster-candidate-bias-dropped", "the candidate's state has no bias",
                 ((" + memory.bias[3][slot + i]", ""),), NARROW),
    ClusterFault("cluster-reset-before-product", "the bias of the candidate's state is not reset",
                 (("memory.bias[2][slot + i] + r * h_n", "memory.bias[2][slot + i] + h_n"),), NARROW),
    ClusterFault("cluster-forward-lengths-one-too-long", "the first padded step counts as valid",
                 (("step : step) < memory.lengths[own_row", "step : step) <= memory.lengths[own_row"),), FEW),
    ClusterFault("cluster-padding-has-outputs", "outputs after the end are not zero",
                 (("valid ? made[pair] : 0", "made[pair]"),), FEW),
    ClusterFault("cluster-forward-not-reversed", "the second direction reads from the start",
                 (("(first_row + own_row) * places + (beginning + step * onward)",
                   "(first_row + own_row) * places + (step * directions + direction)"),), FEW),
    ClusterFault("cluster-weights-of-one-direction", "both directions multiply by the weights of the first",
                 (("(size_t)(direction * 3 + gate) * H + column", "(size_t)gate * H + column"),), FEW),
    ClusterFault("cluster-state-rounded", "the state itself is kept in the dtype of the layer",
                 (("      out[pair] = valid",
                   "      h.of[2 * pair] = low(made[pair]), h.of[2 * pair + 1] = high(made[pair]);\n"
                   "      out[pair] = valid"),), LASTING),
    ClusterFault("cluster-state-after-instead-of-before", "the backward pass gets the states after the steps",
                 (("(before + at + pair * apart) = last", "(before + at + pair * apart) = made"),), NARROW),
    ClusterFault("cluster-rows-no-wait", "blocks multiply many rows before the states of the others are there",
                 (("    if (step) wait(barriers + now * 8, parity_of(message));\n", ""),), only_on_cpu=True),
    ClusterFault("cluster-rows-old-phase", "blocks wait for the many states of three turns before",
                 (("wait(barriers + now * 8, parity_of(", "wait(barriers + now * 8, 1 - parity_of("),),
                 only_on_cpu=True),
    ClusterFault("cluster-rows-no-wait-to-send", "states overwrite those of the turn before that others still multiply",
                 (("while (!is_there(barriers + (message + 1) % BUFFERS * 8, parity_of(message + 1))) {}", "{}"),),
                 only_on_cpu=True),
    ClusterFault("cluster-rows-stale-states", "the states of the turn before are multiplied",
                 (("first_states + now * sizeof", "first_states + (now + TURNS) % BUFFERS * sizeof"),)),
    ClusterFault("cluster-sent-before-made", "a warp sends states before the others have made them",
                 (("      wait_for_makers(TOLD);\n", ""), ("      if (step + 1 < steps) made_by(TOLD);\n", "")),
                 only_on_cpu=True),
    ClusterFault("cluster-many-to-one-block", "the copy engine gives all states to the first block",
                 (("send_by_engine<SENT>(in_block(from, lane)", "send_by_engine<SENT>(in_block(from, 0)"),),
                 only_on_cpu=True),
    ClusterFault("cluster-own-rows-untold", "a block does not count its own states, for which it waits",
                 (("        arrived(barrier, SENT);\n", "        {}\n"),), only_on_cpu=True),
    ClusterFault("cluster-products-unfinished", "sums are read before the tensor cores have made them",
                 (("    finish_products(products);\n", ""),), only_on_cpu=True),
    ClusterFault("cluster-no-meeting-of-sums", "threads read sums before others have left them",
                 (("    __syncthreads();\n    if (warp < MAKERS) {", "    if (warp < MAKERS) {"),), only_on_cpu=True),
    ClusterFault("cluster-sums-overwritten", "sums overwrite those of the turn before that are still read",
                 (("    if (TURNS > 1) __syncthreads();", "   "),), only_on_cpu=True),
    ClusterFault("cluster-sums-of-other-units", "sums are left in another order than they are read in",
                 (("place_in_row(of, column + i / 2 * 8)", "column + i / 2 * 8"),)),
    ClusterFault("cluster-shared-slice-dropped", "a product by weights in shared memory is left out",
                 (("for (int slice = 0; slice < SHARED_SLICES", "for (int slice = 1; slice < SHARED_SLICES"),)),
    ClusterFault("cluster-rows-biases-exchanged", "the biases of the reset and the update gate change places",
                 (("of(biases[0])", "of(biases[1 ])"), ("of(biases[1])", "of(biases[0 ])"))),
    ClusterFault("cluster-rows-reset-before-product", "the bias of the candidate's state is not reset",
                 (("of(biases[2]) + r * h_n", "of(biases[2]) + h_n"),)),
    ClusterFault("cluster-rows-lengths-one-too-long", "the first padded step counts as valid",
                 (("time < memory.lengths[turn", "time <= memory.lengths[turn"),)),
    ClusterFault("cluster-rows-padding-has-outputs", "outputs after the end are not zero",
                 (("valid ? made : 0", "made"),)),
    ClusterFault("cluster-rows-not-reversed", "the second direction reads many rows from the start",
                 (("* places + (beginning + step * onward);  // of the first row",
                   "* places + (step * directions + direction);"),)),
    ClusterFault("cluster-rows-weights-of-one-direction", "both directions multiply by the weights of the first",
                 (("weight + (size_t)direction * 3 * H * H", "weight"),)),
    ClusterFault("cluster-rows-state-after", "the backward pass gets the states of many rows after the steps",
                 (("(before + at) = last", "(before + at) = made"),)),
    ClusterFault("cluster-backward-no-wait", "sums are added before they are there",
                 (("      wait(barriers + sums % 2 * 8, sums / 2 % 2);\n", ""),), FEW, only_on_cpu=True),
    ClusterFault("cluster-partial-sum-dropped", "the sums of the first block are not added",
                 (("for (int of = 0; of < BLOCKS; of++)", "for (int of = 1; of < BLOCKS; of++)"),), FEW),
    ClusterFault("cluster-partial-sums-in-one-place", "all blocks leave their sums in the place of the first",
                 (("memory.sums[0][block][eighth]", "memory.sums[0][0][eighth]"),), FEW),
    ClusterFault("cluster-no-meeting-of-slopes", "a warp multiplies slopes before they are there",
                 (("      memory.own[threadIdx.x] = d_h;\n      __syncthreads();\n",
                   "      memory.own[threadIdx.x] = d_h;\n"),), FEW, only_on_cpu=True),
    ClusterFault("cluster-slopes-in-one-buffer", "slopes overwrite those that a slow warp still multiplies",
                 (("memory.slopes[(step + number) % 2][(gate", "memory.slopes[0][(gate"),
                  ("factors + buffer * sizeof(memory.slopes[0])", "factors"),
                  ("memory.slopes[buffer][(gate", "memory.slopes[0][(gate")), NARROW, only_on_cpu=True),
    ClusterFault("cluster-reset-gate-slope", "the slope of the reset gate lacks 1 - r",
                 (("d_n * h_n * r * (1.f - r)", "d_n * h_n * r"),), FEW),
    ClusterFault("cluster-candidate-not-reset", "the gradient of the candidate is not reset before its product",
                 (("slope[2][i] = d_n * r;", "slope[2][i] = d_n;"),), FEW),
    ClusterFault("cluster-backward-lengths-one-too-long", "the first padded step has gradients",
                 (("step : steps - 1 - step) < length;", "step : steps - 1 - step) <= length;"),), FEW),
    ClusterFault("cluster-padding-stops-gradients", "no gradient passes through padded steps",
                 (("if (valid) d_h.of[mine] = d_step * z;", "d_h.of[mine] = d_step * z;"),), FEW),
    ClusterFault("cluster-gates-in-wrong-order", "gradients of the reset and the update gate change places",
                 (("(d_projected + of_gates + min(gate, 2) * H)",
                   "(d_projected + of_gates + (gate < 2 ? 1 - gate : 2) * H)"),), FEW),
    ClusterFault("cluster-candidate-kept-unreset", "the gradient of the candidate is not reset for the weights",
                 (("gate != 3) *(Owned*)(d_recurrent + of_gates + gate * H)",
                   "gate != 2) *(Owned*)(d_recurrent + of_gates + min(gate, 2) * H)"),), FEW),
    ClusterFault("cluster-bias-sums-exchanged", "the biases of the candidate get each other's gradients",
                 (("gate < 2 ? gate : 5 - gate;", "gate;"),), FEW),
    ClusterFault("cluster-bias-sums-of-one-direction", "both directions leave the sums of their biases in one place",
                 (("d_bias[(((size_t)direction * groups +", "d_bias[((0 * groups +"),), FEW),
    ClusterFault("cluster-forward-goes-on-at-once", "a cluster goes on with states that another has not left yet",
                 (("    if (from) wait_for_left(counters + ticket);\n", ""),), SHARED, only_on_cpu=True),
    ClusterFault("cluster-goes-on-with-its-own", "a cluster goes on with the states that it left itself",
                 (("carried + (size_t)(ticket - 1) * ROWS", "carried + (size_t)ticket * ROWS"),), SHARED),
    ClusterFault("cluster-begins-again", "a cluster goes on with the initial states",
                 (("        from ? make_uint4(", "        false ? make_uint4("),), SHARED),
    ClusterFault("cluster-counts-anew", "a cluster counts its messages from zero for every group of rows",
                 (("    sent += to - from - 1;\n", ""),), SHARED, only_on_cpu=True),
    ClusterFault("cluster-own-state-begins-again", "a thread goes on with an initial state of its own",
                 (("= from ? those[0] : low", "= low"),), SHARED),
    ClusterFault("cluster-backward-goes-on-at-once", "a cluster goes on with gradients that another has not left yet",
                 (("      wait_for_left(counters + ticket);\n", ""),), SHARED, only_on_cpu=True),
    ClusterFault("cluster-told-before-left", "a cluster tells that its gradients are there before it leaves them",
                 (("      leave(counters + 1 + ticket);\n", ""),
                  ("    if (to < steps) {\n      Floats*",
                   "    if (to < steps) {\n      leave(counters + 1 + ticket);\n      Floats*")),
                 SHARED, only_on_cpu=True),
    ClusterFault("cluster-left-sums-dropped", "the sums for the biases of the steps before are left out",
                 ((" = left[gate * THREADS];", " = Floats();"),), SHARED),
)
# fmt: on
