"""Study: why scores are divided by the square root of the width."""

from typing import Any

import numpy as np

from experiments.studies.checks import check_size, check_sizes
from experiments.studies.sides import Side, both
from experiments.studies.study import Both, Claim, Curve, Figure, Findings

ERRORS = 6  # standard errors between a measured and a true variance: more than that is a chance of 2e-9


def scale(widths: tuple[int, ...] = (4, 16, 64, 256, 1024), n: int = 16, samples: int = 256, seed: int = 0) -> Findings:
    """Scores of `samples` random queries with n random keys each, of several widths d."""
    widths = check_sizes("widths", widths, least=1, count=2)
    n, samples = check_size("n", n, least=2), check_size("samples", samples, least=2)
    seed = check_size("seed", seed, least=0)
    found = {scaled: both(_all, widths, n, samples, seed, scaled) for scaled in (True, False)}
    return Findings(_claims(found, np.array(widths), n, samples), _figures(found, widths))


def _all(side: Side, widths: tuple[int, ...], n: int, samples: int, seed: int, scaled: bool) -> Any:
    """Variance of the scores and mean norm of the softmax's Jacobian, for every width: (widths, 2)."""
    found = []
    for width in widths:
        generator = np.random.default_rng([seed, width])
        Q = side.array(generator.standard_normal((samples, 1, width)))
        K = side.array(generator.standard_normal((samples, n, width)))
        scores = side.components.pairwise_similarities(Q, K)
        scores = (side.components.attn_scaled(scores, width, 1) if scaled else scores)[:, 0]
        jacobians = _jacobians(side, scores)
        found.append(side.xp.stack([(scores**2).mean(), ((jacobians**2).sum((-2, -1)) ** 0.5).mean()]))
    return side.xp.stack(found)


def _jacobians(side: Side, scores: Any) -> Any:
    """d softmax / d scores of every query (samples, n, n)."""
    by_itself = side.autodiff.jacrev(lambda row: side.components.attn_softmax(row[None])[0])
    return side.jit(side.autodiff.vmap(by_itself))(scores)


def _claims(found: dict[bool, Both], widths: np.ndarray, n: int, samples: int) -> list[Claim]:
    """Of n scores with one query, the mean square has the variance 2 d + 2 (d^2 + 2 d) / n."""
    one_error = np.sqrt((2 / widths + 2 * (1 + 2 / widths) / n) / samples)

    def off(scaled: bool, expected: np.ndarray) -> Both:
        return found[scaled].map(lambda each: float((np.abs(each[:, 0] / expected - 1) / (ERRORS * one_error)).max()))

    first, last = widths[0], widths[-1]
    return [
        Claim("Scores have a variance of d", f"|var(q k) / d - 1| in {ERRORS} standard errors <= 1",
              off(False, widths), 1.0),
        Claim("Divided by sqrt(d), they have one of 1", f"|var(q k / sqrt(d)) - 1| in {ERRORS} standard errors <= 1",
              off(True, np.ones(len(widths))), 1.0),
        Claim("They have it without the division, too", f"|var(q k) - 1| in {ERRORS} standard errors <= 1",
              off(False, np.ones(len(widths))), 1.0, wrong=True),
        *(
            Claim(f"How the softmax's gradient changes from d = {first} to {last}, {words}",
                  "mean |d softmax / d scores| at the largest d / at the smallest",
                  found[scaled].map(lambda each: float(each[-1, 1] / each[0, 1])))
            for words, scaled in (("with the division", True), ("without", False))
        ),
    ]  # fmt: skip


def _figures(found: dict[bool, Both], widths: tuple[int, ...]) -> list[Figure]:
    names = {True: "divided by sqrt(d)", False: "not divided"}
    columns = {"variance": "Variance of the scores", "gradient": "Mean norm of the softmax's Jacobian"}
    figures = []
    for place, (name, what) in enumerate(columns.items()):
        values = {scaled: each.map(np.take, place, 1) for scaled, each in found.items()}
        curves = [Curve(names[scaled], widths, each) for scaled, each in values.items()]
        figures.append(Figure(f"scale_{name}", f"{what} against the width.", "width d", "", curves, "xy"))
    return figures
