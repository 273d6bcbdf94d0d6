"""Learning-rate schedules: their values by hand, what holds for all of them, and the settings that are refused."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from experiments.catalogue import find_experiment
from experiments.training.settings import OF_SCHEDULES, SCHEDULE_FIELDS, Settings, with_settings
from shared.configs.optimizer import ScheduleConfig
from shared.errors import IsogradError
from shared.schedules import SCHEDULES, Schedule, constant, make_schedule

RATE, UPDATES, EPOCH = 0.5, 12, 4
HAND = [
    (ScheduleConfig(), [0.5] * 12),
    (ScheduleConfig(warmup=4), [0, 0.125, 0.25, 0.375] + [0.5] * 8),
    (ScheduleConfig("linear", horizon=4), [0.5, 0.375, 0.25, 0.125] + [0] * 8),
    (
        ScheduleConfig("linear", warmup=4),
        [0, 0.125, 0.25, 0.375, 0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625],
    ),
    (ScheduleConfig("linear", warmup=2, horizon=4, final=0.5), [0, 0.25, 0.5, 0.375] + [0.25] * 8),
    (ScheduleConfig("linear", warmup=2, horizon=2, final=0.5), [0, 0.25] + [0.25] * 10),
    (ScheduleConfig("cosine", warmup=2, horizon=2, final=0.5), [0, 0.25] + [0.25] * 10),
    (ScheduleConfig("step", every=3, factor=0.5), [0.5] * 3 + [0.25] * 3 + [0.125] * 3 + [0.0625] * 3),
    (ScheduleConfig("step", warmup=2, every=5, factor=0.5), [0, 0.25] + [0.5] * 5 + [0.25] * 5),
    (ScheduleConfig("step", every=11, factor=0.0), [0.5] * 11 + [0]),
    (ScheduleConfig("epoch", factor=0.5), [0.5] * 4 + [0.25] * 4 + [0.125] * 4),
    (ScheduleConfig("epoch", factor=0.5, warmup=2), [0, 0.25, 0.5, 0.5] + [0.25] * 4 + [0.125] * 4),
    (ScheduleConfig("epoch", factor=0.5, warmup=4), [0, 0.125, 0.25, 0.375] + [0.5] * 4 + [0.25] * 4),
    (ScheduleConfig("epoch", factor=0.5, warmup=5), [0, 0.1, 0.2, 0.3, 0.4] + [0.5] * 3 + [0.25] * 4),
]
REFUSED = [
    (ScheduleConfig(warmup=-1), "a warmup of 0 to 12 updates .the horizon., got -1:"),
    (ScheduleConfig(warmup=13), "a warmup of 0 to 12 updates .the horizon., got 13:"),
    (ScheduleConfig("linear", warmup=6, horizon=5), "a warmup of 0 to 5 updates .the horizon., got 6:"),
    (ScheduleConfig(warmup=0.5), "a warmup of 0 to 12 updates .the horizon., got 0.5:"),
    (ScheduleConfig("cosine", horizon=0), "expected a horizon of at least 1 update, got 0:"),
    (ScheduleConfig("cosine", horizon=-3), "cosine: expected a horizon of at least 1 update, got -3: change"),
    (ScheduleConfig("cosine", horizon=math.inf), "expected a horizon of at least 1 update, got inf:"),
    (ScheduleConfig("step", every=0), "expected every to be at least 1 update, got 0:"),
    (ScheduleConfig("step", every=1.5), "expected every to be at least 1 update, got 1.5:"),
    (ScheduleConfig("step", factor=-0.5), "expected a finite factor of at least 0, got -0.5:"),
    (ScheduleConfig("step", factor=math.nan), "expected a finite factor of at least 0, got nan:"),
    (ScheduleConfig("step", factor=math.inf), "expected a finite factor of at least 0, got inf:"),
    (ScheduleConfig("linear", final=-0.5), "expected a final fraction of 0 to 1, got -0.5:"),
    (ScheduleConfig("linear", final=1.5), "expected a final fraction of 0 to 1, got 1.5:"),
    (ScheduleConfig("linear", final=math.nan), "expected a final fraction of 0 to 1, got nan:"),
    (ScheduleConfig("step", factor=1e30), "expected finite rates up to update 11, got more: lower factor 1e.30$"),
    (ScheduleConfig("epoch", factor=1e200), "expected finite rates up to update 11, got more: lower factor 1e.200$"),
    (ScheduleConfig("lineal"), "unknown schedule 'lineal': did you mean 'linear'"),
]


def schedule_of(config: ScheduleConfig) -> Schedule:
    return make_schedule(config, RATE, updates=UPDATES, updates_of_an_epoch=EPOCH)


@st.composite
def configs(draw, names=tuple(SCHEDULES)):
    horizon = draw(st.integers(1, 60))
    return ScheduleConfig(
        name=draw(st.sampled_from(names)),
        warmup=draw(st.integers(0, horizon)),
        horizon=horizon,
        final=draw(st.floats(0, 1)),
        every=draw(st.integers(1, 20)),
        factor=draw(st.floats(0, 1)),
    )


RATES = st.floats(0, 10)
EPOCHS = st.integers(1, 20)
LAST = 80  # beyond every horizon


@pytest.mark.parametrize(("config", "expected"), HAND)
def test_rates_are_those_computed_by_hand(config, expected):
    assert [schedule_of(config)(k) for k in range(UPDATES)] == expected


def test_a_cosine_is_half_way_at_half_of_its_time():
    schedule = schedule_of(ScheduleConfig("cosine", warmup=4, final=0.5))
    assert [schedule(k) for k in (4, 8, 12)] == [0.5, 0.375, 0.25]
    assert schedule(5) - schedule(4) > schedule(6) - schedule(5)  # slow at the start
    assert schedule(11) - schedule(10) < schedule(12) - schedule(11)  # and at the end


def test_without_a_horizon_a_schedule_ends_with_the_run():
    for name in ("linear", "cosine"):
        implied, written = (schedule_of(ScheduleConfig(name, horizon=horizon)) for horizon in (None, UPDATES))
        assert [implied(k) for k in range(20)] == [written(k) for k in range(20)]
        assert implied(UPDATES - 1) > implied(UPDATES) == 0


@given(config=configs(), rate=RATES, epoch=EPOCHS)
def test_no_rate_is_negative_or_above_the_full_one(config, rate, epoch):
    schedule = make_schedule(config, rate, updates=LAST, updates_of_an_epoch=epoch)
    assert all(0 <= schedule(k) <= rate for k in range(LAST))


@given(config=configs(), rate=RATES, epoch=EPOCHS)
def test_the_warm_up_rises_from_0_in_equal_steps_to_the_full_rate(config, rate, epoch):
    schedule = make_schedule(config, rate, updates=LAST, updates_of_an_epoch=epoch)
    assert [schedule(k) for k in range(config.warmup)] == [rate * (k / config.warmup) for k in range(config.warmup)]
    if config.warmup < config.horizon or config.name in ("constant", "step", "epoch"):
        assert schedule(config.warmup) == rate


@given(config=configs(), rate=RATES, epoch=EPOCHS)
def test_rates_never_rise_after_the_warm_up(config, rate, epoch):
    schedule = make_schedule(config, rate, updates=LAST, updates_of_an_epoch=epoch)
    rates = [schedule(k) for k in range(config.warmup, LAST)]
    assert rates == sorted(rates, reverse=True)


@given(config=configs(("linear", "cosine")), rate=RATES)
def test_rates_are_the_final_one_from_the_horizon_on(config, rate):
    schedule = make_schedule(config, rate, updates=1, updates_of_an_epoch=1)
    assert {schedule(k) for k in range(config.horizon, LAST)} == {rate * config.final}


@given(config=configs(), rate=RATES, epoch=EPOCHS)
def test_a_warm_up_shifts_what_follows(config, rate, epoch):
    """Every schedule except the one by epochs, which follows the epochs of the data."""
    assume(config.name != "epoch" or config.warmup % epoch == 0)
    options = {"updates": LAST, "updates_of_an_epoch": epoch}
    assume(config.warmup < config.horizon)
    cold = replace(config, warmup=0, horizon=config.horizon - config.warmup)
    warm, shifted = make_schedule(config, rate, **options), make_schedule(cold, rate, **options)
    assert [warm(k + config.warmup) for k in range(LAST)] == [shifted(k) for k in range(LAST)]


@given(config=configs(("epoch",)), batches=EPOCHS, accumulate=st.integers(1, 5))
def test_rates_by_epoch_change_between_epochs_only_however_many_batches_make_an_update(config, batches, accumulate):
    schedule = make_schedule(config, RATE, updates=LAST, updates_of_an_epoch=Fraction(batches, accumulate))
    before = config.warmup * accumulate // batches  # epochs that ended before the full rate
    for k in range(config.warmup, LAST):
        assert schedule(k) == RATE * config.factor ** (k * accumulate // batches - before)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_default_settings_are_valid_for_every_schedule_of_one_update(name):
    assert make_schedule(ScheduleConfig(name), RATE, updates=1, updates_of_an_epoch=1)(0) == RATE


def test_the_constant_schedule_is_the_default():
    assert schedule_of(ScheduleConfig())(7) == constant(RATE)(7) == RATE


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_a_setting_out_of_range_is_refused(config, message):
    with pytest.raises(IsogradError, match=message):
        schedule_of(config)


def test_all_settings_out_of_range_are_named_at_once():
    config = ScheduleConfig("step", warmup=-2, horizon=-3, final=2.0, every=0, factor=-1.0)
    with pytest.raises(IsogradError) as caught:
        schedule_of(config)
    assert str(caught.value) == (
        "schedule step: expected a horizon of at least 1 update, got -3, and a warmup of 0 to -3 updates (the "
        "horizon), got -2, and every to be at least 1 update, got 0, and a final fraction of 0 to 1, got 2.0, and a "
        "finite factor of at least 0, got -1.0: change these settings"
    )


def test_a_factor_above_1_raises_the_rate_as_far_as_floats_go():
    schedule = schedule_of(ScheduleConfig("epoch", factor=1.3e154))
    assert schedule(11) == RATE * 1.3e154**2


def test_the_command_line_knows_the_settings_of_every_schedule():
    assert set(OF_SCHEDULES) == set(SCHEDULES)
    given = {"decay_every": 7, "decay_factor": 0.5, "decay_to": 0.25}
    for name, taken in OF_SCHEDULES.items():
        settings = Settings(schedule=name, warmup=3, **{each: given[each] for each in taken})
        schedule = with_settings(find_experiment("reviews-1-small"), settings).schedule
        fields = {SCHEDULE_FIELDS[each]: given[each] for each in taken}
        assert schedule == ScheduleConfig(name, warmup=3, **fields)
