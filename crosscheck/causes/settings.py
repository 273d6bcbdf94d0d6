"""The setting of a user's optimizer that closes the gap after updates."""

import contextlib

from crosscheck.causes.explanation import Explanation
from crosscheck.causes.flips.optimizers import OptimizerFlip, optimizer_flips
from crosscheck.causes.flips.search import Budget
from crosscheck.causes.gone import is_gone
from crosscheck.causes.sizes import FLOAT32_GAP, LARGEST_ROUNDING
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.pairing.layouts import Layouts
from crosscheck.recording.side import Side
from crosscheck.report import Report
from shared.errors import IsogradError


def of_the_optimizer(ours: Side, report: Report, layouts: Layouts, budget: Budget) -> Explanation | None:
    """The setting of a user's torch optimizer that closes the gap after updates."""
    before, nearly = _largest(report), []
    for flip in optimizer_flips(ours, report):
        if not budget.take(flip.what):
            break
        with contextlib.suppress(IsogradError):
            found = flip.compared(ours, report, layouts)
            if is_gone(found):
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
