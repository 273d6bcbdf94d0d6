"""Mistakes of precision: a value is rounded to fewer digits, or all that follows is computed with fewer."""

from crosscheck.mistakes.mistake import Mistake

ALL = ("forward", "update")
WIDENED = "at_least_float32($x)"


def narrowings(dtype: str, is_slow: bool = False) -> tuple[Mistake, ...]:
    """What may be narrowed in a run of this dtype: to float32 in float64, else the operands of a softmax.

    `is_slow` leaves out all but what is cast already, where every trial is a training run.
    """
    if dtype == "float64":
        casts = (
            _narrowing("D53", WIDENED, "do.cast($x, '{}')", "float32"),
            _narrowing("D53", "np.array($x, $d)", "np.array($x, np.{})", "float32"),
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
    return tuple(
        _narrowing("D51", old, new, narrower, "softmax")
        for narrower in ("bfloat16", "float16")
        for old, new in softmaxes
    )


def _narrowing(row: str, old: str, new: str, dtype: str, what: str = "a value") -> Mistake:
    return Mistake(row, f"{what} has the digits of {dtype}", ((old, new.format(dtype)),), phases=ALL, is_narrowing=True)
