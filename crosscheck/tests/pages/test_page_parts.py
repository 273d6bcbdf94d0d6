"""The parts of the page: the tree of modules, its colours, and the chart of errors."""

from dataclasses import replace

import pytest

from crosscheck.criterion import PROOF
from crosscheck.faults.planting import planted
from crosscheck.faults.table import FAULTS
from crosscheck.judging.rows import Divergence, Row
from crosscheck.pages.chart import PANEL, chart_of
from crosscheck.pages.tree import LEGEND, level_of, share_text, tree_of
from crosscheck.report import Report
from crosscheck.twins.suite import Check

NAN, INF = float("nan"), float("inf")
FAULT = FAULTS["gelu-by-sigmoid/jax"]


def row(kind="output", tensor="output", module="", error=0.0, bound=PROOF, **changes):
    found = Row(tensor, kind, module, (2, 3), (2, 3), error, bound, (0, 1), 1.5, 1.5)
    return replace(found, **changes)


def report(*rows, name="Pair", dtype="float64", **changes):
    return replace(Report(name, dtype, "eval", "cpu", list(rows), versions={"torch": "2", "jax": "0.10"}), **changes)


@pytest.fixture(scope="module")
def wrong():
    """A real comparison with a planted fault."""
    with planted(FAULT.changes):
        return Check(FAULT.twin, "odd_sizes", "float64", "eval", "cpu").run()


def test_the_worst_row_is_one_that_counts():
    inside, seen = row("intermediate", "a out[0]", error=INF), row(error=PROOF / 2)
    assert report(inside, seen).worst == seen


# The tree


@pytest.mark.parametrize(
    ("error", "bound", "legend", "share"),
    [
        (0.0, 0.0, "0", "0"),
        (0.00005, 1.0, "≤ 0.01 %", "<0.01 %"),
        (0.25, 1.0, "≤ bound", "25 %"),
        (1.0, 1.0, "≤ bound", "1e+02 %"),
        (3.0, 1.0, "≤ 10 ×", "3 ×"),
        (250.0, 1.0, "≤ 1000 ×", "250 ×"),
        (2.5e9, 1.0, "> 1000 ×", "2.5e9 ×"),
        (1.0, 0.0, "≤ 10 ×", "1 ×"),
        (NAN, 1.0, "not finite", "not finite"),
        (INF, 0.0, "not finite", "not finite"),
    ],
)
def test_the_colour_of_an_error_follows_its_bound(error, bound, legend, share):
    found = row(error=error, bound=bound)
    assert (LEGEND[level_of(found)], share_text(found)) == (legend, share)
    assert (level_of(found) < LEGEND.index("≤ 10 ×")) == found.agrees


def test_modules_stand_below_their_parents_in_the_order_of_the_run():
    paths = ["b", "b.0", "a.x", "b.0.deep.inner", "b.1"]
    nodes = tree_of(report(*(row("intermediate", f"{path} out[0]", path) for path in paths))).nodes
    assert [(node.depth, node.name) for node in nodes] == [
        (0, "Pair"), (1, "b"), (2, "0"), (3, "deep.inner"), (2, "1"), (1, "a.x"),
    ]  # fmt: skip


def test_a_module_shows_its_worst_tensor_of_each_phase():
    rows = [
        row("intermediate", "a in[0]", "a", PROOF / 8),
        row("intermediate", "a out[0]", "a", PROOF / 2),
        row("parameter gradient", "a.bias", "a", PROOF / 4),
    ]
    tree = tree_of(report(*rows))
    assert tree.headings == ["forward", "parameter gradient"]
    assert [cell.row for cell in tree.nodes[1].cells] == rows[1:]


def test_parameters_have_a_column_only_where_some_differ():
    equal, other = row("parameter", "a.bias", "a"), row("parameter", "a.bias", "a", 1.0)
    assert tree_of(report(equal)).headings == []
    assert tree_of(report(other)).headings == ["parameters"]


def test_the_module_of_the_first_divergence_is_marked_in_its_phase(wrong):
    tree = tree_of(wrong)
    (node,) = [node for node in tree.nodes if node.is_first]
    assert (node.path, wrong.first_divergence.module) == (FAULT.module, f"{FAULT.twin}.{FAULT.module}")
    marked = [bool(cell and cell.is_first) for cell in node.cells]
    assert marked == [heading == "forward" for heading in tree.headings]


def test_a_divergence_of_the_optimizer_is_added_to_the_tree():
    update = row("update", "1/weights/a.bias", "a", 1.0)
    first = Divergence("Pair.optimizer", "update", update.tensor)
    nodes = tree_of(report(update, first_divergence=first, first_row=update)).nodes
    assert [(node.name, node.is_first) for node in nodes] == [("Pair", False), ("a", False), ("optimizer", True)]


# The chart


def test_a_chart_has_a_panel_for_each_report_with_tensors_inside(wrong):
    outside = report(row())
    assert chart_of([outside]) is None
    chart = chart_of([wrong, outside, wrong])
    assert len(chart.panels) == 2
    inside = [row.tensor for row in wrong.rows if row.kind == "intermediate"]
    assert chart.tensors == inside
    forward, gradient = (curve.marks.count("M") for curve in chart.panels[0].curves)
    assert forward == len(inside) >= gradient > 0


def test_errors_are_drawn_on_a_logarithmic_axis_with_lanes_for_0_and_for_what_is_not_finite():
    errors = [0.0, 1e-16, 1e-14, 1e-12, NAN]
    rows = [row("intermediate", f"a out[{i}]", "a", error) for i, error in enumerate(errors)]
    (panel,) = chart_of([report(*rows)]).panels
    heights = [float(point.split(" ")[1].removesuffix("h0")) for point in panel.curves[0].marks.split("M")[1:]]
    assert heights == sorted(heights, reverse=True)
    assert heights[1] - heights[2] == heights[2] - heights[3]
    assert (heights[0], heights[-1]) == (panel.top + PANEL, panel.top)
    assert [text for _, text in panel.lanes] == ["0", "not finite"]


def test_the_tensor_of_the_first_divergence_is_marked_in_the_chart(wrong):
    (panel,) = chart_of([wrong]).panels
    marks = next(curve.marks for curve in panel.curves if curve.name == "forward")
    tensors_inside = [row.tensor for row in wrong.rows if row.kind == "intermediate"]
    place = tensors_inside.index(wrong.first_divergence.tensor)
    assert marks.split("M")[1:][place].startswith(f"{panel.first:.1f}".removesuffix(".0") + " ")
