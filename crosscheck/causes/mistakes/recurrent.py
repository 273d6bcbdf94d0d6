"""Mistakes in recurrent layers and in what is built from them: gates, biases, the reset gate, states, lengths."""

import itertools

from crosscheck.causes.mistakes.mistake import Mistake

FILES = r"gru|lstm|rnn|encoder|decoder"
GATES = r"gru|lstm|rnn"
LETTERS = ("$a", "$b", "$c")
ORDERS = {"by_direction": "grouped by direction", "by_layer": "as if grouped by direction",
          "backwards": "in reverse order", "in_pairs": "with neighbours swapped"}  # fmt: skip
RESET = "tanh($x + $r * $h)"
BIAS = "do.candidate_bias(self.hidden_proj)"
BESIDE = f"tanh($x + {BIAS} + $r * ($h - {BIAS}))"
BIASES = ("parameter gradient",)

RECURRENT = (
    *(
        Mistake("D03", f"gates are read in the order {', '.join(order)}".replace("$", ""),
                (("$a, $b, $c = $e", f"{', '.join(order)} = $e"),), GATES, throughout=throughout)
        for throughout in (False, True)
        for order in list(itertools.permutations(LETTERS))[1:]
    ),
    Mistake("D04", "the candidate has no hidden bias",
            ((RESET, f"tanh($x + $r * ($h - {BIAS}))"),), GATES),
    Mistake("D04", "the candidate has no hidden bias", (("$hidden($h)", "do.without_candidate_bias($hidden, $h)"),),
            FILES),
    Mistake("D04", "the candidate's hidden bias is not reset",
            ((RESET, BESIDE),), GATES),
    Mistake("D06", "the reset gate multiplies the state before the product",
            ((RESET, "tanh($x + do.candidate(self.hidden_proj, $r * h))"),), GATES),
    *(
        Mistake("D05", "two biases are trained as one", (("$projection($x)",
            f"do.frozen_bias($projection, $x, {gates})"),),
                GATES, phases=BIASES)
        for gates in (2, 3, 1)
    ),
    Mistake("D39", "padding counts as valid", (("$mask", "($mask | True)"),), FILES),
    Mistake("D39", "values in the padding are kept", (("where($mask, $a, $b)", "$a"),), FILES),
    Mistake("D39", "lengths are not passed on", (("$lengths", "None"),), r"gru|encoder|decoder|model|classifier"),
    Mistake("D39", "lengths are ignored", (("$lengths is None", "True"),), FILES),
    *(
        Mistake("D39", "the final state is an output from the padding", (("$o, $f = $e",
            f"$o, $f = do.last_output($e, {step})"),), GATES)
        for step in (-1, 0)
    ),
    Mistake("D39", "the final state is that of the last step, padded or not",
            (("_steps($read, $last).squeeze(1)", "$read[:, -1]"),), FILES),
    *(
        Mistake("D17", f"states are read {what}", (("$states", f"do.ordered($states, do.{order})"),), FILES)
        for order, what in ORDERS.items()
    ),
    *(
        Mistake("D17", f"states are returned {what}",
                (("$o, $f = $e", f"$o, $f = do.with_states($e, do.{order})"),), FILES)
        for order, what in ORDERS.items()
    ),
    Mistake("D43", "the initial state is not zero", (("zeros(*$rest)", "(zeros(*$rest) + 1)"),), FILES),
    Mistake("D43", "the initial state is not zero", (("new_zeros(*$rest)", "(new_zeros(*$rest) + 1)"),), FILES),
    Mistake("D43", "the hidden projection is skipped where the state is zero",
            (("$hidden($h)", "do.unless_zero($hidden($h), $h)"),), FILES),
)  # fmt: skip
