"""Every known divergence is fully described, and still has the predicted size."""

import dataclasses
import json
import math
import os
import platform
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

from crosscheck.divergences.divergence import KnownDivergence, Processors
from crosscheck.divergences.table import DIVERGENCES, TABLES, find_divergence
from shared.errors import IsogradError

ROWS = list(DIVERGENCES.values())
MARKS = {"cpu": (), "cuda": (pytest.mark.gpu,)}
FIRST = [table[0] for table in TABLES]  # one of each kind is quick
RUNS = [
    pytest.param(
        row, marks=[*MARKS[row.device], *([] if row in FIRST else [pytest.mark.slow])], id=f"{row.id}-{row.name}"
    )
    for row in ROWS
]


@pytest.fixture
def nothing_changed():
    """Fail a test that does not restore a framework's switches, defaults and random state."""

    def state():
        return (
            jax.config.jax_enable_x64,
            jax.config.jax_default_matmul_precision,
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(),
            repr(np.random.get_state()),
        )

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_filled_and_in_plain_clauses(row):
    texts = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.type is str}
    assert all(text == text.strip() and text and not text.endswith(".") for text in texts.values()), texts
    assert re.fullmatch(r"D\d{2,3}", row.id)
    assert row.device in MARKS
    assert callable(row.measure)


@pytest.mark.parametrize("field", ["id", "name", "measure"])
def test_no_two_rows_share(field):
    values = [getattr(row, field) for table in TABLES for row in table]
    assert len(set(values)) == len(values)


def test_the_catalogue_is_complete_and_in_order():
    assert list(DIVERGENCES) == [f"D{number:02d}" for number in range(1, len(ROWS) + 1)]
    assert len(ROWS) >= 60


@pytest.mark.parametrize("row", RUNS)
def test_a_divergence_has_the_size_that_was_predicted(row, nothing_changed):
    measured = row.measure()
    assert row.holds(measured), f"{row.id} {row.name}: {row.predicted} was predicted, {measured} found: {row.size_of}"


@pytest.mark.parametrize(
    ("predicted", "measured", "holds"),
    [
        (1.0, 1.9, True),
        (1.0, 2.1, False),
        (1.0, 0.4, False),
        (1.0, 0.0, False),
        (1.0, math.nan, False),
        (math.nan, math.nan, True),
        (math.nan, 0.0, False),
        (math.inf, math.inf, True),
        (math.inf, 1.0, False),
    ],
)
def test_a_size_holds_within_a_factor_of_two_and_a_nan_stays_a_nan(predicted, measured, holds):
    row: KnownDivergence = dataclasses.replace(ROWS[0], predicted=predicted)
    assert row.holds(measured) is holds


@pytest.mark.parametrize(("does", "expected"), [(True, 1.0), (False, 10.0)])
def test_a_size_that_hangs_on_the_processor_is_predicted_for_this_one(does, expected):
    processors = Processors("count in tens", lambda: does, size_on_others=10.0)
    row: KnownDivergence = dataclasses.replace(ROWS[0], predicted=1.0, processors=processors)
    assert [size for size in (1.0, 10.0) if row.holds(size)] == [expected]
    assert row.conditions == "1 on processors that count in tens, 10 on others"
    assert row.to_dict()["predicted"] == expected


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="XLA leaves out instructions of x86 alone")
def test_the_recomputed_mean_costs_nothing_without_fused_instructions():
    environment = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=SSE4_2"
    command = [sys.executable, "-m", "experiments", "explain", "--divergence", "D65", "--json"]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    (row,) = json.loads(result.stdout)["divergences"]
    assert (row["predicted"], row["status"]) == (1.1e-7, "holds")


def test_a_row_is_found_by_its_id_and_a_wrong_id_names_near_ones():
    assert find_divergence("D18").name == "ln-eps"
    with pytest.raises(IsogradError, match=r"unknown divergence 'd18': did you mean 'D18'"):
        find_divergence("d18")
