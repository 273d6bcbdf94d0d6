"""Every figure of the README stands in a result file that a command wrote."""

import json
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "experiments" / "results"
README = (RESULTS.parents[1] / "README.md").read_text()


def test_the_curves_of_the_small_reviews_are_those_of_their_table():
    results = (RESULTS / "reviews_small_cpu.md").read_text()
    rows = re.findall(r"^\| `(reviews-\d-small)` \| (.*) \| ([\d.]+) \| ([\d.e-]+) \|$", README, re.MULTILINE)
    assert len(rows) == 7
    for name, model, accuracy, difference in rows:
        measured = [line.replace("*", "") for line in results.splitlines() if line.startswith(f"| {name} ")]
        assert [line.split(" | ")[2] for line in measured] == ["torch", "jax"]
        assert all(f"| {model}, small |" in line and f" | {accuracy} | " in line for line in measured)
        assert f"{name}, float32: the losses of torch and jax differ by at most {difference} (" in results
    assert re.search(r"A_major ([\d.]+\d)", results)[1] in README


def test_the_score_of_the_checks_is_that_of_the_faults():
    results = (RESULTS / "faults.md").read_text()
    criteria = re.findall(r"^\|.*\| \d+ of \d+ \| \d+ of \d+ \|$", results, re.MULTILINE)
    assert len(criteria) > 5
    assert all(line in README for line in criteria)
    caught, located = re.search(r"(\d+) of \1 faults are caught, (\d+) at the right", results).groups()
    assert f"All {caught} are caught, all {located} at the right module and phase" in README
    named, known = re.search(r"(\d+) of (\d+) faults that the catalogue knows are named right", results).groups()
    assert f"{named} of the {known} that the catalogue knows are named right" in README
    equivalents, seeds = re.search(
        r"0 false alarms in (\d+) equivalent variants, 0 in (\d+) unchanged", results
    ).groups()
    assert f"{equivalents} equivalent variants and {seeds} unchanged pairs" in README


@pytest.mark.parametrize(("dtype", "steps"), [("float64", 1000), ("float32", 300)])
def test_the_differences_in_lockstep_are_the_largest_of_the_certificates(dtype, steps):
    certificates = [json.loads(path.read_text()) for path in (RESULTS / "lockstep" / dtype).glob("*/certificate.json")]
    assert len(certificates) == 6
    assert {(each["dtype"], each["steps"], each["certified"]) for each in certificates} == {(dtype, steps, True)}
    groups = ("loss", "gradients", "exp_avg", "exp_avg_sq", "weights", "average")
    largest = [max(each["largest"][group]["difference"] for each in certificates) for group in groups]
    assert f"| {dtype}, {steps:,} steps | {' | '.join(f'{figure:.1e}' for figure in largest)} |" in README


def ratio(rows, **wanted):
    """The ratio of the one row that has these values."""
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return f"{row['ratio']:.2f}"


def test_the_costs_of_dropout_and_of_the_runner_are_those_of_the_benchmark():
    benchmarks = json.loads((RESULTS / "bench" / "bench.json").read_text())["benchmarks"]
    case = "reviews-5-small, a step"
    costs = [
        ratio(benchmarks["dropout"], case=case, backend=backend, side=side)
        for backend in ("torch", "jax")
        for side in ("shared", "native")
    ]
    words = "in PyTorch {} times as long with shared masks and {} with native ones, in JAX {} and {}"
    assert words.format(*costs) in README
    runner = [ratio(benchmarks["runner"], backend=backend, side="runner") for backend in ("torch", "jax")]
    assert "takes {} times the bare step in PyTorch and {} in JAX".format(*runner) in README
    rows = [row for row in benchmarks["runner"] if row["side"] == "runner"]
    lowest, highest = min(row["lowest_ratio"] for row in rows), max(row["highest_ratio"] for row in rows)
    assert f"single rounds go from {lowest:.2f} to {highest:.2f}" in README
