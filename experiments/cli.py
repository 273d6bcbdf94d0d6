"""The command line: one console script, `isograd`; `python -m experiments` is the same. Errors become exit codes."""

import errno
import logging
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from experiments.exit_codes import BAD_INPUT, INTERRUPTED, ChildFailed
from experiments.plain_text import printable
from experiments.training.folder import CONFIG
from experiments.training.interrupt import ignore_signals, keep_interrupts
from shared.errors import IsogradError
from shared.process import keep_freed_memory

LARGEST_CACHE = 4 * 2**30  # bytes of compiled programs of JAX; the least recently used go first
GPU = "cuda"
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED")
ASSERTION = "device-side assert"  # what CUDA says, after the kernel itself has said why


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 (twins disagree), 2 (bad input, named in one sentence) or 128 + signal."""
    code = _answered(arguments)
    if arguments is None and threading.active_count() > 1 and _is_compiling():
        os._exit(code)  # Python would wait for programs that nobody needs any more
    return code


def _is_compiling() -> bool:
    from shared.backend import COMPILING

    return any(thread.name.startswith(COMPILING) for thread in threading.enumerate())


def _answered(arguments: Sequence[str] | None) -> int:
    is_program = arguments is None
    try:
        if is_program:
            _hide_what_libraries_say()
            if not any(GPU in word for word in sys.argv):  # where memory of one arena makes compiling threads wait
                keep_freed_memory()
            keep_interrupts()
            _open_closed_streams()
        _set_defaults_of_compilers()
        return _run(sys.argv[1:] if arguments is None else arguments) or 0
    except IsogradError as error:
        return _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt as error:
        if is_program:
            ignore_signals()  # many send one to a process and to its group
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
        if ASSERTION in str(error):
            return _fail(
                "a kernel on the GPU gave up, for the reason above: start again when the GPU is free", BAD_INPUT
            )
        if not _is_lack_of_memory(error):
            raise
        return _fail(f"not enough memory: use a smaller batch or model ({_first_line(error)})", BAD_INPUT)
    finally:
        _drop_what_nobody_reads()


def _run(arguments: Sequence[str]) -> int | None:
    from experiments.commands.table import run  # imports much, during which Ctrl-C must be heard, too

    return run(arguments)


def _set_defaults_of_compilers() -> None:
    """Keep compiled programs between commands, unless the user chose otherwise; must run before jax is imported."""
    from shared.data.cache import cache_folder

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # in a folder of others, JAX can't tell what was used last
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache_folder() / "programs" / "jax")
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(LARGEST_CACHE))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "programs" / "torch"))


def _hide_what_libraries_say() -> None:
    """Only isograd's own sentences reach the terminal, unless the user asked for more with `python -W`."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of worker processes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler announces itself
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
