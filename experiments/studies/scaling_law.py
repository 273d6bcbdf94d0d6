"""How the best size of a decoder-only translator grows with compute: IsoFLOP profiles (Hoffmann et al. 2022).

For each budget the losses of several sizes are fitted by a parabola in log10 of the parameters; its lowest point is the
best size. The best sizes lie on a line in the logarithms of compute and parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from shared.data.pairs.letters import VOCABULARY_SIZE
from shared.errors import IsogradError

LAYERS, FEWEST_SIZES, FEWEST_BUDGETS = 4, 4, 3  # a parabola through 3 sizes would leave nothing to judge it by
PUBLISHED = 1e10  # parameters at 1e15 FLOPs, as the course has it
FAR = 1e15  # FLOPs
SHARE = 0.95  # of the draws that lie in an interval
BACKWARD = 3  # a forward and a backward pass cost three forward passes


def parameters(h: Any, layers: int = LAYERS, vocabulary: int = VOCABULARY_SIZE) -> Any:
    """L (4 h^2 + 4 h) + h V + V: all but the embedding."""
    return layers * (4 * h**2 + 4 * h) + h * vocabulary + vocabulary


def forward_flops(
    h: Any, s: Any, layers: int = LAYERS, vocabulary: int = VOCABULARY_SIZE, s_squared: Any = None
) -> Any:
    """L (6 s h^2 + 4 s^2 h + 3 s^2 + 2 s h^2) + 2 s V h of a sequence of s letters; of a mean with the mean of s^2."""
    squared = s**2 if s_squared is None else s_squared
    return layers * (6 * s * h**2 + 4 * squared * h + 3 * squared + 2 * s * h**2) + 2 * s * vocabulary * h


class Curve(NamedTuple):
    """The losses of one size over its training: parameters, FLOPs and losses of its validations."""

    parameters: float
    flops: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Profile:
    """The losses of all sizes at one budget, the parabola in log10 parameters, and its lowest point."""

    budget: float
    parameters: np.ndarray
    losses: np.ndarray
    coefficients: np.ndarray
    best: float

    @property
    def is_inside(self) -> bool:
        """True if the lowest point lies between the smallest and the largest size."""
        return bool(self.parameters.min() <= self.best <= self.parameters.max())


class Line(NamedTuple):
    """log10 of the best parameters = slope log10 C + intercept, with standard errors by least squares."""

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float

    def at(self, flops: float) -> float:
        return float(10 ** (self.slope * np.log10(flops) + self.intercept))


class Extrapolated(NamedTuple):
    """The best parameters at a budget, an interval of SHARE of the draws, and how far outside of the fit it lies."""

    flops: float
    parameters: float
    low: float
    high: float
    decades_outside: float
    refused: int  # draws without a lowest point

    def __str__(self) -> str:
        where = (
            f"{self.decades_outside:.1f} decades beyond the fit" if self.decades_outside > 0 else "inside of the fit"
        )
        return (
            f"{self.parameters:.3g} parameters at {self.flops:.0e} FLOPs ({self.low:.2g} to {self.high:.2g}), {where}"
        )


def check_curves(curves: Sequence[Curve]) -> None:
    """Raise IsogradError for too few sizes, and for losses or compute that have no logarithm."""
    sizes = {curve.parameters for curve in curves}
    if len(sizes) < FEWEST_SIZES:
        raise IsogradError(
            f"expected runs of at least {FEWEST_SIZES} sizes, got {len(sizes)}: a parabola has three coefficients, and "
            "one more point is needed to judge it"
        )
    if len(sizes) < len(curves):
        raise IsogradError(f"expected one run of each size, got {len(curves)} runs of {len(sizes)} sizes")
    for curve in curves:
        values = np.concatenate([curve.flops, curve.losses, [curve.parameters]])
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise IsogradError(
                f"the run of {curve.parameters:,.0f} parameters has a loss or a compute that is not positive, "
                "and so no logarithm: leave the run out"
            )
        if len(curve.losses) < 2:
            raise IsogradError(f"the run of {curve.parameters:,.0f} parameters has fewer than two validations")


def budgets_of(curves: Sequence[Curve], count: int = 6) -> np.ndarray:
    """Budgets that every run went through, evenly spaced in their logarithms; raises IsogradError if there are none."""
    least, most = max(curve.flops[0] for curve in curves), min(curve.flops[-1] for curve in curves)
    if least >= most:
        raise IsogradError(
            f"no budget lies within all runs: the largest begins at {least:.2e} FLOPs, and the shortest ends at "
            f"{most:.2e}: train the small sizes longer, or validate the large ones sooner"
        )
    return np.geomspace(least, most, count)


def check_budgets(budgets: Sequence[float], curves: Sequence[Curve]) -> np.ndarray:
    """The budgets in ascending order; raises IsogradError for too few, and for one that a run did not go through."""
    found = np.unique(np.asarray(budgets, np.float64))
    if len(found) < FEWEST_BUDGETS:
        raise IsogradError(f"expected at least {FEWEST_BUDGETS} different budgets for a line, got {len(found)}")
    for curve in curves:
        outside = found[(found < curve.flops[0]) | (found > curve.flops[-1])]
        if len(outside):
            raise IsogradError(
                f"the run of {curve.parameters:,.0f} parameters goes from {curve.flops[0]:.2e} to "
                f"{curve.flops[-1]:.2e} FLOPs, so it says nothing on a budget of {outside[0]:.2e}: choose others, or "
                "train longer"
            )
    return found


def profile(curves: Sequence[Curve], budget: float) -> Profile:
    """The parabola at a budget; the best losses so far are interpolated in the logarithms between validations.

    Raises IsogradError if it opens downwards.
    """
    sizes = np.array([curve.parameters for curve in curves], np.float64)
    losses = np.array([_loss_at(curve, budget) for curve in curves])
    coefficients = np.polyfit(np.log10(sizes), losses, 2)
    if coefficients[0] <= 0:
        raise IsogradError(
            f"the parabola at {budget:.2e} FLOPs opens downwards, so it has no lowest point: the losses "
            f"{', '.join(f'{loss:.3f}' for loss in losses)} do not fall and rise over the sizes; choose other budgets"
        )
    return Profile(budget, sizes, losses, coefficients, lowest(coefficients))


def lowest(coefficients: np.ndarray) -> float:
    """10^(-p1 / 2 p0), where p0 log10(N)^2 + p1 log10(N) + p2 is lowest."""
    return float(10 ** (-coefficients[1] / (2 * coefficients[0])))


def _loss_at(curve: Curve, budget: float) -> float:
    best = np.log(np.minimum.accumulate(curve.losses))
    return float(np.exp(np.interp(np.log(budget), np.log(curve.flops), best)))


def fit_line(profiles: Sequence[Profile]) -> Line:
    """Least squares through the best sizes of all budgets."""
    from scipy.stats import linregress

    fit = linregress(np.log10([each.budget for each in profiles]), np.log10([each.best for each in profiles]))
    return Line(float(fit.slope), float(fit.intercept), float(fit.stderr), float(fit.intercept_stderr))


def extrapolate(
    profiles: Sequence[Profile], flops: float = FAR, draws: int = 2000, seed: int = 0
) -> tuple[Extrapolated, np.ndarray]:
    """The best size at a budget with its interval, and the slopes of all draws.

    Each draw adds to every parabola residuals drawn from all of them, widened for its three coefficients, and fits
    anew; draws in which a parabola opens downwards are left out and counted.
    """
    generator = np.random.default_rng(seed)
    residuals = np.concatenate([_residuals(each) for each in profiles])
    slopes, sizes = [], []
    for _ in range(draws):
        best = [_drawn_best(each, generator.choice(residuals, len(each.losses))) for each in profiles]
        if all(best):
            slope, intercept = np.polyfit(np.log10([each.budget for each in profiles]), np.log10(np.array(best)), 1)
            slopes.append(slope)
            sizes.append(slope * np.log10(flops) + intercept)
    if not sizes:
        raise IsogradError("no draw of the residuals leaves every parabola a lowest point: the fit says nothing")
    low, high = 10 ** np.quantile(sizes, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    outside = max(np.log10(flops / profiles[-1].budget), np.log10(profiles[0].budget / flops), 0.0)
    found = Extrapolated(flops, fit_line(profiles).at(flops), float(low), float(high), outside, draws - len(sizes))
    return found, np.array(slopes)


def _residuals(each: Profile) -> np.ndarray:
    fitted, n = np.polyval(each.coefficients, np.log10(each.parameters)), len(each.losses)
    return (each.losses - fitted) * np.sqrt(n / (n - 3))


def _drawn_best(each: Profile, residuals: np.ndarray) -> float | None:
    x = np.log10(each.parameters)
    coefficients = np.polyfit(x, np.polyval(each.coefficients, x) + residuals, 2)
    return lowest(coefficients) if coefficients[0] > 0 else None


def summary(profiles: Sequence[Profile], line: Line, far: Extrapolated, slopes: np.ndarray) -> Mapping[str, Any]:
    """The fits as plain numbers."""
    low, high = np.quantile(slopes, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return {
        "profiles": [
            {
                "budget": each.budget,
                "parameters": each.parameters.tolist(),
                "losses": each.losses.tolist(),
                "coefficients": each.coefficients.tolist(),
                "best_parameters": each.best,
                "inside": each.is_inside,
            }
            for each in profiles
        ],
        "line": line._asdict(),
        "slope_interval": [float(low), float(high)],
        "extrapolation": {**far._asdict(), "published_parameters": PUBLISHED},
    }
