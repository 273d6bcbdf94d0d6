"""The command line: one console script, `isograd`, one file per subcommand; `python -m experiments` is the same."""

import dataclasses
import errno
import inspect
import logging
import os
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_args

from experiments.commands.bench import bench
from experiments.commands.check import check
from experiments.commands.demo import demo
from experiments.commands.evaluate import evaluate_command
from experiments.commands.explain import explain_command
from experiments.commands.listing import list_command
from experiments.commands.locate import locate_command
from experiments.commands.port import port_command
from experiments.commands.report import report
from experiments.commands.side_by_side import ChildFailed
from experiments.commands.train import train
from experiments.parsing import parse
from experiments.plain_text import printable
from experiments.training.folder import CONFIG
from shared.data.cache import cache_folder
from shared.errors import IsogradError
from shared.process_memory import keep_freed_memory

DESCRIPTION = "The same model in PyTorch and in JAX/Flax, with the same outputs and the same gradients, provably."
COMMANDS: dict[str, Callable[..., int | None]] = {
    "list": list_command,
    "check": check,
    "locate": locate_command,
    "explain": explain_command,
    "train": train,
    "eval": evaluate_command,
    "report": report,
    "port": port_command,
    "bench": bench,
    "demo": demo,
}
BAD_INPUT, INTERRUPTED = 2, 130
LARGEST_CACHE = 4 * 2**30  # bytes of compiled programs of JAX; the least recently used go first
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 (twins disagree), 2 (bad input, named in one sentence) or 128 + signal."""
    _set_defaults_of_compilers()
    if arguments is None:  # called as a program
        _hide_what_libraries_say()
        keep_freed_memory()
        _open_closed_streams()
    try:
        return _run(sys.argv[1:] if arguments is None else arguments) or 0
    except IsogradError as error:
        return _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "stopped", getattr(error, "code", INTERRUPTED))
    except ChildFailed as error:
        return _fail(str(error), error.code)
    except ModuleNotFoundError as error:
        return _fail(_missing(error), BAD_INPUT)
    except BrokenPipeError:  # the reader of our output is gone
        return BAD_INPUT
    except OSError as error:
        return _fail(_reason(error), BAD_INPUT)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        return _fail(f"not enough memory: use a smaller batch or model ({_first_line(error)})", BAD_INPUT)
    finally:
        _drop_what_nobody_reads()


def _run(arguments: Sequence[str]) -> int | None:
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


def _set_defaults_of_compilers() -> None:
    """Keep compiled programs between commands, unless the user chose otherwise; must run before jax is imported."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "programs" / "jax"))
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(LARGEST_CACHE))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "programs" / "torch"))


def _hide_what_libraries_say() -> None:
    """Only isograd's own sentences reach the terminal, unless the user asked for more with `python -W`."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of worker processes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    ours = logging.StreamHandler()
    ours.setFormatter(logging.Formatter("isograd: %(message)s"))
    logging.getLogger("isograd").addHandler(ours)
    logging.getLogger().addHandler(logging.NullHandler())


def _open_closed_streams() -> None:
    """Redirect streams that were closed at startup to the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  open until the process exits


def _drop_what_nobody_reads() -> None:
    """Discard buffered output that can't be written (closed pipe, full disk): Python would fail on it again at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(sentence: str, code: int) -> int:
    if sentence:
        with suppress(OSError):  # stderr is closed
            print(f"isograd: {printable(sentence)}", file=sys.stderr)
    return code


def _missing(error: ModuleNotFoundError) -> str:
    name = (error.name or "").split(".")[0]
    if not name or (Path(__file__).parents[1] / name).exists():  # a module of isograd: a bug
        raise error
    return f"this command needs {name!r}, which is not installed: pip install {name}"


def _is_lack_of_memory(error: Exception) -> bool:
    """Recognise the out-of-memory errors of numpy, torch (CPU and GPU) and JAX by their messages."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _again(error: OSError) -> str:
    """How to go on after a file of a run could not be written; without a run, how to start again."""
    parents = Path(os.fsdecode(error.filename)).parents if isinstance(error.filename, str | bytes) else ()
    run = next((parent for parent in parents if (parent / CONFIG).is_file()), None)
    return "try again" if run is None else f"resume with `isograd train --resume {run}`"


def _reason(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space, then {_again(error)}"
    return f"{error.strerror or error}{where}"
