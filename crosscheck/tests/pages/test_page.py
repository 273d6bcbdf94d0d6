"""The page of a check shows all findings, and works in a browser."""

import json
import re
from dataclasses import replace

import pytest
from browser import as_printed, dom_of, layout_of

from crosscheck.criterion import PROOF
from crosscheck.faults.planting import planted
from crosscheck.faults.table import FAULTS
from crosscheck.judging.rows import KIND, Row
from crosscheck.pages.overview import lines_of, summary
from crosscheck.pages.page import render, script, tensors
from crosscheck.report import Report
from crosscheck.twins.suite import Check

FAULT = FAULTS["gelu-by-sigmoid/jax"]
PHONE, SHEET = 360, 690  # pixels: a narrow phone; the width between the margins of a sheet of A4
SCORES = {
    "total": 4,
    "judged": 50,
    "of": 50,
    "killed": 3,
    "located": 2,
    "known": 3,
    "named": 1,
    "kinds": [
        {"kind": "mask", "planted": 3, "killed": 3, "located": 2},
        {"kind": "schedule", "planted": 1, "killed": 0, "located": 0},
    ],
    "criteria": [{"name": "means within 1e-7", "caught": 1, "of": 4}],
    "equivalents": {"checked": 12, "alarms": 0},
    "seeds": {"checked": 34, "alarms": 1},
    "survivors": ["warmup-off-by-one/jax"],
    "device": "cpu",
    "versions": {"torch": "2.5", "flax": "0.12"},
}
KEPT = SCORES | {"killed": 4, "located": 4, "known": 10, "named": 9, "seeds": {"checked": 34, "alarms": 0}}


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


@pytest.fixture(scope="module")
def reports(wrong):
    checks = [("MLP", "float64", "eval"), ("MLP", "float32", "eval"), ("masked_softmax", "float64", "eval")]
    return [wrong, *(Check(twin, "odd_sizes", dtype, mode, "cpu").run() for twin, dtype, mode in checks)]


# The page as text


def test_the_page_needs_nothing_else(reports):
    page = render(reports, faults=SCORES)
    assert not re.search(r'(src|href)="(?!#)|@import|url\(|https?:', page)
    assert {f'id="{target}"' for target in re.findall(r'href="#([\w-]+)"', page)} <= set(
        re.findall(r'id="[^"]+"', page)
    )


def test_the_page_says_the_verdict_first_then_every_disagreement_then_the_twins(reports, wrong):
    page = render(reports, command="isograd check MLP")
    parts = [summary(reports), "isograd check MLP", f'<pre class="wrong">{wrong.title}', 'id="twins"', 'id="modules"']
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert summary(reports) == "4 comparisons of 3 twins, 1 disagreement"


def test_disagreements_of_many_comparisons_show_every_twin_once_before_any_a_second_time():
    bad = [report(row(error=1.0), name=name, case=str(i)) for name in ("A", "B") for i in range(12)]
    page = render(bad)
    shown = re.findall(r'<pre class="wrong">(\w)', page)
    assert shown == ["A", "B"] * 12
    assert "16 more" in page


def test_the_worst_twin_stands_first_and_what_is_not_finite_above_all():
    errors = {"fine": PROOF / 10, "close": PROOF / 2, "wrong": 1.0, "lost": float("nan")}
    page = render([report(row(error=error), name=name) for name, error in errors.items()])
    assert re.findall(r'<a href="#twin-\d+">(\w+)</a>', page) == ["lost", "wrong", "close", "fine"]


def test_a_page_of_no_report_and_one_of_faults_alone_have_a_verdict():
    assert "0 comparisons of 0 twins, no disagreement" in render([])
    page = render([], faults=SCORES)
    assert "3 of 4 planted faults caught, 2 located, 1 false alarm" in page
    assert 'class="disagree"' in page
    assert "1 of 3 named, expected 90%" in page
    assert 'class="agree"' in render([], faults=KEPT)
    assert 'class="disagree"' in render([], faults=KEPT | {"named": 8})


def test_a_page_of_faults_alone_names_command_device_and_versions():
    page = re.sub(r"<[^>]+>", "|", render([], faults=SCORES, command="isograd check --faults"))
    for name, text in (("device", "cpu"), ("versions", "torch 2.5, flax 0.12"), ("command", "isograd check --faults")):
        assert re.search(rf"{name}\|+{text}\|", page)


def test_the_scores_of_planted_faults_are_all_shown(reports):
    page = render(reports, faults=SCORES)
    cells = re.sub(r"<[^>]+>", "|", page[page.index('id="faults"') : page.index('id="modules"')])
    for words in ("mask||3||3||2", "schedule||1||0||0", "all||4||3||2", "1 of 4", "12 checked, no false alarms"):
        assert words in cells
    assert "34 checked, 1 false alarm|" in cells
    assert "warmup-off-by-one/jax" in cells
    assert "means within 1e-7" in cells


def test_no_name_can_end_the_script_or_become_markup():
    name = "</script><script>alert(1)</script>"
    page = render([report(row(tensor=name, module=name, error=1.0), name=name)], command=name)
    assert "alert(1)</script>" not in page
    assert json.loads(script([name])) == [name]


def test_a_report_is_a_page_by_itself(wrong):
    assert wrong.to_html() == render([wrong])


def test_the_page_of_a_big_check_stays_small(wrong):
    many = [replace(wrong, name=f"Twin{i // 8}", first_divergence=None, first_row=None) for i in range(330)]
    assert len(wrong.rows) > 90
    assert len(render(many).encode()) < 5 * 2**20


def test_the_page_holds_every_row_in_short(wrong):
    kinds = list(KIND)
    assert [(kinds[kind], tensor) for kind, tensor, *_ in tensors(wrong)] == [(r.kind, r.tensor) for r in wrong.rows]


def test_what_is_folded_for_its_length_is_printed_and_what_scrolls_is_printed_whole():
    page = render([], faults=SCORES)
    printed = page[page.rindex("@media print") :]
    assert "details:is(.note, .more)::details-content { display: block; content-visibility: visible; }" in printed
    assert ".tensors .wide { max-height: none; overflow: visible; }" in printed
    assert "@media screen and (prefers-color-scheme: dark)" in page


# In a browser


@pytest.fixture(scope="module")
def dom(reports, tmp_path_factory):
    """The page after its scripts ran: the first report opened by its link, a heading clicked, a chart read."""
    acts = """<script>
      document.querySelector("table.twins th button").click();
      const chart = document.querySelector("svg[data-reports]");
      for (const _ of "123") chart.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
    </script></body>"""
    page = render(reports, faults=SCORES).replace("</body>", acts)
    return dom_of(page, tmp_path_factory.mktemp("page"), fragment="#report-1")


def test_a_browser_shows_verdict_mark_and_chart(dom, reports):
    assert summary(reports) in dom[dom.index("<h1") : dom.index("</h1>")]
    assert re.search(r'<tr class="first"><th [^>]*>mlp <strong class="here">first divergence', dom)
    assert 'class="marks forward"' in dom


def test_a_link_opens_the_fold_and_every_tensor_is_there(dom, wrong):
    (table,) = re.findall(r'<table class="rows">.*?</table>', dom, re.DOTALL)
    shown = re.findall(r"<tr[^>]*><td[^>]*>([^<]*)</td><td[^>]*>([^<]*)</td>", table)
    assert shown == [(row.kind, row.tensor) for row in wrong.rows]
    assert table.count("✗ DISAGREES") == sum(not row.agrees for row in wrong.rows)


def test_a_click_on_a_heading_sorts_the_table(dom, reports):
    names = re.findall(r'<th scope="row"><a href="#twin-\d+">(\w+)</a>', dom)
    assert names == sorted((line.name for line in lines_of(reports)), key=str.lower)


def test_the_arrow_keys_read_a_tensor_out_of_the_chart(dom, wrong):
    inside = [row.tensor for row in wrong.rows if row.kind == "intermediate"]
    assert re.search(r'class="readout"[^>]*><b[^>]*>([^<]*)</b>', dom).group(1) == inside[2]


def opened(page):
    """The page with every fold open."""
    return page.replace("<details ", "<details open ")


def test_nothing_but_tables_and_charts_is_wider_than_a_phone(reports, tmp_path):
    page = opened(render(reports, faults=KEPT, command="isograd check"))
    layout = layout_of(page, tmp_path, width=PHONE)
    assert (layout["overflow"], layout["cut"], layout["squeezed"], layout["narrow"]) == (0, [], [], [])


def test_nothing_is_wider_than_a_sheet_of_paper(reports, tmp_path):
    page = opened(render(reports, faults=SCORES))
    layout = layout_of(as_printed(page), tmp_path, width=SHEET)
    assert (layout["overflow"], layout["cut"], layout["cells"], layout["squeezed"]) == (0, [], [], [])
    assert layout["tables"] >= 2 * len(reports)
