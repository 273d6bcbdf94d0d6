"""Every subcommand by name, and the command line that tyro makes of their signatures."""

import dataclasses
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args

from experiments.commands.bench import bench
from experiments.commands.check import check
from experiments.commands.clip import clip_command
from experiments.commands.demo import demo
from experiments.commands.embed import embed_command
from experiments.commands.evaluate import evaluate_command
from experiments.commands.explain import explain_command
from experiments.commands.generate import generate_command
from experiments.commands.listing import list_command
from experiments.commands.locate import locate_command
from experiments.commands.on_devices.compare import compare_devices_command
from experiments.commands.on_devices.stress import stress
from experiments.commands.port import port_command
from experiments.commands.report import report
from experiments.commands.scaling import scaling_command
from experiments.commands.search import search_command
from experiments.commands.study import study
from experiments.commands.train import train
from experiments.commands.translate import translate_command
from experiments.parsing import parse

DESCRIPTION = "The same model in PyTorch and in JAX/Flax, with the same outputs and the same gradients, provably."
COMMANDS: dict[str, Callable[..., int | None]] = {
    "list": list_command,
    "check": check,
    "locate": locate_command,
    "explain": explain_command,
    "train": train,
    "search": search_command,
    "eval": evaluate_command,
    "generate": generate_command,
    "compare-devices": compare_devices_command,
    "embed": embed_command,
    "clip": clip_command,
    "translate": translate_command,
    "report": report,
    "port": port_command,
    "study": study,
    "scaling": scaling_command,
    "bench": bench,
    "stress": stress,
    "demo": demo,
}


def run(arguments: Sequence[str]) -> int | None:
    """Run the command that the arguments name; raises IsogradError for arguments that it does not take."""
    import tyro
    from tyro.extras import SubcommandApp

    app = SubcommandApp()
    for name, command in COMMANDS.items():
        app.command(name=name)(_with_plain_names(command))
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    return parse(app, COMMANDS, arguments, prog="isograd", description=DESCRIPTION, config=config)


def _with_plain_names(command: Callable) -> Callable:
    """Make the help show `train EXPERIMENT --steps INT`, not `train STR --steps {None}|INT`; its text explains None."""
    from tyro.conf import arg

    for name, parameter in inspect.signature(command).parameters.items():
        kind = parameter.annotation
        if parameter.kind is parameter.POSITIONAL_ONLY:
            command.__annotations__[name] = Annotated[kind, arg(metavar=name.upper())]
        elif dataclasses.is_dataclass(kind):
            command.__annotations__[name] = Annotated[_with_plain_fields(kind), arg(name="")]
        elif shown := _plain_name(kind):
            command.__annotations__[name] = Annotated[kind, arg(metavar=shown)]
    return command


def _with_plain_fields(settings: Any) -> Any:
    from tyro.conf import arg

    for field in dataclasses.fields(settings):
        if shown := _plain_name(field.type):
            field.type = settings.__annotations__[field.name] = Annotated[field.type, arg(metavar=shown)]
    return settings


def _plain_name(kind: Any) -> str | None:
    """ "INT" of int | None."""
    if not isinstance(kind, types.UnionType):
        return None
    return next(part.__name__.upper() for part in get_args(kind) if part is not types.NoneType)
