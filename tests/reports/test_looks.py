"""Every run of a report looks different, on light and on dark paper, to colour-blind readers too."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from bounds import is_seen, linear
from report_runs import make_run

from experiments.reports.looks import COLOURS, VARIABLES, as_css, in_variables, look_of
from experiments.reports.runs import read_run
from shared.pages import TEMPLATES

SCHEMES = {"light": 0, "dark": 1}
STYLE = (TEMPLATES / "base_style.html.jinja").read_text()
CARDS = dict(zip(SCHEMES, re.findall(r"--card: (#\w+);", STYLE), strict=True))
# Linear RGB to the cones' response and on to OKLab (Ottosson 2020)
TO_LMS = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
TO_LAB = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
SIGHT = {  # linear RGB as the colour-blind see it (Machado, Oliveira and Fernandes 2009)
    "usual": np.eye(3),
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
}
# Paul Tol's "muted" scheme of nine colours, made to be told apart by the colour-blind
MUTED = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499")


def closest(colours, sight):
    """The smallest distance of two colours."""
    seen = np.clip(np.array([linear(colour) for colour in colours]) @ np.transpose(SIGHT[sight]), 0, 1)
    lab = np.cbrt(seen @ np.transpose(TO_LMS)) @ np.transpose(TO_LAB)
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2))


@pytest.mark.parametrize(("scheme", "place"), SCHEMES.items())
def test_twenty_colours_are_seen_on_the_paper_of_their_scheme(scheme, place):
    colours = [pair[place] for pair in COLOURS]
    assert len(set(colours)) == 20
    assert all(is_seen(colour, CARDS[scheme]) for colour in colours)


@pytest.mark.parametrize(("scheme", "place"), SCHEMES.items())
@pytest.mark.parametrize("sight", SIGHT)
def test_twenty_colours_are_no_closer_than_nine_of_a_scheme_for_the_colour_blind(scheme, place, sight):
    least = min(closest(MUTED, each) for each in SIGHT)
    assert closest([pair[place] for pair in COLOURS], sight) >= least


@pytest.fixture
def looks(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    return [look_of(replace(run, number=number)) for number in range(80)]


def test_no_two_of_forty_runs_look_alike_and_repeated_hues_have_markers(looks):
    assert len({look.on_paper for look in looks[:20]}) == 20
    assert len({(look.on_paper, look.marker) for look in looks[:40]}) == 40
    assert [bool(look.marker) for look in looks[:20]] == [False] * 10 + [True] * 10


def test_the_backends_have_different_lines_also_beside_the_page(tmp_path):
    runs = [read_run(make_run(tmp_path / name, backend=name)) for name in ("torch", "jax")]
    handed = replace(runs[0], config=replace(runs[0].config, resumed=[{"step": 5, "backend": "jax"}]))
    found = [look_of(run).of_page for run in (*runs, handed)]
    assert len({look["dashes"] for look in found}) == 3
    assert found[0]["dashes"] == ""


def test_every_colour_of_a_figure_is_a_variable_that_both_schemes_declare():
    light, dark = as_css(dark=False), as_css(dark=True)
    for colour, variable in VARIABLES.items():
        assert in_variables(f"stroke: {colour}; fill: {colour}") == f"stroke: var({variable}); fill: var({variable})"
        declared = light.count(f"{variable}:"), dark.count(f"{variable}:")
        assert declared == (1, 1) or STYLE.count(f"{variable}:") == 2
