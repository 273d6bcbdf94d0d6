"""Explains a disagreement: flips one known default at a time on one side until the gap closes, and names it."""

import contextlib
import functools
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crosscheck import criterion
from crosscheck.causes.alone import after, first_alone, in_outputs
from crosscheck.causes.flips.attempts import Attempt, Flipped, flips_of
from crosscheck.causes.flips.elsewhere import Elsewhere
from crosscheck.causes.flips.mistakes.table import MISTAKE_FLIPS
from crosscheck.causes.flips.optimizers import OptimizerFlip, optimizer_flips
from crosscheck.causes.flips.search import MOST_CAUSES, Budget, Cause, causes_of, telling
from crosscheck.causes.flips.table import FLIPS
from crosscheck.causes.operations.beginning import Beginning
from crosscheck.compare import compare
from crosscheck.criterion import LARGE
from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.judging.decision import AGREES
from crosscheck.judging.rows import KIND, Row, nonfinite_as_text
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import Layouts
from crosscheck.pairing.options import known_options
from crosscheck.pairing.preconditions import sides_of
from crosscheck.pairing.renaming import Rules
from crosscheck.pairing.rule_files import as_rules
from crosscheck.recording import record
from crosscheck.recording.nesting import is_float, named_arrays
from crosscheck.recording.recording import PROOF_DTYPE, SIDES, Recording
from crosscheck.recording.side import Side
from crosscheck.recording.tracing import call_of
from crosscheck.recording.values import Options
from crosscheck.report import Report
from crosscheck.twins.suite import Check, check_arguments
from shared.errors import IsogradError

LONGEST = 240  # letters of two formulas that are a name
SECONDS = 20.0  # that the search for a cause may take
LARGEST_ROUNDING = 2.0**-12  # derived: half of float32's digits
# Rows that lose digits: each framework loses different ones, so the gap can't close, but a flip can match its size.
LOSES_DIGITS = ("D20", "D51", "D52", "D53", "D69")
FLOAT32_GAP = 64 * 2.0**-24  # derived: float32 roundoff, times the roundings in a short computation
SAME_SIZE = 8.0  # honest rounding errors differ by small factors, precisions differ by thousands


@dataclass(frozen=True)
class Explanation:
    """The gap, the catalogue row that explains it (None if none does), what was flipped, and how many flips were tried.

    `is_closed` is False if the flip only matches the size of the gap: it can't close when each side loses other digits.
    `more` are further causes, each of what those before it leave; `left` is what this one leaves. `fix` are the changes
    of the two sides with this pair's values, where the catalogue's are another case's. `noted` says what else is known.
    `causes` are what flips show.
    """

    report: Report
    divergence: KnownDivergence | None
    flipped: str = ""
    tried: int = 0
    is_closed: bool = True
    more: tuple["Explanation", ...] = ()
    left: str = ""
    fix: tuple[str, str] | None = None
    noted: str = ""
    causes: tuple[Cause, ...] = field(default=(), repr=False, compare=False)

    @property
    def evidence(self) -> str:
        """The evidence for the row, in words."""
        if not self.is_closed:
            return self.flipped
        return f"{self.flipped}, and the gap is gone" if not self.left else f"{self.flipped}; {self.left}"

    @property
    def cures(self) -> tuple[str, str]:
        """How to change the JAX side, and how the torch side."""
        found = self.divergence
        return self.fix or ((found.to_torch, found.to_jax) if found else ("", ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the divergence's row, what was flipped, and where the two sides diverge."""
        row = self.divergence.to_dict() if self.divergence else None
        found = {"divergence": row, "flipped": self.flipped or None, "tried": self.tried}
        if self.more or self.left or self.noted:
            found |= {"more": [f"{each.name}: {each.flipped}" for each in self.more]}
            found |= {"left": self.left, "noted": self.noted}
        report = {name: value for name, value in self.report.to_dict().items() if name != "rows"}
        return nonfinite_as_text({**found, "report": report})

    def __str__(self) -> str:
        if self.report.agrees:
            return f"{self.report.title}: agrees, there is nothing to explain"
        lines = [str(self.report).partition("\n")[0]]
        lines += [f"  {self.noted}"] if self.noted else []
        if self.divergence is None:
            return "\n".join([*lines, f"  no known divergence explains it: {self.tried} flips tried"])
        for each in (self, *self.more):
            lines += each.lines
        return "\n".join(lines)

    @property
    def name(self) -> str:
        """The catalogue row's id and name."""
        return f"{self.divergence.id} {self.divergence.name}" if self.divergence else ""

    @property
    def lines(self) -> list[str]:
        """This cause alone, in lines."""
        found, (to_torch, to_jax) = self.divergence, self.cures
        if found is None:
            return []
        return [
            f"  {self.name} explains it: {self.evidence}",
            f"  when: {found.trigger}",
            f"  source: {found.source}",
            f"  change the JAX side: {to_torch}",
            f"  or the torch side: {to_jax}",
        ]


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
    left.leave_half()
    call = _random_call(sides[0], report)
    if call is not None:
        return replace(_of_kept_values(report, call) or Explanation(report, None), noted=_is_random(report, call))
    noted = _unlike_arguments(sides) or _first_step(sides, inputs, report, left, options)
    whole = _comparison(sides, report, as_rules(options.get("rules") or {}), options.get("layouts") or {})
    found = _searched_alone(whole, report, left) or _searched(whole, report, left)
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


def _searched_alone(whole: Comparison, report: Report, budget: Budget) -> Explanation | None:
    """The causes in the modules where large sides first differ, each searched for alone; None if that can't be."""
    before, found, flips = report, [], []
    while len(found) < MOST_CAUSES and (part := first_alone(whole, before)) is not None:
        if not found:
            budget.leave_half()
        new = _searched(*part, budget)
        alone = f"in {part[1].name} alone"
        if new.divergence is None:
            words = new.noted or f"nothing found in {budget.tried} attempts"
            found += [] if found else [replace(new, report=report, noted=f"{alone}: {words}")]
            break
        known = [cause.flip in flips for cause in new.causes] or [False]
        flips += [cause.flip for cause in new.causes if cause.flip not in flips]
        then = after(flips, whole, report) if new.causes and not budget.is_spent else None
        words = f"; {in_outputs(report, *then)}" if then else ""
        said = [
            replace(each, report=report, more=(), left=f"{alone} {each.left or 'the gap is gone'}{words}".rstrip("; "))
            for each, is_known in zip((new, *new.more), known, strict=True)
            if not is_known
        ]
        found += said
        if not said or then is None or then[0].first_divergence == before.first_divergence or budget.is_spent:
            break
        before = then[0]
    return replace(found[0], more=tuple(found[1:])) if found else None


def _searched(whole: Comparison, report: Report, budget: Budget) -> Explanation:
    """The causes that flips within the budget show; else what only the size of the gap, or its numbers, show."""
    sides, layouts = (whole.ours, whole.theirs), whole.layouts
    ours = whole.ours
    phase = report.first_divergence.phase if report.first_divergence else ""
    if phase == "parameters" or ours.recorded is not None:
        return _first_that_helps(report, flips_of(ours, report, layouts))
    if phase == "update" and (found := _of_the_optimizer(ours, report, layouts, budget)):
        return found
    only_jax = report.offer.startswith("jax cast")  # then D69 may say more: its fused attention is float32 inside
    narrow = _in_float32(report) or (None if only_jax else _by_casts(report))
    if narrow is not None:
        return narrow
    begins = Beginning(*sides, report)
    causes = causes_of(
        (*FLIPS, *MISTAKE_FLIPS), ours, report, layouts, budget, functools.partial(_is_gone, before=report),
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
    found = _of_the_same_size(report, everywhere, agreeing) or _by_casts(report)
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
    if _is_gone(cause.left, before=report):
        return ""
    if cause.flip.is_numbered and all(row.phase != "forward" for row in cause.left.disagreements):
        return "then all outputs agree"
    row, number = cause.left.first_row, len(cause.left.disagreements)
    where = f", first {row.label} with an error of {row.error:.1e}" if row else ""
    return f"explains an error of {cause.error:.1e}; {number} tensors still disagree{where}"


def _of_the_optimizer(ours: Side, report: Report, layouts: Layouts, budget: Budget) -> Explanation | None:
    """The setting of a user's torch optimizer that closes the gap after updates."""
    before, nearly = _largest(report), []
    for flip in optimizer_flips(ours, report):
        if not budget.take(flip.what):
            break
        with contextlib.suppress(IsogradError):
            found = flip.compared(ours, report, layouts)
            if _is_gone(found):
                return _of_setting(report, flip)
            if _largest(found) <= min(before * LARGEST_ROUNDING, FLOAT32_GAP):
                nearly.append((_largest(found), flip, found))
    if nearly:
        left, flip, found = min(nearly, key=lambda each: each[0])
        return _of_setting(report, flip, f"explains an error of {before:.1e} and leaves one of {left:.1e}")
    if before <= FLOAT32_GAP and callable(ours.optimizer):
        words = "the gap after updates is of the size of float32's rounding: a rate or a count is float32 on one side"
        return Explanation(report, DIVERGENCES["D73"], words, is_closed=False)
    return None


def _of_setting(report: Report, flip: OptimizerFlip, left: str = "") -> Explanation:
    step = report.first_row.step if report.first_row else None
    begins = " (seen after step 1)" if step == 1 else ""
    fix = (f"give JAX's optimizer what torch's has, not {flip.what}", f"give torch's optimizer {flip.what}")
    return Explanation(report, DIVERGENCES[flip.divergence], f"{flip.what}{begins}", left=left, fix=fix)


def _largest(report: Report) -> float:
    """The largest error of what disagrees."""
    return max((row.error for row in report.disagreements), default=0.0)


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


def _random_call(ours: Side, report: Report) -> str | None:
    """The first call in which the torch side draws random numbers, "" if outside any, None if it draws none: found by
    running it once more."""
    if ours.recorded is not None or report.recordings is None or not report.recordings[0].options.train:
        return None
    before = report.recordings[0]
    options = replace(before.options, gradients=False, updates=0, noise_runs=1)
    again = record.run(ours, before.arguments or ((), {}), options).values
    for name, array in {**again.intermediates, **again.outputs}.items():
        old = {**before.values.intermediates, **before.values.outputs}.get(name)
        if (
            old is not None
            and old.shape == array.shape
            and not np.array_equal(old, array, equal_nan=is_float(old.dtype))
        ):
            return call_of(name) if name in again.intermediates else ""
    return None


def _is_random(report: Report, call: str) -> str:
    """That the torch side is random, and where, in words."""
    path = report.recordings[0].values.calls[call].path if call and report.recordings else ""
    where = f"{report.name}.{path} ({call})" if path else report.name
    if path and report.recordings and _is_unchanged(report.recordings[1], call):
        where += ", where JAX drops nothing (jax_arguments= may turn it on)"
    return f"random: two runs of the torch side differ, first in {where}; compare with that part off"


def _is_unchanged(recording: Recording, call: str) -> bool:
    """True if a call returns what it is given."""
    given, found = (recording.values.intermediates.get(f"{call} {end}[0]") for end in ("in", "out"))
    return given is not None and found is not None and np.array_equal(given, found)


def _of_kept_values(report: Report, call: str) -> Explanation | None:
    """D97, if the values that a random call keeps are multiplied by another number in JAX."""
    if report.recordings is None:
        return None
    factors, drops = [], []
    for recording in report.recordings:
        given, found = (recording.values.intermediates.get(f"{call} {end}[0]") for end in ("in", "out"))
        if given is None or found is None or given.shape != found.shape or not is_float(given.dtype):
            return None
        kept = found[(found != 0) & (given != 0)] / given[(found != 0) & (given != 0)]
        if not kept.size or np.abs(kept / kept[0] - 1).max() > LARGEST_ROUNDING:
            return None
        factors.append(float(kept[0]))
        drops.append(bool((found[given != 0] == 0).any()))
    ours, theirs = factors
    if not all(drops) or abs(ours - theirs) <= LARGEST_ROUNDING * abs(ours):
        return None
    words = f"what {call} keeps is multiplied by {ours:.6g} in torch, by {theirs:.6g} in JAX"
    return Explanation(report, DIVERGENCES["D97"], words, is_closed=False)


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
    narrow = None if "D53" in kept_back else _in_float32(report)
    return found if found.divergence else _of_the_same_size(report, mistakes) or narrow or found


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
            if _is_gone(attempt.compared()):
                flipped = f"if both sides have it ({attempt.what})" if attempt.in_both else attempt.what
                return Explanation(report, DIVERGENCES[attempt.row], flipped, tried)
    return Explanation(report, None, tried=tried)


def _is_noise(report: Report) -> bool:
    """True if nothing below float64 differs by more than the noise, which the few runs of a flip measure too small."""
    return report.dtype != "float64" and all(row.error <= SAME_SIZE * row.bound for row in report.disagreements)


def _is_gone(report: Report, before: Report | None = None) -> bool:
    """True if nothing differs any more, except for NaN at the same positions on both sides, or by noise where more than
    noise did `before`.

    Gradients of NaN outputs are meaningless and ignored.
    """
    if report.agrees or report.recordings is None:
        return report.agrees
    if before is not None and _is_noise(report) and not _is_noise(before):
        return True
    fields = {KIND[row.kind].attribute for row in report.disagreements}
    if any(row.kind == "output" and row.is_nan_in_both for row in report.disagreements):
        fields = {"outputs"}
    pairs = [
        (array, getattr(report.recordings[1].values, field).get(name))
        for field in fields
        for name, array in getattr(report.recordings[0].values, field).items()
    ]
    return any(is_float(a.dtype) and np.isnan(a).any() for a, _ in pairs) and all(
        b is not None and a.shape == b.shape and criterion.prove(_nan_as_zero(a, b), _nan_as_zero(b, a), 0.0).agrees
        for a, b in pairs
    )


def _nan_as_zero(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The array with zeros where both have NaN."""
    return np.asarray(np.where(np.isnan(array) & np.isnan(other), 0.0, array))


def _in_float32(report: Report) -> Explanation | None:
    """D53, if the gap is of float32's size and one side of a float64 run holds only float32 numbers where it begins."""
    row, both = report.first_row, report.recordings
    if row is None or both is None or report.dtype != "float64" or row.error > FLOAT32_GAP:
        return None
    narrow = _narrower(*both)
    if narrow:
        return Explanation(report, DIVERGENCES["D73"], narrow, is_closed=False)
    for side in both:
        array = getattr(side.values, KIND[row.kind].attribute).get(row.tensor)
        narrow = array is not None and is_float(array.dtype) and array.any()
        if narrow and np.array_equal(array, array.astype(np.float32)):
            given = row.kind in ("input", "parameter")
            return Explanation(
                report,
                DIVERGENCES["D53" if given else "D73"],
                f"all numbers of {row.label} are float32 values on {SIDES[side.side]}'s side",
                is_closed=False,
            )
    return None


def _by_casts(report: Report) -> Explanation | None:
    """D73, if the pair agrees as soon as casts to float32 are read as float64."""
    if not report.offer.endswith(AGREES):
        return None
    return Explanation(report, DIVERGENCES["D73"], report.offer, is_closed=False)


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


def _narrower(ours: Recording, theirs: Recording) -> str:
    """Which tensor is the first that one side computes in float32 and the other in float64, in words; empty if none."""
    for name, array in {**ours.values.intermediates, **ours.values.outputs}.items():
        other = {**theirs.values.intermediates, **theirs.values.outputs}.get(name)
        dtypes = [each.dtype for each in (array, other) if each is not None and is_float(each.dtype)]
        if len(dtypes) == 2 and dtypes[0] != dtypes[1]:
            return f"{name} is {dtypes[0]} in torch and {dtypes[1]} in JAX"
    return ""


def _of_the_same_size(report: Report, attempts: Iterable[Attempt], agreeing: Sequence[Row] = ()) -> Explanation | None:
    """A row that loses digits, if its mistake moves one side as far as the two sides are apart, and moves no tensor
    that agrees."""
    first = report.first_row
    for tried, attempt in enumerate(attempts, 1):
        if first is not None and attempt.moves is not None and attempt.row in LOSES_DIGITS:
            with contextlib.suppress(IsogradError):
                share = attempt.moves(first) / first.error
                moves_too_much = (attempt.moves(row) > row.bound for row in reversed(agreeing))
                if 1 / SAME_SIZE <= share <= SAME_SIZE and not any(moves_too_much):
                    words = f"{attempt.what}: same size as the gap"
                    return Explanation(report, DIVERGENCES[attempt.row], words, tried, is_closed=False)
    return None
