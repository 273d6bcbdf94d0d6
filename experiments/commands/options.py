"""Options of a command: reject those that have no effect, and rebuild the command line."""

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.training.settings import flag, typed, words_of
from shared.errors import IsogradError

UNUSED: dict[str, dict[str, tuple[str, ...]]] = {  # command -> option -> the options that have no effect beside it
    "check": {"faults": ("device",), "families": ("seeds", "dtype")},
    "explain": {"divergence": ("fault", "dtype", "case", "train", "device", "budget")},
    "locate": {"steps": ("case", "train")},
    "report": {"table": ("out", "json", "attention")},
}
# command -> option -> the option that it needs
NEEDED: dict[str, dict[str, str]] = {"check": {"seeds": "faults", "families": "faults"}}


def check_options(name: str, command: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise IsogradError if an argument `given` to a command has no effect: nothing is silently ignored."""
    changed = _changed(command, given)
    for option, others in UNUSED.get(name, {}).items():
        unused = [flag(other) for other in others if other in changed]
        if option in changed and unused:
            raise IsogradError(f"{', '.join(unused)} has no effect with `isograd {name} {flag(option)}`: leave it out")
    for option, needed in NEEDED.get(name, {}).items():
        if option in changed and needed not in changed:
            raise IsogradError(f"{flag(option)} needs {flag(needed)}: add {flag(needed)}")


def command_line(name: str, command: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """The command line for the arguments `given` to a command."""
    places = [p.name for p in inspect.signature(command).parameters.values() if p.kind is p.POSITIONAL_ONLY]
    words = [word for place in places if given[place] is not None for word in words_of(given[place])]
    options = {option: value for option, value in _changed(command, given).items() if option not in places}
    return shlex.join(["isograd", name, *words, *typed(options)])


def _changed(command: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that differ from their defaults."""
    parameters = inspect.signature(command).parameters
    return {name: given[name] for name, parameter in parameters.items() if given[name] != parameter.default}


def check_effect(name: str, fault: str | None, agrees: bool) -> None:
    """Raise IsogradError if a planted fault has changed nothing, naming the check that it shows in."""
    if fault is None or not agrees:
        return
    from crosscheck.faults.table import find_fault

    row = find_fault(fault)
    mode = {"train": " --train", "run": " --steps 3" if name == "locate" else ""}.get(row.mode, "")
    raise IsogradError(
        f"the fault {fault} changes nothing in this check: it shows in `isograd {name} {row.twin} --fault {fault} "
        f"--case {row.case} --dtype {row.dtype}{mode}`"
    )


def part_lists(
    option: str, values: Sequence[str], is_value: Callable[[str], bool], is_name: Callable[[str], bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The values of an option that takes several, and the names after them: in `--dtype float32 GRU`, GRU is a name.

    What is neither stays a value, whose error names the values. Raises IsogradError if no value is left.
    """
    names = tuple(value for value in values if not is_value(value) and is_name(value))
    kept = tuple(value for value in values if value not in names)
    if not kept:
        raise IsogradError(f"{option}: expected at least one value, got none: leave it out or give one")
    return kept, names
