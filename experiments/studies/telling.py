"""A study for a terminal and as data."""

from collections.abc import Mapping
from typing import Any

from experiments.studies.study import Claim, Findings, Study

LARGEST_WHOLE = 1e6  # of the numbers that are written out
WIDTH = 120  # if the output is not a terminal
STYLES = {"holds": "green", "fails": "yellow", "measured": "dim"}


def collect(found: Mapping[str, tuple[Study, Findings]]) -> dict[str, Any]:
    """All studies with all their claims and curves."""
    return {
        "as_expected": all(findings.as_expected for _, findings in found.values()),
        "studies": {
            name: {"title": study.title, "course": study.course, **findings.to_dict()}
            for name, (study, findings) in found.items()
        },
    }


def print_study(study: Study, findings: Findings) -> None:
    """Every claim in three lines: verdict and words, formula, numbers."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console()
    console.width = console.width if console.is_terminal else WIDTH
    console.print(Text(f"\n{study.name}: {study.title} ({study.course})", style="bold"))
    for claim in findings.claims:
        style = STYLES[claim.verdict] if claim.as_expected else "bold red"
        console.print(Text.assemble((f"{said(claim):10}", style), claim.words), soft_wrap=True)
        for line in (claim.formula, numbers_of(claim)):
            console.print(Padding(Text(line, style="dim"), (0, 0, 0, 10), expand=False), soft_wrap=True)
    console.print(Text(summary(findings)), soft_wrap=True)


def said(claim: Claim) -> str:
    """The verdict, marked where it is not what theory says."""
    return claim.verdict if claim.as_expected else f"{claim.verdict}!"


def numbers_of(claim: Claim) -> str:
    bound = "" if claim.bound is None else f", bound {show(claim.bound)}"
    wrong = ", a wrong answer" if claim.wrong else ""
    return f"torch {show(claim.found.torch)}, jax {show(claim.found.jax)}{bound}{wrong}"


def show(number: float) -> str:
    return f"{number:,.0f}" if number == round(number, 0) and abs(number) < LARGEST_WHOLE else f"{number:.3g}"


def summary(findings: Findings) -> str:
    """One sentence: how many claims hold, how many wrong answers fail, and what is not as expected."""
    judged = [claim for claim in findings.claims if claim.bound is not None]
    right, wrong = ([claim for claim in judged if claim.wrong is kind] for kind in (False, True))
    texts = [f"{sum(bool(claim.holds) for claim in right)} of {len(right)} claims hold"]
    if wrong:
        texts.append(f"{sum(not claim.holds for claim in wrong)} of {len(wrong)} wrong answers fail")
    return "; ".join(texts)
