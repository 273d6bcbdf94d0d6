"""Formulas are written as people write them, JAX's long forms are read by their names, and the innermost parts that
differ are found."""

import pytest

from crosscheck.causes.operations.formula import Formula, difference, simplified

A, B, C, ZERO, LOWEST, COUNT = (Formula(name) for name in ("a", "b", "c", "0", "-inf", "6"))
OVER = "axis=1"


def of(name, *parts, settings=""):
    return Formula(name, parts, settings)


SHIFTED = of("sub", A, of("amax", A, settings=OVER))
POWERS = of("exp", SHIFTED)
UNSHIFTED, LIFTED = of("sub", A, B), of("add", A, of("amax", A))
SUM = of("sum", POWERS, settings=OVER)


@pytest.mark.parametrize(
    ("formula", "written", "size"),
    [
        (A, "a", 0),
        (of("mul", of("add", A, B), C), "(a + b) * c", 2),
        (of("add", of("mul", A, B), C), "a * b + c", 2),
        (of("sub", A, of("sub", B, C)), "a - (b - c)", 2),
        (of("sub", of("sub", A, B), C), "a - b - c", 2),
        (of("add", A, of("add", B, C)), "a + b + c", 2),
        (of("div", A, of("mul", B, C)), "a / (b * c)", 2),
        (of("pow", of("add", A, B), C), "(a + b) ** c", 2),
        (of("mul", of("pow", A, B), C), "a ** b * c", 2),
        (of("pow", of("mul", A, B), C), "(a * b) ** c", 2),
        (of("pow", of("div", A, B), C), "(a / b) ** c", 2),
        (of("pow", of("matmul", A, B), C), "(a @ b) ** c", 2),
        (of("mul", of("sub", A, B), C), "(a - b) * c", 2),
        (of("neg", of("add", A, B)), "-(a + b)", 2),
        (of("neg", A), "-a", 1),
        (of("mul", of("neg", A), B), "(-a) * b", 2),
        (of("lt", of("add", A, B), C), "a + b < c", 2),
        (of("and", of("lt", A, B), C), "a < b & c", 2),
        (of("add", A, of("and", B, C)), "a + (b & c)", 2),
        (of("exp", of("add", A, B)), "exp(a + b)", 2),
        (of("sum", A, settings=OVER), "sum(a, axis=1)", 1),
        (of("add", A, B, C), "add(a, b, c)", 1),
        (of("div", A, B, settings="rounded"), "div(a, b, rounded)", 1),
        (of("part", of("add", A, B), settings="[0]"), "(a + b)[0]", 2),
        (of("part", of("split", A, settings="sizes=(3, 3)"), settings="[1]"), "split(a, sizes=(3, 3))[1]", 2),
    ],
)
def test_a_formula_is_written_with_no_more_parentheses_than_it_needs(formula, written, size):
    assert str(formula) == written
    assert formula.size == size


@pytest.mark.parametrize(
    ("formula", "short"),
    [
        (of("div", of("sum", A, settings=OVER), COUNT), of("mean", A, settings=OVER)),
        (of("div", POWERS, SUM), of("softmax", A, settings=OVER)),
        (of("div", of("exp", A), of("sum", of("exp", A), settings=OVER)), of("softmax", A, settings=OVER)),
        (of("add", of("log", SUM), B), of("logsumexp", A, settings=OVER)),
        (of("add", of("log", of("abs", SUM)), B), of("logsumexp", A, settings=OVER)),
        (of("div", of("exp", UNSHIFTED), of("sum", of("exp", UNSHIFTED))), of("softmax", UNSHIFTED)),
        (of("div", of("exp", LIFTED), of("sum", of("exp", LIFTED))), of("softmax", LIFTED)),
        (of("max", A, ZERO), of("relu", A)),
        (of("max", ZERO, A), of("relu", A)),
        (of("max", LOWEST, A), A),
        (of("where", of("lt", A, ZERO), of("add", A, B), A), A),
        (of("mul", A, of("sigmoid", A)), of("silu", A)),
    ],
)
def test_what_jax_writes_out_has_a_name(formula, short):
    assert simplified(formula, "6") == short


@pytest.mark.parametrize(
    "formula",
    [
        A,
        of("div", of("sum", A, settings=OVER), B),
        of("mul", of("sum", A, settings=OVER), COUNT),
        of("div", POWERS, of("sum", of("exp", B), settings=OVER)),
        of("div", POWERS, of("amax", POWERS, settings=OVER)),
        of("add", of("log", of("sum", of("exp", A), settings=OVER)), B),
        of("add", of("exp", SUM), B),
        of("add", of("log", of("amax", POWERS)), B),
        of("add", of("log", of("sum", SHIFTED)), B),
        of("max", A, B),
        of("max", A, ZERO, B),
        of("min", A, ZERO),
        of("where", of("lt", A, B), of("add", A, B), A),
        of("where", of("le", A, ZERO), of("add", A, B), A),
        of("where", of("lt", A, ZERO), of("add", A, B), B),
        of("mul", A, of("sigmoid", B)),
        of("add", A, of("sigmoid", A)),
    ],
    ids=str,
)
def test_what_is_nearly_so_keeps_its_form(formula):
    assert simplified(formula, "6") == formula


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (of("add", A, of("add", B, C)), of("add", A, of("add", B, A)), ("b + c", "b + a")),
        (of("mul", A, B), of("mul", C, B), ("a * b", "c * b")),
        (of("mul", A, of("add", B, C)), of("mul", of("add", B, A), A), ("b + c", "b + a")),
        (of("sub", A, of("sub", B, C)), A, ("a - (b - c)", "a")),
        (of("transpose", A, settings="axes (1, 0)"), A, ("transpose(a, axes (1, 0))", "a")),
        (of("exp", of("tanh", A)), of("exp", of("sin", A)), ("tanh(a)", "sin(a)")),
        (of("exp", of("tanh", A), settings=OVER), of("exp", of("sin", A)), ("exp(tanh(a), axis=1)", "exp(sin(a))")),
        (of("sub", of("exp", A), of("tanh", B)), of("sub", of("sin", A), of("cos", B)),
         ("exp(a) - tanh(b)", "sin(a) - cos(b)")),
        (of("reshape", of("exp", A)), of("transpose", of("sin", A)), ("exp(a)", "sin(a)")),
        (of("exp", of("reshape", A)), of("exp", A), ("reshape(a)", "a")),
        (of("div", A, of("exp", B)), of("div", of("exp", B), A), ("a / exp(b)", "exp(b) / a")),
        (of("add", of("exp", A), B, C), of("add", of("sin", A), B), ("add(exp(a), b, c)", "sin(a) + b")),
    ],
)  # fmt: skip
def test_the_innermost_formulas_that_differ_are_found(ours, theirs, found):
    assert tuple(map(str, difference(ours, theirs))) == found
