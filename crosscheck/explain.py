"""Explains a disagreement: flips one known default at a time on one side until the gap closes, and names it."""

import contextlib
import functools
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crosscheck.causes.alone import searched_alone
from crosscheck.causes.explanation import Explanation
from crosscheck.causes.flips.attempts import Attempt, Flipped, flips_of
from crosscheck.causes.flips.elsewhere import Elsewhere
from crosscheck.causes.flips.mistakes.table import MISTAKE_FLIPS
from crosscheck.causes.flips.search import Budget, Cause, causes_of, telling
from crosscheck.causes.flips.table import FLIPS
from crosscheck.causes.gone import is_gone
from crosscheck.causes.lost_digits import by_casts, in_float32, of_the_same_size
from crosscheck.causes.operations.beginning import Beginning
from crosscheck.causes.randomness import of_kept_values, random_call, randomness
from crosscheck.causes.settings import of_the_optimizer
from crosscheck.causes.sizes import FLOAT32_GAP, LARGEST_ROUNDING
from crosscheck.compare import compare
from crosscheck.criterion import LARGE
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.judging.drawn_apart import SAID
from crosscheck.judging.rows import Row
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import Layouts
from crosscheck.pairing.options import known_options
from crosscheck.pairing.preconditions import sides_of
from crosscheck.pairing.renaming import Rules
from crosscheck.pairing.rule_files import as_rules
from crosscheck.recording.nesting import is_float, named_arrays
from crosscheck.recording.recording import PROOF_DTYPE, SIDES
from crosscheck.recording.side import Side
from crosscheck.recording.values import Options
from crosscheck.report import Report
from crosscheck.twins.suite import Check, check_arguments
from shared.errors import IsogradError

LONGEST = 240  # letters of two formulas that are a name
SECONDS = 20.0  # that the search for a cause may take


@known_options(compare)
def explain(
    torch_module: Any,
    jax_module: Any,
    inputs: Any,
    *,
    budget: float = SECONDS,
    told: Callable[[int, str], None] = lambda number, what: None,
    **options: Any,
) -> Explanation:
    """Compare two modules as `compare` does (same options), and name the known defaults and mistakes that cause the
    difference, in at most `budget` seconds; `told(number, what)` is called at every attempt.

    Raises IsogradError as `compare` does.
    """
    left = Budget(budget, told)
    sides = sides_of(torch_module, jax_module, **options)
    report = _forward_of_a_large_pair(sides, inputs, options) or compare(*sides, inputs, **options)
    if report.agrees:
        return Explanation(report, None)
    if SAID in report.notes:
        return Explanation(report, None, noted=SAID)
    left.leave_half()
    call = random_call(sides[0], report)
    if call is not None:
        return replace(of_kept_values(report, call) or Explanation(report, None), noted=randomness(report, call))
    noted = _unlike_arguments(sides) or _first_step(sides, inputs, report, left, options)
    whole = _comparison(sides, report, as_rules(options.get("rules") or {}), options.get("layouts") or {})
    found = searched_alone(whole, report, left, _searched) or _searched(whole, report, left)
    return replace(found, tried=left.tried or found.tried, noted="; ".join(filter(None, (noted, found.noted))))


def _forward_of_a_large_pair(sides: Sequence[Side], inputs: Any, options: dict[str, Any]) -> Report | None:
    """The report of the forward pass alone, which takes a fraction of the time and memory; None of small sides, and of
    those that agree forward."""
    if sides[0].size < LARGE or any(side.recorded is not None for side in sides):
        return None
    report = compare(*sides, inputs, **{**options, "gradients": False, "updates": 0})
    return None if report.agrees else report


def _comparison(sides: Sequence[Side], report: Report, rules: Rules, layouts: Layouts) -> Comparison:
    """The comparison that a report is of."""
    recorded = report.recordings[0] if report.recordings else None
    options = recorded.options if recorded else Options(PROOF_DTYPE)
    return Comparison(*sides, (recorded and recorded.arguments) or ((), {}), options, rules, layouts)


def _searched(whole: Comparison, report: Report, budget: Budget) -> Explanation:
    """The causes that flips within the budget show; else what only the size of the gap, or its numbers, show."""
    sides, layouts = (whole.ours, whole.theirs), whole.layouts
    ours = whole.ours
    phase = report.first_divergence.phase if report.first_divergence else ""
    if phase == "parameters" or ours.recorded is not None:
        return _first_that_helps(report, flips_of(ours, report, layouts))
    if phase == "update" and (found := of_the_optimizer(ours, report, layouts, budget)):
        return found
    only_jax = report.offer.startswith("jax cast")  # then D69 may say more: its fused attention is float32 inside
    narrow = in_float32(report) or (None if only_jax else by_casts(report))
    if narrow is not None:
        return narrow
    begins = Beginning(*sides, report)
    causes = causes_of(
        (*FLIPS, *MISTAKE_FLIPS), ours, report, layouts, budget, functools.partial(is_gone, before=report),
        begins, _elsewhere(whole),
    )  # fmt: skip
    if causes:
        is_default = any(causes[0].flip is each for each in FLIPS)  # of a known function, whose name says all
        if not causes[0].formulas and not is_default and not budget.is_spent:
            begins(telling(report))
        words = "" if is_default else causes[0].formulas or (begins.formulas or [""])[0]
        return _named(report, causes, words)
    if phase.endswith("gradient") and (found := _nan_behind(report)):
        return found
    if report.first_row is None or report.first_row.error > LARGEST_ROUNDING:
        if begins.formulas is not None:
            return _of_formulas(report, *begins.formulas)
        if report.dtype == "float64":
            return Explanation(report, None, noted=begins.words)
    is_small = report.first_row is not None and report.first_row.error <= FLOAT32_GAP
    if report.offer and not only_jax and is_small:
        words = f"the gap has the size of float32's rounding; {report.offer}"
        return Explanation(report, DIVERGENCES["D73"], words, is_closed=False)
    everywhere = flips_of(ours, report, layouts, is_narrowed=False)
    agreeing = [row for row in report.rows if row.kind == "intermediate" and row.agrees]
    found = of_the_same_size(report, everywhere, agreeing) or by_casts(report)
    return found or Explanation(report, None, noted=begins.words)


def _elsewhere(whole: Comparison) -> Callable[[Flipped, Row], bool]:
    """Whether a flip closes a row's gap on other inputs."""
    if any(side.recorded is not None for side in (whole.ours, whole.theirs)):
        return lambda flipped, row: True
    return Elsewhere(whole).bears_out


def _of_formulas(report: Report, words: str, fix: tuple[str, str]) -> Explanation:
    """D99 by what each side computes of what both have."""
    left = "all that it is computed from agrees"
    return Explanation(report, DIVERGENCES["D99"], words, left=left, fix=fix)


def _named(report: Report, causes: Sequence[Cause], formulas: str) -> Explanation:
    """The causes as one explanation: the first with the others, each with what it leaves; a change made for the code
    is named by what each side computes there, since another change may come to the same."""
    found = [
        Explanation(
            report, DIVERGENCES[cause.flip.divergence], cause.what, left=_left(report, cause), fix=cause.flip.fix
        )
        for cause in causes
    ]
    first, flip = replace(found[0], more=tuple(found[1:]), causes=tuple(causes)), causes[0].flip
    if not formulas or formulas == flip.what:
        return first
    if not flip.is_placed or len(formulas) > LONGEST:
        return replace(first, noted=formulas)
    row = "D99" if flip.divergence == "D85" else flip.divergence
    return replace(first, divergence=DIVERGENCES[row], flipped=f"{formulas}, as if {flip.what}")


def _left(report: Report, cause: Cause) -> str:
    """What a cause leaves, in words; empty if nothing."""
    if is_gone(cause.left, before=report):
        return ""
    if cause.flip.is_numbered and all(row.phase != "forward" for row in cause.left.disagreements):
        return "then all outputs agree"
    row, number = cause.left.first_row, len(cause.left.disagreements)
    where = f", first {row.label} with an error of {row.error:.1e}" if row else ""
    begins = f": {cause.rest}" if cause.rest else ""
    return f"explains an error of {cause.error:.1e}; {number} tensors still disagree{where}{begins}"


def _unlike_arguments(sides: Sequence[Side]) -> str:
    """Which ids or masks of one shape the two sides are given with other values, in words; empty if none."""
    ours, theirs = (named_arrays(((), side.own)) for side in sides)
    unlike = [
        name
        for name, array in ours.items()
        if name in theirs and not is_float(array.dtype) and array.shape == theirs[name].shape
        and not np.array_equal(array, theirs[name]) and not np.array_equal(array == 0, theirs[name] != 0)
    ]  # fmt: skip
    return f"the two sides are given unlike {', '.join(unlike)}" if unlike else ""


def _first_step(sides: Sequence[Side], inputs: Any, report: Report, budget: Budget, options: dict[str, Any]) -> str:
    """After which optimiser step two sides differ that agree after the first, in words, found by bisection."""
    last = report.first_row.step if report.first_row else None
    if last is None or last == 1 or any(side.recorded is not None for side in sides):
        return ""
    agrees, differs = 1, last
    while differs - agrees > 1 and budget.take(f"{(agrees + differs) // 2} steps"):
        middle = (agrees + differs) // 2
        if compare(*sides, inputs, **{**options, "updates": middle}).agrees:
            agrees = middle
        else:
            differs = middle
    return f"begins with step {differs}: the state after step {agrees} agrees"


def explain_check(
    check: Check,
    report: Report | None = None,
    without: str = "",
    kept_back: Collection[str] = (),
    budget: Budget | None = None,
) -> Explanation:
    """Name the known default behind a disagreement in one check of the suite; `report` is its report, if already run.

    `without` names a planted fault whose own row and similar rows are withheld, so that whatever is named rests on
    other knowledge than the answer itself; `kept_back` names rows of the catalogue whose mistakes are all withheld.
    Without a budget the search takes its time.
    """
    from crosscheck.causes.source_attempts import mistakes_of
    from crosscheck.twins.pair import build_pair

    check = replace(check, keep_values=True)
    report = report or check.run()
    if report.agrees:
        return Explanation(report, None)
    flips: list[Attempt] = []
    if check.mode != "run":
        pair = build_pair(check.twin, dtype=check.dtype, case=check.case, device=check.device, seed=check.seed)
        flips += flips_of(Side("torch", pair.torch, check.twin), report, is_narrowed=False)
    mistakes = list(mistakes_of(check, report, without, kept_back))
    found = _first_that_helps(report, [*flips, *mistakes], budget)
    if budget is not None and budget.is_spent:
        return found
    narrow = None if "D53" in kept_back else in_float32(report)
    return found if found.divergence else of_the_same_size(report, mistakes) or narrow or found


def explain_twin(
    twin: str,
    *,
    fault: str | None = None,
    dtype: str = "float64",
    case: str = "odd_sizes",
    train: bool = False,
    device: str = "cpu",
    budget: float = math.inf,
    told: Callable[[int, str], None] = lambda number, what: None,
) -> Explanation:
    """`explain` for a twin of the registry, with a fault planted if one is named; its own row is then withheld.

    Raises IsogradError for an unknown twin, case, dtype, device or fault.
    """
    from crosscheck.faults.planting import planted
    from crosscheck.faults.table import find_fault

    check_arguments(twin, case, dtype, device)
    with planted(find_fault(fault).changes if fault else ()):
        check = Check(twin, case, dtype, "train" if train else "eval", device)
        return explain_check(check, without=fault or "", budget=Budget(budget, told))


def _first_that_helps(report: Report, attempts: Iterable[Attempt], budget: Budget | None = None) -> Explanation:
    tried = 0
    for attempt in attempts:
        if budget is not None and not budget.take(attempt.what):
            break
        tried += 1
        with contextlib.suppress(IsogradError):  # a flip that does not apply to these modules explains nothing
            if is_gone(attempt.compared()):
                flipped = f"if both sides have it ({attempt.what})" if attempt.in_both else attempt.what
                return Explanation(report, DIVERGENCES[attempt.row], flipped, tried)
    return Explanation(report, None, tried=tried)


def _nan_behind(report: Report) -> Explanation | None:
    """D94, if all outputs are finite and agree, but only one side's gradients are not finite."""
    row = report.first_row
    if row is None or row.error != float("inf") or len(row.statistics) != 2 or row.shape != row.jax_shape:
        return None
    hidden = [side for side, found in zip(SIDES.values(), row.statistics, strict=True) if found.not_finite]
    if len(hidden) != 1:
        return None
    words = f"all outputs agree, but {row.label} is not finite in {hidden[0]} at {row.worst_index}"
    return Explanation(report, DIVERGENCES["D94"], words, is_closed=False)
