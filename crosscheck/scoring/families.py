"""Names the planted faults once more, each without the mistakes that are written for its own row of the catalogue.

The score withholds a fault's own row and similar rows, but not the family of mistakes that `explain` makes in source,
and some of these are the very edit that was planted. What is named here rests on other knowledge: changes of torch's
functions, weight layouts, and mistakes of other rows, which would be a wrong name. Faults that need a training run
are left out: each of a hundred trials would train a model anew.
"""

import ast
import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from crosscheck.causes.mistakes.mistake import edits_of
from crosscheck.causes.mistakes.rounding import CANCELLING, narrowings
from crosscheck.causes.mistakes.table import MISTAKES
from crosscheck.explain import explain_check
from crosscheck.faults.fault import Fault
from crosscheck.faults.planting import current_source, planted
from crosscheck.faults.table import FAULTS
from crosscheck.scoring.journal import Progress, judge_all
from crosscheck.scoring.score import Job, check_of, matching
from shared.errors import WeightsError


class Named(NamedTuple):
    """A fault, its row of the catalogue, the row named without its family, and whether the family has its very edit."""

    name: str
    divergence: str
    named: str | None
    is_very_edit: bool


def without_families(
    patterns: Iterable[str] = (),
    progress: Progress | None = None,
    journal: Path | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """How many faults that the catalogue knows are named right, wrong and not at all with their families kept back.

    `patterns` are names of faults or patterns (default: all). Names are kept in the journal and taken from there.
    Raises IsogradError for an unknown fault.
    """
    names = dict.fromkeys(name for pattern in patterns or ["*"] for name in matching(pattern))
    known = [name for name in names if FAULTS[name].divergence and FAULTS[name].mode != "run"]
    jobs = [Job("fault", name, explained=True) for name in known]
    found = judge_all(
        _named, jobs, Named._asdict, lambda plain: Named(**plain), journal=journal, workers=workers, progress=progress
    )
    return {**summarise([named for named in found if named]), "of": len(jobs)}


def summarise(found: list[Named]) -> dict[str, Any]:
    """Counts, and the names of the faults that were named wrong."""
    counts = Counter(_answer(each) for each in found)
    return {
        "known": len(found),
        "judged": len(found),
        "of": len(found),
        "very_edits": sum(each.is_very_edit for each in found),
        **{answer: counts[answer] for answer in ("right", "wrong", "unnamed")},
        "wrong_names": [f"{each.name}: {each.divergence}, named {each.named}" for each in found if _is_wrong(each)],
        "faults": [each._asdict() for each in found],
    }


def _named(job: Job) -> Named:
    return named_without_family(job.name)


def named_without_family(name: str) -> Named:
    """Plant a fault and explain it without the mistakes of its row."""
    fault = FAULTS[name]
    is_very_edit = is_made_by_a_mistake(fault)
    with planted(fault.changes):
        try:
            found = explain_check(check_of(fault), without=name, kept_back={fault.divergence}).divergence
        except WeightsError:  # refused before anything runs: there is nothing to explain
            found = None
    return Named(name, str(fault.divergence), found.id if found else None, is_very_edit)


def is_made_by_a_mistake(fault: Fault) -> bool:
    """True if a mistake of the fault's row, planted in the fault's file, gives the fault's very source."""
    path = fault.changes[0].path
    if any(change.path != path for change in fault.changes) or path.startswith("shared/"):
        return False
    source = current_source(path)
    planted_source = functools.reduce(lambda text, change: text.replace(change.old, change.new), fault.changes, source)
    family = [m for m in (*MISTAKES, *CANCELLING, *narrowings(fault.dtype)) if m.row == fault.divergence]
    edits = (edit.source for mistake in family for edit in edits_of(mistake, path.partition("/")[2], source))
    return any(_tree(edit) == _tree(planted_source) for edit in edits)


def _tree(source: str) -> str:
    return ast.dump(ast.parse(source))


def _answer(each: Named) -> str:
    return "unnamed" if each.named is None else "wrong" if _is_wrong(each) else "right"


def _is_wrong(each: Named) -> bool:
    return each.named not in (None, each.divergence)
