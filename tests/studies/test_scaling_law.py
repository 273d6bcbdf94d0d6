"""The scaling law: parameters and FLOPs of the course, a planted law that is found again, and what is refused."""

import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from places import ROOT

from crosscheck.criterion import prove
from experiments.commands import scaling
from experiments.reports import scaling_figures
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


def test_the_flops_of_a_mean_length_are_the_mean_of_those_of_the_lengths():
    h, lengths = 3, np.array([2.0, 5.0, 11.0])
    of_mean = forward_flops(h, lengths.mean(), s_squared=(lengths**2).mean())
    assert prove(forward_flops(h, lengths).mean(), of_mean, 0.0).agrees


def test_a_run_costs_three_forward_passes_of_every_word_in_each_epoch(monkeypatch):
    pairs = [([1, 2], [3]), ([1], [2, 3, 4])]  # 5 and 6 letters with the start and the end
    model = SimpleNamespace(twin="DecoderOnlyTranslator", arguments={"hidden_size": 16, "num_layers": 2})
    config = SimpleNamespace(experiment=SimpleNamespace(model=model))
    data = SimpleNamespace(splits={"train": pairs})
    monkeypatch.setattr(scaling, "prepared_from", lambda *_: SimpleNamespace(data=data))
    monkeypatch.setattr(scaling, "steps_of_an_epoch", lambda _: 4)
    records = [{"step": step, "loss": loss} for step, loss in ((0, 3.0), (2, 2.0), (8, 1.0))]
    curve = scaling._curve(SimpleNamespace(config=config, folder=None, validation=records), None)
    of_epoch = 3 * (forward_flops(16, 5, 2) + forward_flops(16, 6, 2))
    assert curve.parameters == parameters(16, 2)
    assert curve.flops.tolist() == [of_epoch / 2, 2 * of_epoch]
    assert curve.losses.tolist() == [2.0, 1.0]


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
    assert prove(np.log10([scaling_law.lowest(p)]), np.roots(np.polyder(p)), 0.0).agrees


def test_a_loss_that_rises_again_counts_for_nothing():
    """The best so far is what a size reaches within a budget."""
    worse = [curve._replace(losses=np.r_[curve.losses[:-5], curve.losses[-5:] + 1]) for curve in planted()]
    kept = [curve._replace(losses=np.r_[curve.losses[:-5], [curve.losses[-6]] * 5]) for curve in planted()]
    budget = planted()[0].flops[-1]
    assert np.array_equal(profile(worse, budget).losses, profile(kept, budget).losses)


def test_an_extrapolation_says_how_far_outside_it_is_and_holds_its_own_estimate():
    profiles = [profile(planted(noise=0.002), budget) for budget in BUDGETS]
    far, slopes = extrapolate(profiles, 1e15, draws=200)
    assert prove(np.array(3.0), np.array(far.decades_outside), 0.0).agrees
    assert far.low < far.parameters < far.high
    assert len(slopes) == 200 - far.refused
    assert "3.0 decades beyond the fit" in str(far)
    inside, near, below = (extrapolate(profiles, each, draws=20)[0] for each in (BUDGETS[2], 4e12, BUDGETS[0] / 100))
    assert inside.decades_outside == 0
    assert prove(np.array(2.0), np.array(below.decades_outside), 0.0).agrees
    assert str(inside).endswith("inside of the fit")
    assert str(near).endswith("0.6 decades beyond the fit")


def test_draws_without_a_lowest_point_are_left_out_and_counted():
    far, slopes = extrapolate([profile(planted(noise=0.03), budget) for budget in BUDGETS], draws=60)
    assert 0 < far.refused == 60 - len(slopes) < 60


def test_both_ends_of_an_interval_of_no_draws_are_their_median(monkeypatch):
    monkeypatch.setattr(scaling_law, "SHARE", 0.0)
    far, _ = extrapolate([profile(planted(noise=0.002), budget) for budget in BUDGETS], draws=20)
    assert far.low == far.high
    monkeypatch.setattr(scaling_law, "SHARE", 1.0)
    widest, _ = extrapolate([profile(planted(noise=0.002), budget) for budget in BUDGETS], draws=20)
    assert widest.low < far.low < widest.high


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


def test_as_few_sizes_and_validations_as_a_fit_needs_are_taken():
    check_curves([curve._replace(flops=curve.flops[:2], losses=curve.losses[:2]) for curve in planted()[:4]])


def test_budgets_are_sorted_and_may_be_those_at_which_runs_begin_and_end():
    first, last = planted()[0].flops[[0, -1]]
    found = scaling_law.check_budgets([last, 1e10, first, 1e10], planted())
    assert np.array_equal(found, [first, 1e10, last])


@pytest.mark.parametrize(("budgets", "message"), [
    ([1e9, 1e14, 1e15], "a budget of 1.00e.14"),
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


def test_budgets_go_from_where_the_last_run_begins_to_where_the_first_ends():
    late, short, *others = planted()
    late, short = (late._replace(flops=late.flops * 10), short._replace(flops=short.flops / 10))
    found = scaling_law.budgets_of([late, short, *others], 3)
    ends = np.array([late.flops[0], np.sqrt(late.flops[0] * short.flops[-1]), short.flops[-1]])
    assert prove(ends, found, 0.0).agrees
    with pytest.raises(IsogradError, match="no budget lies within all runs"):
        scaling_law.budgets_of([late, late._replace(flops=late.flops[:1]), *others])


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


def test_the_best_sizes_are_drawn_over_compute(monkeypatch, tmp_path):
    labels, panel, profiles = [], MagicMock(), [profile(planted(), budget) for budget in BUDGETS]
    panel.set_xlabel = panel.set_ylabel = labels.append
    monkeypatch.setattr(scaling_figures, "draw", lambda name, caption, plot: plot([panel]) or MagicMock())
    found = {"extrapolation": {"published_parameters": 1e9}}
    write_scaling(tmp_path, profiles, fit_line(profiles), extrapolate(profiles, draws=9)[0], found)
    assert labels == ["parameters", "validation loss", "training FLOPs", "best parameters"]


def test_figures_and_fits_are_written_and_read_again(tmp_path):
    profiles = [profile(planted(noise=0.002), budget) for budget in BUDGETS]
    line, (far, slopes) = fit_line(profiles), extrapolate(profiles, draws=50)
    found = scaling_law.summary(profiles, line, far, slopes)
    write_scaling(tmp_path / "scaling", profiles, line, far, found)
    assert json.loads((tmp_path / "scaling" / "scaling.json").read_text()) == found
    names = {path.name for path in (tmp_path / "scaling").iterdir()}
    assert names == {"scaling.json", "isoflop.svg", "isoflop.png", "best_sizes.svg", "best_sizes.png"}
