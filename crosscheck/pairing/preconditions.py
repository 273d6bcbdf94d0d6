"""Preconditions for comparing two sides; each violation is reported in one sentence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosscheck.pairing.suggestions import advice
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments, differing
from crosscheck.recording.nesting import as_call, is_float, real_dtype
from crosscheck.recording.recording import PROOF_DTYPE, SIDES, Recording
from crosscheck.recording.side import Side, is_module_of, title_of
from crosscheck.recording.values import Options
from shared.errors import IsogradError, WeightsError
from shared.weight_rules import check_names

SETTINGS = ("train", "gradients", "updates", "widen")  # settings that both recordings must share


def sides_of(
    torch_module: Any,
    jax_module: Any,
    *,
    name: str | None = None,
    torch_arguments: Mapping[str, Any] | None = None,
    jax_arguments: Mapping[str, Any] | None = None,
    optimizers: tuple[Any, Any] | None = None,
    **_: Any,
) -> tuple[Side, Side]:
    """Both sides under one title, from the options of `compare`: modules are inspected once, recordings are read from
    their files, and a ready-made `Side` is used as it is."""
    if optimizers is not None and not (isinstance(optimizers, tuple | list) and len(optimizers) == len(SIDES)):
        raise IsogradError("optimizers= takes a pair: (parameters -> torch optimizer, optax transformation)")
    torch_optimizer, jax_optimizer = optimizers or (None, None)
    ours = _side("torch", torch_module, torch_arguments, torch_optimizer)
    theirs = _side("jax", jax_module, jax_arguments, jax_optimizer)
    if ours.recorded is not None and theirs.recorded is not None:
        _check_settings(ours.recorded, theirs.recorded)
    title = name or ours.title
    return replace(ours, title=title), replace(theirs, title=title)


def _side(name: str, module: Any, own: Mapping[str, Any] | None, optimizer: Any) -> Side:
    if isinstance(module, Side):
        return module
    if isinstance(module, Recording | str | Path):
        found = module if isinstance(module, Recording) else Recording.load(module)
        if found.side != name:
            raise IsogradError(
                f"expected a recording of the {SIDES[name]} side, got one of the {SIDES[found.side]} side: swap the two"
            )
        return Side(name, None, found.name, recorded=found)
    _check_module(name, module)
    return Side.of(name, module, own, optimizer)


def _check_module(side: str, module: Any) -> None:
    if isinstance(module, type):
        raise IsogradError(
            f"expected a {SIDES[side]} module, got the class {module.__name__}: create an instance first"
        )
    if side == "torch" and (names := _without_data(module)):
        raise IsogradError(
            f"{title_of(module)} has no numbers on the meta device ({', '.join(names[:3])}): load weights"
        )
    other = _other(side)
    if is_module_of(module, other):
        raise IsogradError(
            f"expected a {SIDES[side]} module, got the {SIDES[other]} module {title_of(module)}: "
            "call compare(torch_module, jax_module, inputs)"
        )


def _without_data(module: Any) -> list[str]:
    """The parameters and buffers of a torch module that are on the meta device."""
    from torch import nn

    tensors = [*module.named_parameters(), *module.named_buffers()] if isinstance(module, nn.Module) else []
    return [name for name, tensor in tensors if tensor.is_meta]


def _check_settings(ours: Recording, theirs: Recording) -> None:
    for setting in ("dtype", *SETTINGS):
        mine, other = (getattr(each.options, setting) for each in (ours, theirs))
        if mine != other:
            raise IsogradError(
                f"the two recordings can't be compared: {setting} is {mine} in torch's and {other} in JAX's; "
                "record both with the same settings"
            )


def arguments_of(inputs: Any, sides: Sequence[Side]) -> Arguments:
    """The arguments of the call: those of a recording, if there is one."""
    found = [side.recorded for side in sides if side.recorded is not None]
    if inputs is None and not found:
        raise IsogradError("expected inputs for the two modules, got none")
    arguments = found[0].arguments if inputs is None else as_call(inputs)
    if arguments is None:
        raise IsogradError(f"the recording of {found[0].name} has no inputs: pass the inputs it was recorded with")
    for each in found:
        if each.arguments is not None:
            names = differing(each.arguments, record.rounded(arguments, each.options.dtype))
            if names:
                raise IsogradError(
                    f"the {SIDES[each.side]} side of {each.name} was recorded with different inputs "
                    f"({', '.join(names)} differ): omit the inputs, or record it again"
                )
    return arguments


def options_of(sides: Sequence[Side], arguments: Arguments, wanted: Options, device: str | None) -> Options:
    """The options of a recording, or the requested ones with the torch module's dtype and device."""
    found = next((side.recorded for side in sides if side.recorded is not None), None)
    if found is None:
        ours, _ = sides
        options = replace(wanted, dtype=ours.dtype_under_test(arguments), device=device or ours.device)
        check_widening(ours.title, options)
        return options
    for setting in ("train", "updates", "widen"):
        asked, made = getattr(wanted, setting), getattr(found.options, setting)
        if asked and asked != made:
            raise IsogradError(
                f"the {SIDES[found.side]} side of {found.name} was recorded with {setting}={made}, so it can't be "
                f"compared with {setting}={asked}: record it again"
            )
    return replace(found.options, device=device or found.options.device)


def check_widening(title: str, options: Options) -> None:
    """Only a run in float64 can read what is shorter as float64."""
    if options.widen and options.dtype != PROOF_DTYPE:
        raise IsogradError(
            f"widen reads float32 inside float64 modules as float64, but {title} is {options.dtype}: make both modules "
            "float64, or leave widen out"
        )


def check_dtypes(sides: Sequence[Side], options: Options) -> None:
    """float64 on one side only is an accident, and no noise rule applies between the two."""
    for side in sides:
        for dtype in filter(is_float, side.dtypes):
            if (real_dtype(dtype) == PROOF_DTYPE) != (options.dtype == PROOF_DTYPE):
                raise IsogradError(
                    f"{side.title} is {options.dtype} in {SIDES[_other(side.name)]} but has {dtype} parameters in "
                    f"{SIDES[side.name]}: make both float64 (JAX modules under jax.enable_x64(True), with "
                    "param_dtype=float64, or by crosscheck.copy_weights, which keeps torch's dtype) or neither"
                )


def _other(side: str) -> str:
    return next(name for name in SIDES if name != side)


def check_layouts(layouts: Any) -> None:
    """Check that layouts are a dict."""
    if layouts is not None and not isinstance(layouts, Mapping):
        raise IsogradError(f"layouts must be a dict of path -> name of a layout, got {type(layouts).__name__}")


def check_rules(rules: Any) -> None:
    """Check that rules are a dict of valid regular expressions."""
    if not isinstance(rules, Mapping):
        raise IsogradError(f"rules must be a dict of regular expression -> replacement, got {type(rules).__name__}")
    for pattern in rules:
        try:
            re.compile(pattern)
        except re.error as error:
            raise IsogradError(f"rules: {pattern!r} is not a valid regular expression: {error}") from error


def check_pairing(ours: Recording, theirs: Recording, title: str) -> None:
    """Check that parameters and outputs have the same names on both sides."""
    shapes = {name: array.shape for name, array in ours.values.parameters.items()}
    owner = f"the torch module {title} (under the JAX module's names; fix these with rules=)"
    try:
        check_names(shapes, theirs.values.parameters, owner)
    except WeightsError as error:
        others = {name: array.shape for name, array in theirs.values.parameters.items()}
        raise WeightsError(f"{error}{advice(shapes, others)}") from None
    torch_names, jax_names = (list(side.values.outputs) for side in (ours, theirs))
    if sorted(torch_names) != sorted(jax_names):
        raise IsogradError(
            f"the outputs of {title} do not match: torch has {torch_names}, JAX has {jax_names}; "
            "return the same nesting of tuples or dicts on both sides"
        )
