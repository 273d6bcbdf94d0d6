"""A study as an HTML page, with its figures also as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plain_text import printable
from experiments.reports import looks
from experiments.reports.drawing import Drawn, draw, line_of, logarithmic
from experiments.reports.looks import LINES, Look
from experiments.studies.study import Claim, Figure, Findings, Study
from experiments.studies.telling import collect, said, show, summary
from shared.atomic import new_file
from shared.checkpoint import write_json
from shared.pages import TEMPLATES as SHARED_TEMPLATES

DATA, PAGE = "report.json", "report.html"
FOLDERS = (
    Path(__file__).parent / "templates",
    Path(looks.__file__).parent / "templates",
    SHARED_TEMPLATES,
)


def write_studies(found: Mapping[str, tuple[Study, Findings]], out: Path, command: str) -> Path:
    """Write report.json, report.html and the figures into `out`; returns the page to open."""
    drawn = {name: [draw_figure(figure) for figure in findings.figures] for name, (_, findings) in found.items()}
    page = render(found, drawn, command)
    write_json(out / DATA, {"command": command, **collect(found)})
    for figure in (figure for figures in drawn.values() for figure in figures):
        figure.write(out, with_png=False)
    with new_file(out / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / PAGE


def render(found: Mapping[str, tuple[Study, Findings]], drawn: Mapping[str, Sequence[Drawn]], command: str) -> str:
    """The page of some studies."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDERS), autoescape=True)
    environment.trim_blocks = environment.lstrip_blocks = True
    content = {
        "studies": [
            {
                "study": study,
                "summary": summary(findings),
                "claims": [_cells(claim) for claim in findings.claims if claim.bound is not None],
                "measured": [_cells(claim) for claim in findings.claims if claim.bound is None],
                "figures": drawn[name],
            }
            for name, (study, findings) in found.items()
        ],
        "colours": {name: looks.as_css(dark=name == "dark") for name in ("light", "dark")},
        "command": command,
    }
    return printable(environment.get_template("studies.html.jinja").render(content))


def _cells(claim: Claim) -> dict[str, Any]:
    return {
        "words": claim.words,
        "formula": claim.formula,
        "torch": show(claim.found.torch),
        "jax": show(claim.found.jax),
        "bound": "" if claim.bound is None else show(claim.bound),
        "verdict": said(claim),
        "wrong": claim.wrong,
        "kind": claim.verdict if claim.as_expected else "wrong",
    }


def draw_figure(figure: Figure) -> Drawn:
    """Each curve in its own colour, torch solid and JAX dashed on top of it."""
    legend = [
        (f"{curve.label}, {backend}" if curve.label else backend, Look(number, "", LINES[backend]))
        for number, curve in enumerate(figure.curves)
        for backend in LINES
    ]
    lines = [(curve.x, values) for curve in figure.curves for values in curve.y]

    def plot(panels: Sequence[Any]) -> None:
        (axes,) = panels
        axes.set(xlabel=figure.x, ylabel=figure.y)
        for name in figure.logarithmic:
            logarithmic(axes, name)
        for (x, y), (_, look) in zip(lines, legend, strict=True):
            axes.plot(x, np.where(np.asarray(y) > 0, y, np.nan), **line_of(look))

    return draw(figure.name, figure.caption, plot, legend)
