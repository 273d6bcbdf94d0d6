"""Compare a torch module with a JAX module: parameters, everything inside, outputs, all gradients, updates."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosscheck import recording
from crosscheck.first_divergence import as_divergence, find_first
from crosscheck.judging import judge, unmatched
from crosscheck.recording import Recording
from crosscheck.renaming import Layouts, Rules, in_canonical_layout, renamed
from crosscheck.report import Report
from crosscheck.values import Options, as_call
from shared.errors import IsogradError
from shared.weight_rules import check_names


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
    name: str | None = None,
    device: str | None = None,
) -> Report:
    """Run both modules on the same inputs (a dict, a tuple or one array, of any framework) and compare all they do.

    `torch_module` is a torch.nn.Module or a function; `jax_module` an NNX module, a Linen module bound to its
    variables, the pair (module, variables), or a function. Either may be a `Recording`, or the file of one.
    `rules` renames JAX parameters and modules to torch's names: regular expression -> replacement. `layouts` names the
    foreign layout of the parameters below a path, such as {"rnn": "torch.nn.GRU"}. `torch_arguments` and
    `jax_arguments` are keywords that only one side takes. In train mode our own dropout draws equal masks on both
    sides, any other dropout is off. `updates` compares the state after one and after so many optimiser steps too, of
    our AdamW or of `optimizers`, (parameters -> torch optimizer, optax transformation).
    float64 modules are held to the proof, others to the noise rule.
    Raises IsogradError if a module refuses the inputs, or if outputs or parameters do not pair up.
    """
    sides = {"torch": torch_module, "jax": jax_module}
    recorded = {side: _recorded(side, module) for side, module in sides.items()}
    arguments = _arguments(inputs, recorded)
    options = _options(recorded, torch_module, arguments, train, gradients, updates, device)
    title = name or _title(recorded, torch_module)
    extra = {"torch": torch_arguments, "jax": jax_arguments}
    chosen = dict(zip(sides, optimizers or (None, None), strict=True))

    def run(side: str, options: Options) -> Recording:
        if found := recorded[side]:
            return _canonical(found, rules, layouts)
        args, kwargs = arguments
        given = (args, {**kwargs, **(extra[side] or {})})
        return _canonical(recording.run(side, sides[side], given, options, title, chosen[side]), rules, layouts)

    ours, theirs = run("torch", options), run("jax", options)
    _check_pairing(ours, theirs, title)
    rows = judge(ours, theirs)
    report = Report(
        name=title,
        dtype=options.dtype.name,
        mode="train" if options.train else "eval",
        device=options.device,
        rows=rows,
        unmatched=unmatched(ours, theirs),
        versions={**ours.versions, **theirs.versions},
        recordings=(ours, theirs),
    )
    if report.agrees:
        return report
    found = find_first(rows, ours.values.calls)
    if found is not None and recorded["jax"] is None and _is_hidden(found.module, theirs.values.hidden):
        inside = run("jax", replace(options, unrolled=True, updates=0))
        found = find_first(judge(ours, inside), ours.values.calls) or found
    return replace(report, first_divergence=as_divergence(found, title), first_row=found.row if found else None)


def _is_hidden(module: str, hidden: list[str]) -> bool:
    """True if something inside the module runs in a loop of JAX's, where no tensor is seen."""
    return any(path.startswith(f"{module}." if module else "") for path in hidden)


def _recorded(side: str, module: Any) -> Recording | None:
    if not isinstance(module, Recording | str | Path):
        return None
    found = module if isinstance(module, Recording) else Recording.load(module)
    if found.side != side:
        raise IsogradError(f"expected a recording of the {side} side, got one of the {found.side} side: swap the two")
    return found


def _arguments(inputs: Any, recorded: dict[str, Recording | None]) -> Any:
    found = next((each for each in recorded.values() if each is not None), None)
    if inputs is not None:
        return as_call(inputs)
    if found is None:
        raise IsogradError("expected inputs for the two modules, got none")
    return found.arguments()


def _options(
    recorded: dict[str, Recording | None],
    torch_module: Any,
    arguments: Any,
    train: bool,
    gradients: bool,
    updates: int,
    device: str | None,
) -> Options:
    """Those of a recording, or what the torch module and the caller say."""
    found = next((each for each in recorded.values() if each is not None), None)
    if found is not None:
        return replace(found.options, device=device or found.options.device)
    dtype = recording.floating_dtype(torch_module, arguments)
    return Options(dtype, train, gradients, device or recording.device_of(torch_module), updates)


def _title(recorded: dict[str, Recording | None], torch_module: Any) -> str:
    found = recorded["torch"]
    return found.name if found else recording.title_of(torch_module)


def _canonical(found: Recording, rules: Rules | None, layouts: Layouts | None) -> Recording:
    values = renamed(found.values, rules or {}) if found.side == "jax" else found.values
    values = in_canonical_layout(values, found.side, layouts or {})
    noise = found.noise and replace(found.noise, oracle=in_canonical_layout(found.noise.oracle, "torch", layouts or {}))
    return replace(found, values=values, noise=noise)


def _check_pairing(ours: Recording, theirs: Recording, title: str) -> None:
    shapes = {name: array.shape for name, array in ours.values.parameters.items()}
    check_names(
        shapes, theirs.values.parameters, f"the torch module {title} (names of the JAX module; mend them with rules=)"
    )
    for what in ("inputs", "outputs"):
        torch_names, jax_names = (list(getattr(side.values, what)) for side in (ours, theirs))
        if sorted(torch_names) != sorted(jax_names):
            raise IsogradError(
                f"the {what} of {title} do not pair up: torch has {torch_names}, JAX has {jax_names}; "
                "return the same nesting of tuples or dicts on both sides"
            )
