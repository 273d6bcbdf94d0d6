"""Mistakes in layers: norms, GELU, masks, heads, lookup tables, positions, dropout."""

from crosscheck.causes.flips.flip import EPSILONS
from crosscheck.causes.mistakes.mistake import Mistake

NORM_ROWS = (("D18", r"layer_norm"), ("D19", r"rms"), ("D23", r"(group|batch)_norm"))
NORMS = (
    *(
        Mistake(row, f"eps is {eps:g}", ((old, f"{eps!r}"),), files)
        for row, files in NORM_ROWS
        for eps in EPSILONS
        for old in ("$eps", "$x.eps")
    ),
    Mistake("D28", "the variance is divided by n - 1", (("($c ** 2).mean(*$rest)",
            "($c ** 2).mean(*$rest) * do.bessel($c)"),), "norm"),
    Mistake("D28", "the variance is divided by n - 1", (("$x.var(*$rest)", "$x.var(*$rest) * do.bessel($x)"),), "norm"),
    Mistake("D24", "GELU with the other formula (erf or tanh)",
            (("gelu($x, approximate=$a)", "gelu($x, approximate=do.other_gelu($a))"),)),
)  # fmt: skip

FILLS = (
    *("float('-inf')", "-1e9", "-1e4", "-3.4028234663852886e38", "1e-8", "0.0", "-1.0", "-10.0", "-100.0"),
    *("$x - 1.0", "$x - 10.0", "$x - 100.0", "$x - 10000.0"),
)
ROWS = {"uniform": "do.hidden_rows($mask, $w, {axis}, 'mean')", "NaN": "do.hidden_rows($mask, $w, {axis}, 'NaN')"}
MASKED = "attention|decoder|models|objective"
MASKS = (
    *(Mistake("D36", f"a fully masked row gives {what}", (("where($mask, $w, 0.0)",
      new.format(axis=axis)),), "attention")
      for what, new in ROWS.items() for axis in (-1, 1)),
    *(Mistake("D36", "a fully masked row is not masked", (("$mask",
      f"do.seen_if_hidden($mask, {axis})"),), MASKED)
      for axis in (-1, 1)),
    Mistake("D36", "weights of masked entries are not zeroed", (("where($mask, $w, 0.0)", "$w"),), "attention"),
    Mistake("D38", "the mask is read inverted", (("$mask", "do.inverted($mask)"),), MASKED),
    Mistake("D38", "the mask is read inverted", (("$mask != 0", "$mask == 0"),), MASKED),
    Mistake("D38", "a mask is made inverted", (("$mask = $e", "$mask = do.inverted($e)"),), MASKED),
    Mistake("D38", "the input mask is inverted",
            (("tuple($e for name in $x)", "tuple(do.inverted($e) if 'mask' in name else $e for name in $x)"),)),
    *(Mistake("D37", f"masked scores are {fill}", steps, "attention")
      for fill in FILLS
      for steps in (
          (("softmax(where($mask, $x, $fill), *$rest)", f"softmax(do.where($mask, $x, {fill}), *$rest)"),),
          (("softmax(where($mask, $x, $fill), *$rest)", f"softmax(do.where($mask, $x, {fill}), *$rest)"),
           ("where($mask, $w, 0.0)", "$w")))),
)  # fmt: skip

HEADS = (
    Mistake("D09", "the width is split as (head size, heads)",
            (("$x.reshape($b, $t, $n, $w).swapaxes(1, 2)", "do.permuted($x.reshape($b, $t, $w, $n), (0, 3, 1, 2))"),)),
    Mistake("D09", "heads are merged as (head size, heads)",
            (("$x.swapaxes(1, 2).reshape($b, $t, $w)", "do.permuted($x, (0, 2, 3, 1)).reshape($b, $t, $w)"),)),
)  # fmt: skip

LOOKUPS = (
    ("embedding($ids, $t, *$rest)", "embedding({ids}, $t, *$rest)"),
    ("take($t, $ids, *$rest)", "take($t, {ids}, *$rest)"),
)
NEXT_TO_LAST = range(1, 7)
BEHIND_PADDING = "$x.cumsum(1) * $x + $p"  # positions of RoBERTa
TABLES = (
    *(Mistake("D33", f"the padding row is {row}", (("$x.padding_idx", str(row)),), throughout=True,
              phases=("forward", "parameter gradient")) for row in (None, 0, 1, 2, 3, "$x.weight.shape[0] - 1")),
    *(Mistake("D34", f"{what}, {missing} rows short", ((old, new.format(ids=f"do.{change}($ids, $t, {missing})")),))
      for old, new in LOOKUPS for change, what in (("clamped", "ids are clamped"), ("wrapped", "ids wrap around"))
      for missing in NEXT_TO_LAST),
    *(Mistake("D34", f"out-of-range ids give NaN, {missing} rows short",
              ((old, f"do.nan_beyond({old}, $ids, $t, {missing})"),)) for old,
            _ in LOOKUPS for missing in NEXT_TO_LAST),
    *(Mistake("D35", f"positions start {shift} places later", (("$x[:, :$n]", f"$x[:, {shift}:$n + {shift}]"),),
      "position")
      for shift in (1, 2)),
    *(Mistake("D35", f"positions start {shift} places later", (("arange($n, *$rest)",
      f"arange($n, *$rest) + {shift}"),), "position|embedding")
      for shift in (1, 2)),
    *(Mistake("D35", what, ((BEHIND_PADDING, new),), "position|embedding|bert") for what, new in (
        ("positions behind padding start one place earlier", f"{BEHIND_PADDING} - 1 * $x"),
        ("padding takes up positions", "($x | True).cumsum(1) + $p"),
        ("padding has the position of the token before", "$x.cumsum(1) + $p"))),
    Mistake("D35", "padding is token 0", (("$ids != $p", "$ids != 0"),), "position|embedding|bert"),
)  # fmt: skip

SHAPES = (
    "$s[1:]",
    "(1, *$s[1:])",
    "$s[-1:]",
    "(*$s[:1], *[1 for _ in $s[2:]], *$s[-1:])",
    "(*$s[:2], *[1 for _ in $s[2:]])",
    "(*$s[:1], 1, *$s[2:])",
)
MASKS_OF = {"(0,)": "all examples", "(1,)": "all steps", "(0, 1)": "all examples and steps", "(-1,)": "all features"}
DROPOUT = (
    *(Mistake("D41", f"one mask for {what}", (("$dropout($x)", f"do.broadcast_dropout($dropout, $x, {axes})"),))
      for axes, what in MASKS_OF.items()),
    *(Mistake("D41", f"one mask of shape {shape.replace('$', '')} for all",
              (("random_mask($k, $s, *$rest)", f"random_mask($k, {shape}, *$rest)"),), "dropout") for shape in SHAPES),
    Mistake("D42", "the key is not folded", (("fold_in_name($k, $p)", "$k"),)),
    Mistake("D42", "the key is not folded", (("_fold_in_name($k, $p)", "$k"),)),
    Mistake("D42", "the key is split before use",
            (("random_mask($k, *$rest)", "random_mask(do.split($k), *$rest)"),), "dropout"),
    Mistake("D54", "a float32 number is involved", (("$x / (1.0 - $r)", "$x / do.narrow(1.0 - $r, 'float32')"),),
            "dropout"),
    Mistake("D54", "a float32 number is involved", (("$x / (1.0 - $r)",
            "$x * do.narrow(1.0 / (1.0 - $r), 'float32')"),), "dropout"),
)  # fmt: skip
LAYERS = (*NORMS, *MASKS, *HEADS, *TABLES, *DROPOUT)
