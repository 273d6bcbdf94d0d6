"""One line for a test suite: assert that a torch module and a JAX module agree, or say where and why they diverge."""

from typing import Any

from crosscheck.causes.hints import hint
from crosscheck.explain import Explanation, explain
from crosscheck.judging.rows import KIND
from crosscheck.report import Report

SHOWN = 5  # how many other disagreeing tensors to list


def assert_twins_agree(torch_module: Any, jax_module: Any, inputs: Any = None, **options: Any) -> Report:
    """Compare two modules as `crosscheck.compare` does, with the same options, and return the report.

    Raises AssertionError if they disagree, with the module at fault, the phase, the tensor, its worst element, both
    sides' statistics and a hint; IsogradError if they can't be compared.
    """
    __tracebackhide__ = True
    explanation = explain(torch_module, jax_module, inputs, **options)
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
        **{f"called in {side} only": ", ".join(paths) for side, paths in report.unmatched.items()},
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
    row = explanation.divergence
    if row is None:
        return ""
    cure = f"in JAX: {row.to_torch}; or in torch: {row.to_jax}"
    return f"{row.id} {row.name}: {explanation.evidence}; {cure}"
