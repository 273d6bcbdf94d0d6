"""Mistakes in losses, means over rows, optimisers, and the update around them."""

from crosscheck.causes.mistakes.mistake import Mistake

UPDATE = ("update",)
CLIP_EPSILONS = (1e-6, 1e-8, 1e-5, 1e-7, 1e-12)
LOSSES = (
    *(Mistake("D30", f"label {label} is ignored", (("return $e", f"return ($e) * (labels != {label})"),), "losses",
      "cross_entropy")
      for label in (0, 1, 2, -100)),
    Mistake("D32", "the squares are halved", (("$x ** 2", "$x ** 2 / 2"),), "losses"),
    Mistake("D31", "the sum is divided by the row count", (("return $n / $d", "return $n / len(values)"),), "losses"),
    Mistake("D31", "the sum is divided by the number of weighted rows",
            (("return $n / $d", "return $n / (weights != 0).sum()"),), "losses"),
    Mistake("D31", "rows of weight 0 are included", (("return $n / $d", "return (1.0 * values).mean()"),), "losses"),
    Mistake("D31", "rows of weight 0 are included", (("weighted_mean($v, $w)", "weighted_mean($v, $w * 0 + 1)"),)),
    Mistake("D31", "the sum is divided by the row count", (("weighted_mean($v, $w)", "(1.0 * $v * $w).mean()"),)),
    *(Mistake("D46", "the divisor is at least 1",
              (("$n / ($t + ($t == 0))", f"$n / do.at_least($t, 1.0, {is_halved})"),), "losses",
              phases=("forward", "input gradient")) for is_halved in (True, False)),
)  # fmt: skip

TORCH_ADAMW = "adamw($w, $g, $m, $v, *$rest)"
VARIANTS = {"D57": ("L2", "the decay is added to the gradient"), "D58": ("eps inside", "eps is inside the root"),
            "D62": ("spared", "biases are not decayed")}  # fmt: skip
OPTIMIZERS = (
    *(Mistake("D56", f"the decay is {decay}", (("$x.weight_decay", f"{decay}"),), "optimizer|update", "^(AdamW|Update)",
              phases=UPDATE) for decay in (1e-4, 1e-2)),
    *(Mistake(row, what, ((TORCH_ADAMW, f"do.adamw($w, $g, $m, $v, {variant!r}, *$rest)"),), "optimizer", phases=UPDATE)
      for row, (variant, what) in VARIANTS.items()),
    Mistake("D57", "the decay is added to the gradient",
            (("weight_decay * w", "0 * w"), ("gradients", "_with_decay(gradients, weights, weight_decay)")),
            "optimizer", r"^AdamW\.update", UPDATE),
    Mistake("D58", "eps is inside the root", (("sqrt($v) + eps", "sqrt($v + eps)"),), "optimizer",
            "^(AdamW|RMSprop)", UPDATE),
    Mistake("D59", "eps is inside the root", (("sqrt($v) + eps", "sqrt($v + eps)"),), "optimizer", "^Adagrad",
            UPDATE),
    *(Mistake(row, "eps is inside the root", ((f"{rule}($w, $g, $s, *$rest)",
              "do.rooted($w, $g, $s, *$rest)"),), "optimizer", phases=UPDATE)
      for row, rule in (("D58", "rmsprop"), ("D59", "adagrad"))),
    *(Mistake("D58", f"alpha is {alpha}", (("$x.alpha", f"{alpha}"),), "optimizer", phases=UPDATE)
      for alpha in (0.9, 0.99)),
    Mistake("D62", "biases are not decayed", (("weight_decay * w", "weight_decay * w * (w.ndim > 1)"),), "optimizer",
            phases=UPDATE),
    *(Mistake("D60", f"{eps:g} is added to the norm", (("$c / norm", f"$c / (norm + {eps!r})"),), "update",
              phases=UPDATE) for eps in CLIP_EPSILONS),
    Mistake("D62", "a group's own setting is ignored", (("$b if $c is None else $a", "$b"),), "update",
            phases=UPDATE),
    Mistake("D62", "a group's setting of 0 is taken as unset", (("$b if $c is None else $a", "$a or $b"),),
            "update",
            phases=UPDATE),
    Mistake("D62", "the average is not updated", (("averaged($a, $w, $d)", "$a"),), "update", phases=UPDATE),
)  # fmt: skip
TRAINING = (*LOSSES, *OPTIMIZERS)
