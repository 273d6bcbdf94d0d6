"""The page of a report on a phone, on paper and in the dark; its rules also where no browser is installed."""

import re

import pytest
from bounds import is_bright, is_dark, is_legible
from browser import as_printed, layout_of
from report_runs import make_run

from experiments.catalogue import find_experiment
from experiments.reports.looks import COLOURS
from experiments.reports.report import write_report
from experiments.training.settings import Settings, with_settings

PHONE, SHEET = 360, 980  # pixels: a narrow phone; the width between the margins of a sheet of A4 in landscape


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Seven runs that differ in seven settings, one of them with a long value."""
    folder = tmp_path_factory.mktemp("page")
    settings = [
        {},
        {"seed": 1, "optimizer": "sgd", "learning_rate": 0.1, "schedule": "cosine", "warmup": 5},
        *({"seed": seed, "clip_norm": 0.5} for seed in range(2, 6)),
    ]
    folders = [
        make_run(folder / f"run-{n}", with_settings(find_experiment("reviews-1-small"), Settings(**each)))
        for n, each in enumerate(settings)
    ]
    folders.append(make_run(folder / "jax", "reviews-2-small", backend="jax", data_source=f"my/{'very-' * 9}long"))
    return write_report(folders, folder / "report").read_text(encoding="utf-8")


# Without a browser


def rules(page, condition):
    """The rules of all style sheets below a condition such as "@media print"."""
    found = []
    for start in re.finditer(re.escape(condition) + r"\s*\{", page):
        depth, end = 1, start.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(page[end], 0)
            end += 1
        found.append(page[start.end() : end - 1])
    return " ".join(" ".join(found).split())


@pytest.mark.slow
def test_the_page_prints_figures_with_captions_whole_rows_and_repeated_heads(page):
    printed = rules(page, "@media print")
    for rule in (
        "figure, tr, dt { break-inside: avoid; }",
        "figcaption { break-before: avoid; }",
        "thead { display: table-header-group; }",
        ".wide { overflow: visible; }",
        "@page { size: landscape; }",
        "print-color-adjust: exact",
    ):
        assert rule in printed


def test_the_dark_scheme_is_for_screens_alone_and_changes_every_colour(page):
    dark = rules(page, "@media screen and (prefers-color-scheme: dark)")
    everywhere = set(re.findall(r"(--[\w-]+): #", page))
    assert len(everywhere) > len(COLOURS)
    assert everywhere <= set(re.findall(r"(--[\w-]+): #", dark))
    assert set(re.findall(r"var\((--[\w-]+)\)", page)) <= set(re.findall(r"(--[\w-]+):", page))


def test_the_page_fits_a_phone_by_its_rules(page):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "dl { grid-template-columns: 1fr;" in rules(page, "@media (max-width: 40rem)")
    assert len(re.findall(r'<div class="wide"[^>]*>\s*<table', page)) == page.count("<table") == 1


def test_every_figure_and_sample_is_described_or_hidden(page):
    for attributes in re.findall(r"<svg([^>]*)>", page):
        assert 'aria-hidden="true"' in attributes or re.search(r'role="img" aria-label="[^"]+"', attributes)


def test_every_run_has_a_sample_of_its_line_in_the_table_and_in_each_legend(page):
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    samples = re.findall(r'<svg class="sample".*?</svg>', table)
    assert len(samples) == len(set(samples)) == table.count("<tr>") == 7
    legends = re.findall(r'<ul class="legend".*?</ul>', page, re.DOTALL)
    assert all(set(re.findall(r'<svg class="sample".*?</svg>', legend)) <= set(samples) for legend in legends)
    assert legends[0].count("<li>") == 7


# In a browser


@pytest.mark.slow
def test_on_a_phone_nothing_is_cut_and_everything_is_legible(page, tmp_path):
    layout = layout_of(page, tmp_path, width=PHONE)
    assert (layout["overflow"], layout["cut"], layout["squeezed"], layout["narrow"]) == (0, [], [], [])
    assert is_legible(layout["letters"])


@pytest.mark.slow
def test_on_paper_nothing_is_cut(page, tmp_path):
    layout = layout_of(as_printed(page), tmp_path, width=SHEET)
    assert (layout["overflow"], layout["cut"], layout["cells"], layout["squeezed"]) == (0, [], [], [])


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_takes_the_scheme_of_its_reader(page, tmp_path, dark):
    layout = layout_of(page, tmp_path, width=PHONE, dark=dark)
    ink, paper = ([int(level) for level in re.findall(r"\d+", layout[name])[:3]] for name in ("ink", "paper"))
    assert [is_dark(ink), is_dark(paper), is_bright(ink), is_bright(paper)] == [not dark, dark, dark, not dark]
