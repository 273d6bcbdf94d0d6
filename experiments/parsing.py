"""The command line parsed by tyro, whose errors become one sentence with the nearest name."""

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn

from experiments.training.settings import flag
from shared.errors import IsogradError

SHOWN = 12  # names listed if none is near
NUMBERS = {"INT": "a whole number", "FLOAT": "a number"}  # as the help names them


def parse(app: Any, commands: Mapping[str, Callable[..., Any]], arguments: Sequence[str], **options: Any) -> Any:
    """`app.cli` of a tyro app; raises IsogradError where tyro would print a box and exit."""
    from tyro._errors import on_parse_error  # private, but the only place where its errors are data

    check_not_empty(arguments)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        raise IsogradError(f"unknown command {arguments[0]!r}: {_nearest(arguments[0], commands)}")
    name = arguments[0] if arguments else ""

    def explain(event: Any) -> NoReturn:
        raise IsogradError(_sentence(event, name, commands))

    with on_parse_error(explain):
        return app.cli(args=arguments, **options)


def check_not_empty(arguments: Sequence[str]) -> None:
    """Raise IsogradError for an empty argument: as a path, it would be the current folder."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument.strip():
            where = before if before.startswith("--") else "an argument"
            raise IsogradError(f"{where}: expected a value, got an empty one: leave it out or give one")
        if argument.startswith("--") and equals and not value.strip():
            raise IsogradError(f"{option}: expected a value, got an empty one: leave it out or give one")


def _sentence(event: Any, name: str, commands: Mapping[str, Callable[..., Any]]) -> str:
    """What is wrong, what was expected and where the help is."""
    kind = type(event).__name__
    help = f"`isograd {name} --help` shows what it takes" if name in commands else "`isograd --help` shows them"
    if kind == "MissingSubcommand":
        return f"expected a command, got none: {', '.join(commands)}; {help}"
    if kind == "UnrecognizedArgs" or (kind == "MissingArgs" and event.unrecognized_tokens):
        tokens = getattr(event, "tokens", None) or event.unrecognized_tokens
        return f"{_unknown(tokens, commands.get(name))}; {help}"
    if kind == "MissingArgs":
        missing = ", ".join(
            str(found.arg.lowered.metavar or found.arg.display_name()) for found in event.missing_arguments
        )
        return f"expected {missing}, got none; {help}"
    argument = getattr(event, "argument", None)
    shown = "/".join(argument.lowered.name_or_flags) or argument.lowered.metavar if argument is not None else ""
    if kind == "BadValue":
        return f"{shown}: expected a value, got none; {help}"
    return f"{shown or 'the command line'}: {_wrong_value(event, argument)}; {help}"


def _unknown(tokens: Sequence[str], command: Callable[..., Any] | None) -> str:
    """The first token that nothing takes, with the option that it may have been."""
    first = next((token for token in tokens if token.startswith("-")), tokens[0])
    if not first.startswith("-"):
        return f"unexpected argument {first!r}"
    known = _options(command) if command else []
    return f"unknown option {first.partition('=')[0]}: {_nearest(first.partition('=')[0], known)}"


def _options(command: Callable[..., Any]) -> list[str]:
    found: list[str] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = getattr(parameter.default, "__class__", None)
        if is_dataclass(kind):
            found += [flag(field.name) for field in fields(kind)]
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            found.append(flag(parameter.name))
    return [*found, "--help"]


def _wrong_value(event: Any, argument: Any) -> str:
    """What a value should have been: "expected a whole number, got '1.5'"."""
    message = " ".join(str(getattr(event, "message", event)).split())
    expected = NUMBERS.get(str(argument.lowered.metavar)) if argument is not None else None
    got = re.findall(r"'([^']*)'|\"([^\"]*)\"", message)
    value = next((a or b for a, b in reversed(got)), None)
    return f"expected {expected}, got {value!r}" if expected and value is not None else message


def _nearest(got: str, names: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(got, list(names), n=3, cutoff=0.5)
    shown = " or ".join(near) if near else ", ".join(list(names)[:SHOWN])
    return f"did you mean {shown}?" if near else f"expected one of {shown}"
