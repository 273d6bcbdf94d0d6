"""The scaling law: parameters and FLOPs of the course, a planted law that is found again, and what is refused."""

import json

import numpy as np
import pytest
from places import ROOT

from crosscheck.criterion import prove
from experiments.reports.scaling_figures import write_scaling
from experiments.studies import scaling_law
from experiments.studies.scaling_law import (
    Curve,
    check_curves,
    extrapolate,
    fit_line,
    forward_flops,
    parameters,
    profile,
)
from shared.errors import IsogradError

SIZES = np.array([parameters(h) for h in (16, 32, 48, 64, 96, 128)], np.float64)
BUDGETS = 10 ** np.array([9, 9.8, 10.5, 11.2, 12])
SLOPE, INTERCEPT = 0.4, 0.5  # of the planted law


def planted(noise=0.0, seed=0):
    """Curves whose parabolas in log10 N are lowest at 10^(SLOPE log10 C + INTERCEPT)."""
    generator = np.random.default_rng(seed)
    flops = 10 ** np.linspace(8.5, 12.5, 41)
    best = SLOPE * np.log10(flops) + INTERCEPT
    curves = []
    for size in SIZES:
        losses = 5 - 0.3 * np.log10(flops) + 0.1 * (np.log10(size) - best) ** 2
        curves.append(Curve(size, flops, losses + noise * generator.standard_normal(len(flops))))
    return curves


def test_the_sizes_have_the_parameters_of_the_specification():
    assert (parameters(16), parameters(128)) == (4_862, 268_062)


def test_the_flops_are_those_of_the_specification():
    h, s, V, L = 3, 5, 30, 4
    assert forward_flops(h, s) == L * (6 * s * h**2 + 4 * s**2 * h + 3 * s**2 + 2 * s * h**2) + 2 * s * V * h


def test_a_planted_law_is_found_again():
    profiles = [profile(falling(planted()), budget) for budget in BUDGETS]
    line = fit_line(profiles)
    assert prove(np.array([SLOPE, INTERCEPT]), np.array([line.slope, line.intercept]), 0.0).agrees
    assert all(each.is_inside == (SIZES[0] <= each.best <= SIZES[-1]) for each in profiles)


def falling(curves):
    """Every loss falls over training, so that the best so far is the last."""
    assert all((np.diff(curve.losses) < 0).all() for curve in curves)
    return curves


def test_the_best_size_is_where_the_parabola_is_lowest():
    p = np.polyfit(np.log10(SIZES), (np.log10(SIZES) - 4.5) ** 2, 2)
    dense = np.linspace(4, 5, 10_001)
    assert dense[np.polyval(p, dense).argmin()] == dense[np.abs(dense - np.log10(scaling_law.lowest(p))).argmin()]


def test_an_extrapolation_says_how_far_outside_it_is_and_holds_its_own_estimate():
    profiles = [profile(planted(noise=0.002), budget) for budget in BUDGETS]
    far, slopes = extrapolate(profiles, 1e15, draws=200)
    assert prove(np.array(3.0), np.array(far.decades_outside), 0.0).agrees
    assert far.low < far.parameters < far.high
    assert len(slopes) == 200 - far.refused
    assert "3.0 decades beyond the fit" in str(far)
    assert extrapolate(profiles, BUDGETS[2], draws=20)[0].decades_outside == 0


def test_without_noise_every_draw_is_the_estimate():
    far, slopes = extrapolate([profile(planted(), budget) for budget in BUDGETS], draws=9)
    ends = np.array([far.low, far.high, 10 ** (SLOPE * np.log10(far.flops) + INTERCEPT)])
    assert prove(np.full(3, far.parameters), ends, 0.0).agrees
    assert prove(np.full(9, SLOPE), slopes, 0.0).agrees


def test_one_draw_of_forty_lies_beyond_either_end_of_an_interval():
    profiles = [profile(planted(noise=0.0005), budget) for budget in BUDGETS]
    far, slopes = extrapolate(profiles, draws=200)
    low, high = scaling_law.summary(profiles, fit_line(profiles), far, slopes)["slope_interval"]
    assert (int((slopes < low).sum()), int((slopes > high).sum()), len(slopes)) == (5, 5, 200)


def test_residuals_are_as_large_as_the_noise_of_which_a_parabola_takes_three_parts():
    each = profile(planted(noise=0.002), BUDGETS[1])
    left = each.losses - np.polyval(each.coefficients, np.log10(each.parameters))
    variance = (left**2).sum() / (len(SIZES) - len(each.coefficients))
    assert prove(variance, (scaling_law._residuals(each) ** 2).mean(), 0.0).agrees


def test_more_noise_gives_a_wider_interval():
    widths = []
    for noise in (0.0005, 0.003):
        far, _ = extrapolate([profile(planted(noise), budget) for budget in BUDGETS], draws=200)
        widths.append(np.log10(far.high / far.low))
    assert widths[0] < widths[1]


def test_a_parabola_that_opens_downwards_is_refused():
    curves = [Curve(c.parameters, c.flops, 10 - c.losses[::-1]) for c in planted()]
    with pytest.raises(IsogradError, match="opens downwards"):
        profile(curves, BUDGETS[1])


@pytest.mark.parametrize(("change", "message"), [
    (lambda curves: curves[:3], "at least 4 sizes, got 3"),
    (lambda curves: [*curves, curves[0]], "one run of each size, got 7 runs of 6 sizes"),
    (lambda curves: [curves[0]._replace(losses=-curves[0].losses), *curves[1:]], "not positive, and so no logarithm"),
    (lambda curves: [curves[0]._replace(losses=curves[0].losses * np.nan), *curves[1:]], "not positive"),
    (lambda curves: [Curve(SIZES[0], np.ones(1), np.ones(1)), *curves[1:]], "fewer than two validations"),
])  # fmt: skip
def test_curves_without_a_fit_are_refused(change, message):
    with pytest.raises(IsogradError, match=message):
        check_curves(change(planted()))


@pytest.mark.parametrize(("budgets", "message"), [
    ([1e9, 1e10], "at least 3 different budgets"), ([1e9, 1e10, 1e14], "says nothing on a budget of 1.00e"),
])  # fmt: skip
def test_budgets_that_runs_did_not_go_through_are_refused(budgets, message):
    with pytest.raises(IsogradError, match=message):
        scaling_law.check_budgets(budgets, planted())


def test_runs_without_a_common_budget_are_refused():
    curves = planted()
    apart = [curves[0]._replace(flops=curves[0].flops * 1e6), *curves[1:]]
    with pytest.raises(IsogradError, match="no budget lies within all runs"):
        scaling_law.budgets_of(apart)
    assert len(scaling_law.budgets_of(curves)) == 6


def fitted(side):
    path = ROOT / "experiments" / "results" / "translation" / "scaling" / side / "scaling.json"
    return json.loads(path.read_text())


def powers(far):
    shown = zip(("parameters", "low", "high"), (1, 0, 0), strict=True)
    return tuple(f"{far[name]:.{digits}e}".replace("e+0", "e").replace("e+", "e") for name, digits in shown)


def test_the_figures_of_the_page_are_those_of_the_result_files():
    text = " ".join((ROOT / "docs" / "translation.md").read_text().split())
    lines = [fitted(side)["line"] for side in ("torch", "jax")]
    with_torch, with_jax = (f"{line['slope']:.2f} +- {line['slope_error']:.2f}" for line in lines)
    assert f"to the power {with_torch} with PyTorch and {with_jax} with JAX" in text
    torch_far, jax_far = (fitted(side)["extrapolation"] for side in ("torch", "jax"))
    assert f"{torch_far['decades_outside']:.1f} decades beyond the fit" in text
    assert "is {} parameters, with an interval from {} to {}".format(*powers(torch_far)) in text
    assert "({}, from {} to {}, with JAX)".format(*powers(jax_far)) in text


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_the_fits_of_the_result_file_are_found_again_from_its_losses(side):
    found = fitted(side)
    profiles = [
        scaling_law.Profile(each["budget"], sizes, losses, fit, scaling_law.lowest(fit))
        for each in found["profiles"]
        for sizes, losses in [(np.array(each["parameters"]), np.array(each["losses"]))]
        for fit in [np.polyfit(np.log10(sizes), losses, 2)]
    ]
    assert prove(np.array([each["best_parameters"] for each in found["profiles"]]), bests(profiles), 0.0).agrees
    logs = np.log10([(each.budget, each.best) for each in profiles])
    slope, intercept = np.polyfit(*logs.T, 1)
    line = found["line"]
    assert prove(np.array([slope, intercept]), np.array([line["slope"], line["intercept"]]), 0.0).agrees


def bests(profiles):
    return np.array([each.best for each in profiles])


def test_figures_and_fits_are_written_and_read_again(tmp_path):
    profiles = [profile(planted(noise=0.002), budget) for budget in BUDGETS]
    line, (far, slopes) = fit_line(profiles), extrapolate(profiles, draws=50)
    found = scaling_law.summary(profiles, line, far, slopes)
    write_scaling(tmp_path / "scaling", profiles, line, far, found)
    assert json.loads((tmp_path / "scaling" / "scaling.json").read_text()) == found
    names = {path.name for path in (tmp_path / "scaling").iterdir()}
    assert names == {"scaling.json", "isoflop.svg", "isoflop.png", "best_sizes.svg", "best_sizes.png"}
