"""Compares a torch module with a JAX module: parameters, inner tensors, outputs, all gradients, updates."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosscheck.criterion import DRAWS, FEW_DRAWS, LARGE, MORE_DRAWS
from crosscheck.judging.conditioning import ill_conditioned
from crosscheck.judging.decision import FLOAT32_GAP, decided, offered
from crosscheck.judging.drawn_apart import drawn_apart
from crosscheck.judging.false_alarms import are_beyond, are_open
from crosscheck.judging.first_divergence import Found, as_divergence, find_first
from crosscheck.judging.isolation import innermost, isolate
from crosscheck.judging.judge import decisive, judge, uneven_calls, unmatched
from crosscheck.judging.rows import Row
from crosscheck.pairing.buffers import differing_buffers
from crosscheck.pairing.comparison import Comparison
from crosscheck.pairing.layouts import Layouts
from crosscheck.pairing.options import known_options
from crosscheck.pairing.preconditions import (
    arguments_of,
    check_dtypes,
    check_layouts,
    check_rules,
    options_of,
    sides_of,
)
from crosscheck.pairing.renaming import Rules
from crosscheck.pairing.rule_files import as_rules
from crosscheck.recording.recording import PROOF_DTYPE, Recording
from crosscheck.recording.values import WIDENED, Options
from crosscheck.report import Report
from shared.errors import IsogradError

# of random rounding, and when they are made: a large module has few at first
FURTHER_DRAWS: dict[int, Callable[[Sequence[Row], Any], bool]] = {DRAWS: are_beyond, MORE_DRAWS: are_open}


@known_options()
def compare(
    torch_module: Any,
    jax_module: Any,
    inputs: Any = None,
    *,
    rules: Rules | str | Path | None = None,
    layouts: Layouts | None = None,
    train: bool = False,
    gradients: bool = True,
    updates: int = 0,
    optimizers: tuple[Callable[[list[Any]], Any], Any] | None = None,
    torch_arguments: dict[str, Any] | None = None,
    jax_arguments: dict[str, Any] | None = None,
    optimize: bool = True,
    widen: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Report:
    """Run both modules on the same inputs (a dict, a tuple or one array, of any framework) and compare all results.

    `torch_module` is a torch.nn.Module or a function; `jax_module` an NNX module, a Linen module bound to its
    variables, the pair (module, variables), or a function. Either may be a `Recording` or a recording's file.
    `rules` renames JAX parameters and modules to torch's names: regular expression -> replacement, or a table in TOML
    as `isograd port --rules` reads it. `layouts` names the
    foreign layout of the parameters below a path, such as {"rnn": "torch.nn.GRU"}; a tuple names one for each side.
    `torch_arguments` and `jax_arguments` are keywords that only one side takes, or takes in a different form: a mask of
    the opposite polarity, deterministic=True. In train mode our dropout draws equal masks on both sides, and any other
    dropout is off. `updates` also compares the state after the first optimiser step and after this many, with our AdamW
    or with `optimizers`, (parameters -> torch optimizer, optax transformation).
    float64 modules are held to the proof, others to the noise rule. The latter are compiled as users compile them;
    optimize=False skips XLA's optimisation of machine code and takes a third of the time. `widen` reads casts to
    float32 inside float64 modules, and tensors created in float32, as float64: such code reaches the proof, too.
    Raises IsogradError if a module refuses the inputs, or if outputs or parameters do not match.
    """
    rules = as_rules(rules or {})
    check_rules(rules)
    check_layouts(layouts)
    if updates < 0:
        raise IsogradError(f"updates must be 0 or more, got {updates}")
    own = {"torch_arguments": torch_arguments, "jax_arguments": jax_arguments, "optimizers": optimizers}
    sides = sides_of(torch_module, jax_module, name=name, **own)
    arguments = arguments_of(inputs, sides)
    widened = WIDENED if widen else ()
    runs = DRAWS if sides[0].size < LARGE else FEW_DRAWS
    wanted = Options(PROOF_DTYPE, train, gradients, updates=updates, noise_runs=runs, optimize=optimize, widen=widened)
    options = options_of(sides, arguments, wanted, device)
    check_dtypes(sides, options)
    comparison = Comparison(*sides, arguments, options, rules, layouts or {})
    ours, theirs = comparison.recordings()
    ours, report = _judged_by_enough_draws(ours, theirs, comparison)
    rows, because = decided(report.rows, lambda: judge(*comparison.in_float64().recordings()))
    report = replace(report, rows=rows, undecided_because=because)
    report = replace(report, rows=ill_conditioned(report.rows, comparison, ours, theirs))
    unlike = differing_buffers(*(side.module for side in sides), comparison.rules)
    if report.agrees:
        return replace(report, idle_buffers=unlike)
    more = [drawn_apart(report.rows, (ours, theirs)), f"buffers that differ: {', '.join(unlike)}" if unlike else ""]
    report = replace(report, notes=[*report.notes, *filter(None, more)])
    return _past_rounding(_located(report, ours, theirs, comparison), comparison)


def as_judged(comparison: Comparison) -> Report:
    """The report of a comparison by its first draws of the noise, with the first divergence.

    Raises IsogradError as `compare` does.
    """
    ours, theirs = comparison.recordings()
    return _located(_judged(ours, theirs, comparison), ours, theirs, comparison)


def _judged_by_enough_draws(ours: Recording, theirs: Recording, comparison: Comparison) -> tuple[Recording, Report]:
    """The report, and our recording with the noise that it was judged by."""
    options, report = comparison.options, _judged(ours, theirs, comparison)
    for draws, are_needed in FURTHER_DRAWS.items() if comparison.ours.recorded is None else ():
        if draws > options.noise_runs and are_needed(report.rows, options.dtype):
            ours = replace(ours, noise=comparison.noise_of(draws))
            report = _judged(ours, theirs, comparison)
    return ours, report


def _judged(ours: Recording, theirs: Recording, comparison: Comparison) -> Report:
    """The report of two recordings, without the first divergence."""
    options = comparison.options
    return Report(
        name=comparison.ours.title,
        dtype=options.dtype.name,
        mode="train" if options.train else "eval",
        device=options.device,
        rows=judge(ours, theirs),
        unmatched=unmatched(ours, theirs),
        versions={**ours.versions, **theirs.versions},
        parts={**ours.values.seconds, **theirs.values.seconds},
        recordings=(ours, theirs),
        notes=_notes(ours, comparison),
    )


def _notes(ours: Recording, comparison: Comparison) -> list[str]:
    """What a reader of the report has to know about what was compared."""
    gradients = {**ours.values.parameter_gradients, **ours.values.input_gradients}
    notes = {
        "the JAX side is a function: weights inside it, and their gradients, are not compared": (
            comparison.is_closed_over
        ),
        "gradients of complex numbers are in torch's convention, the conjugates of JAX's": any(
            array.dtype.kind == "c" for array in gradients.values()
        ),
    }
    return [words for words, is_so in notes.items() if is_so]


def _past_rounding(report: Report, comparison: Comparison) -> Report:
    """The report with what `widen` would change, where float32 can be the reason for what differs: if something still
    differs then, that is where the two first diverge."""
    first, options = report.first_row, comparison.options
    is_recorded = any(side.recorded is not None for side in (comparison.ours, comparison.theirs))
    if is_recorded or options.dtype != PROOF_DTYPE or options.widen or first is None or first.error > FLOAT32_GAP:
        return report
    wide = replace(comparison, options=replace(comparison.options, widen=WIDENED))
    words, recordings = offered(wide)
    report = replace(report, offer=words)
    if recordings is None:
        return report
    still = _located(replace(report, rows=judge(*recordings)), *recordings, wide)
    return replace(report, first_divergence=still.first_divergence, first_row=still.first_row)


def _located(report: Report, ours: Recording, theirs: Recording, comparison: Comparison) -> Report:
    """The report with the first divergence."""
    found = _first(report.rows, ours, theirs)
    if found is not None and comparison.theirs.recorded is None and _is_hidden(found.module, theirs):
        found = _look_inside(found, ours, comparison)
    return replace(report, first_divergence=as_divergence(found, report.name), first_row=found.row if found else None)


def _look_inside(found: Found, ours: Recording, comparison: Comparison) -> Found:
    """The fault in a module whose tensors are not visible, found with JAX's loops unrolled, or in isolation."""
    written_out = replace(comparison, options=replace(comparison.options, unrolled=True, updates=0))
    theirs = written_out.jax_recording(ours)
    found = _first(judge(ours, theirs), ours, theirs) or found
    if comparison.ours.recorded is None and _is_hidden(found.module, theirs):
        found = innermost(isolate(comparison, found.module, (ours, theirs))) or found
    return found


def _first(rows: list[Row], ours: Recording, theirs: Recording) -> Found | None:
    calls = ours.values.calls
    return find_first(decisive(rows, calls), calls, uneven_calls(ours.values, theirs.values))


def _is_hidden(module: str, theirs: Recording) -> bool:
    """True if something in the module runs where tensors are not visible: in a JAX loop or checkpoint."""
    return any(path.startswith(f"{module}." if module else "") for path in theirs.values.hidden)
