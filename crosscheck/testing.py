"""One line for a test suite: assert that a torch module and a JAX module agree, or say where and why they diverge."""

from typing import Any

from crosscheck.causes.explanation import Explanation
from crosscheck.causes.hints import hint
from crosscheck.compare import compare
from crosscheck.explain import SECONDS
from crosscheck.explain import explain as explained
from crosscheck.judging.rows import KIND
from crosscheck.pairing.options import known_options
from crosscheck.report import Report

SHOWN = 5  # how many other disagreeing tensors to list


@known_options(compare)
def assert_twins_agree(
    torch_module: Any,
    jax_module: Any,
    inputs: Any = None,
    *,
    explain: bool = True,
    budget: float = SECONDS,
    **options: Any,
) -> Report:
    """Compare two modules as `crosscheck.compare` does, with the same options, and return the report.

    The causes of a disagreement are searched for `budget` seconds, or not at all without `explain`.
    Raises AssertionError if they disagree, with the module at fault, the phase, the tensor, its worst element, both
    sides' statistics and a hint; IsogradError if they can't be compared.
    """
    __tracebackhide__ = True
    if explain:
        explanation = explained(torch_module, jax_module, inputs, budget=budget, **options)
    else:
        explanation = Explanation(compare(torch_module, jax_module, inputs, **options), None)
    if not explanation.report.agrees:
        raise AssertionError(disagreement(explanation))
    return explanation.report


def disagreement(explanation: Explanation) -> str:
    """The first divergence of a report, one line per known fact."""
    report, row, found = explanation.report, explanation.report.first_row, explanation.report.first_divergence
    others = [other.label for other in report.disagreements if other is not row]
    lines = {
        "module": found.module if found else report.name,
        "phase": found.phase if found else "",
        "tensor": str(row) if row else "",
        **dict(zip(("torch", "jax"), map(str, row.statistics if row else ()), strict=False)),
        "also": _listed(others),
        **{f"called in {side} only": ", ".join(paths) for side, paths in report.unmatched.items() if paths},
        "note": explanation.noted,
        "hint": _known(explanation) or hint(report),
    }
    counted = sum(not KIND[each.kind].is_inside for each in report.rows)
    title = f"{report.title}: the twins disagree in {len(report.disagreements)} of {counted} tensors"
    return "\n".join([title, *(f"  {name}: {text}" for name, text in lines.items() if text)])


def _listed(labels: list[str]) -> str:
    more = f", and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more


def _known(explanation: Explanation) -> str:
    """The known default that causes the difference, and what to change; empty if unknown."""
    causes = [each for each in (explanation, *explanation.more) if each.divergence]
    return "; then ".join(
        f"{each.name}: {each.evidence}; in JAX: {each.cures[0]}; or in torch: {each.cures[1]}" for each in causes
    )
