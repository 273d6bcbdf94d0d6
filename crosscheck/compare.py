"""Compare a torch module with a JAX module: parameters, everything inside, outputs, all gradients, updates."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crosscheck.judging.first_divergence import Found, as_divergence, find_first
from crosscheck.judging.isolation import innermost, isolate
from crosscheck.judging.judge import decisive, judge, uneven_calls, unmatched
from crosscheck.judging.rows import Row
from crosscheck.pairing.layouts import Layouts, canonical
from crosscheck.pairing.preconditions import (
    arguments_of,
    check_dtypes,
    check_pairing,
    check_rules,
    options_of,
    recorded_sides,
)
from crosscheck.pairing.renaming import Rules, in_shapes_of
from crosscheck.recording import record
from crosscheck.recording.record import PROOF_DTYPE, Recording
from crosscheck.recording.values import Options
from crosscheck.report import Report


def compare(
    torch_module: Any,
    jax_module: Any,
    inputs: Any = None,
    *,
    rules: Rules | None = None,
    layouts: Layouts | None = None,
    train: bool = False,
    gradients: bool = True,
    updates: int = 0,
    optimizers: tuple[Callable[[list[Any]], Any], Any] | None = None,
    torch_arguments: dict[str, Any] | None = None,
    jax_arguments: dict[str, Any] | None = None,
    optimize: bool = True,
    name: str | None = None,
    device: str | None = None,
) -> Report:
    """Run both modules on the same inputs (a dict, a tuple or one array, of any framework) and compare all they do.

    `torch_module` is a torch.nn.Module or a function; `jax_module` an NNX module, a Linen module bound to its
    variables, the pair (module, variables), or a function. Either may be a `Recording`, or the file of one.
    `rules` renames JAX parameters and modules to torch's names: regular expression -> replacement. `layouts` names the
    foreign layout of the parameters below a path, such as {"rnn": "torch.nn.GRU"}; a tuple names one of each side.
    `torch_arguments` and `jax_arguments` are keywords that only one side takes, or takes in another form: a mask of the
    other polarity, deterministic=True. In train mode our own dropout draws equal masks on both sides, any other dropout
    is off. `updates` compares the state after one and after so many optimiser steps too, of our AdamW or of
    `optimizers`, (parameters -> torch optimizer, optax transformation).
    float64 modules are held to the proof, others to the noise rule; those are compiled as users compile them, or in a
    third of the time with optimize=False, which leaves XLA's machine code as it comes.
    Raises IsogradError if a module refuses the inputs, or if outputs or parameters do not pair up.
    """
    check_rules(rules or {})
    sides = {"torch": torch_module, "jax": jax_module}
    recorded = recorded_sides(sides)
    arguments = arguments_of(inputs, recorded)
    wanted = Options(PROOF_DTYPE, train, gradients, updates=updates, optimize=optimize)
    options = options_of(recorded, torch_module, arguments, wanted, device)
    title = name or _title(recorded, torch_module)
    check_dtypes(sides, recorded, options, title)
    extra = {"torch": torch_arguments, "jax": jax_arguments}
    chosen = dict(zip(sides, optimizers or (None, None), strict=True))

    def run(side: str, options: Options) -> Recording:
        found = recorded[side]
        found = found or record.run(side, sides[side], arguments, options, title, chosen[side], extra[side])
        return canonical(found, layouts or {}, rules)

    ours, theirs = run("torch", options), run("jax", options)
    theirs = replace(theirs, values=in_shapes_of(theirs.values, ours.values.parameters))
    check_pairing(ours, theirs, title)
    rows = judge(ours, theirs)
    report = Report(
        name=title,
        dtype=options.dtype.name,
        mode="train" if options.train else "eval",
        device=options.device,
        rows=rows,
        unmatched=unmatched(ours, theirs),
        versions={**ours.versions, **theirs.versions},
        parts={**ours.values.seconds, **theirs.values.seconds},
        recordings=(ours, theirs),
    )
    if report.agrees:
        return report
    found = _first(rows, ours, theirs)
    if found is not None and recorded["jax"] is None and _is_hidden(found.module, theirs):
        written_out = run("jax", replace(options, unrolled=True, updates=0))
        written_out = replace(written_out, values=in_shapes_of(written_out.values, ours.values.parameters))
        found = _first(judge(ours, written_out), ours, written_out) or found
        if _is_hidden(found.module, written_out) and recorded["torch"] is None:
            given = record.with_own(arguments, torch_arguments)
            alone = isolate(torch_module, jax_module, given, options, rules or {}, layouts, below=found.module)
            found = innermost(alone) or found
    return replace(report, first_divergence=as_divergence(found, title), first_row=found.row if found else None)


def _first(rows: list[Row], ours: Recording, theirs: Recording) -> Found | None:
    calls = ours.values.calls
    return find_first(decisive(rows, calls), calls, uneven_calls(ours.values, theirs.values))


def _is_hidden(module: str, theirs: Recording) -> bool:
    """True if something inside the module runs where no tensor is seen: in a loop or checkpoint of JAX's."""
    return any(path.startswith(f"{module}." if module else "") for path in theirs.values.hidden)


def _title(recorded: dict[str, Recording | None], torch_module: Any) -> str:
    found = recorded["torch"]
    return found.name if found else record.title_of(torch_module)
