"""Mistakes of precision: values are rounded, later computations use fewer digits, or digits cancel."""

from crosscheck.causes.mistakes.mistake import Mistake

ALL = ("forward", "update")
COEFFICIENTS = "$rule.coefficients(*$rest)"
WIDENED, LOW = "at_least_float32($x)", ("bfloat16", "float16")
CANCELLING = (
    Mistake("D20", "the variance is E[x^2] - E[x]^2", (("$variance = $e", "$variance = do.fast_variance(x)"),), "norm"),
)


def narrowings(dtype: str, is_slow: bool = False) -> tuple[Mistake, ...]:
    """Values to narrow in a run of this dtype: to float32 in float64, else the operands of a softmax.

    `is_slow` is for training runs, where every trial is slow, and keeps only values that are already cast.
    """
    if dtype == "float64":
        casts = (
            _narrowing("D53", WIDENED, "do.cast($x, '{}')", "float32"),
            _narrowing("D53", "np.array($x, $d)", "np.array($x, np.{})", "float32"),
            _narrowing("D53", COEFFICIENTS, f"tuple(do.narrow(c, '{{}}') for c in {COEFFICIENTS})", "float32"),
            _narrowing("D53", "weight.to($d)", "do.narrow(weight.to($d), '{}')", "float32"),
            _narrowing("D53", "weight.astype($d)", "do.narrow(weight.astype($d), '{}')", "float32"),
        )
        values = (
            _narrowing("D53", "$v = $e", "$v = do.narrow($e, '{}')", "float32"),
            _narrowing("D53", "return $e", "return do.narrow($e, '{}')", "float32"),
            _narrowing("D53", "$f($x)", "$f(do.narrow($x, '{}'))", "float32"),
        )
        return casts if is_slow else (*casts, *values)
    softmaxes = (
        ("softmax($x, *$rest)", "softmax(do.cast($x, '{}'), *$rest)"),
        ("masked_softmax($x, *$rest)", "masked_softmax(do.narrow($x, '{}'), *$rest)"),
        ("$wide = at_least_float32($x)", "$wide = do.cast($x, '{}')"),
    )
    return tuple(_narrowing("D51", old, new, narrower, "softmax") for narrower in LOW for old, new in softmaxes)


def _narrowing(row: str, old: str, new: str, dtype: str, what: str = "a value") -> Mistake:
    return Mistake(row, f"{what} has the digits of {dtype}", ((old, new.format(dtype)),), phases=ALL, is_narrowing=True)
