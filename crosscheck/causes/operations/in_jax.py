"""The operations of a run of the JAX side: the equations of its program, those of functions inside included.
Sibling: in_torch.py."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from crosscheck.causes.operations.operation import LARGEST, Given, Operation, line_of
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.jax_modules import as_function
from crosscheck.recording.jax_side import compiler_options
from crosscheck.recording.nesting import flat_outputs, map_arguments, named_arrays
from crosscheck.recording.side import Side
from crosscheck.recording.tracing import Tracer
from crosscheck.recording.unrolling import unrolled
from crosscheck.recording.values import Options

CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters that hold the program of a function that is called
LOOPS = ("scan", "while", "cond")
FRAMEWORKS = ("/jax/", "/flax/", "/crosscheck/", "/jaxlib/", "/optax/")
TESTS = "/tests/"
LONGEST = 3000  # equations: a longer program takes longer to compile than a search for causes may take


def operations_of_jax(side: Side, arguments: Arguments, options: Options) -> list[Operation]:
    """What the JAX side computes, in order; empty if that is too long a program."""
    given = record.rounded(side.with_own(arguments), options.dtype)
    with record.in_precision(options):
        call, parameters, _ = as_function(side.module, options)
        arrays = named_arrays(given)

        def function(parameters: Any, arrays: Any) -> Any:
            args, kwargs = map_arguments(lambda name, _: arrays[name], *given)
            return flat_outputs(call(Tracer(lambda _, array: array), parameters, args, kwargs))

        with unrolled():
            program = jax.make_jaxpr(function)(parameters, arrays)
        leaves = jax.tree.leaves((parameters, arrays))
        found = _Program()
        found.enter(program.jaxpr, [found.given("parameter", each) for each in leaves],
                    [found.given("table", each) for each in program.consts])  # fmt: skip
        if not found.equations or len(found.equations) > LONGEST:
            return []
        return found.operations(leaves, program.consts, options)


class _Constant(NamedTuple):
    """An array that a program holds, as a literal is."""

    val: Any


class _Program:
    """The equations of a program in order, with those of the functions that it calls in their places.

    `names` are of all results: what holds them, the places of their inputs, numbers, and lines.
    """

    def __init__(self) -> None:
        self.equations: list[tuple[Any, list[Any], list[int]]] = []
        self.names: list[tuple[str, tuple[int, ...], tuple[float, ...], str, tuple[Any, ...], dict[str, Any]]] = []
        self.outputs: dict[int, int] = {}  # the numbers of results of an equation that has several
        self.called: dict[int, tuple[Any, ...]] = {}
        self.start = 0

    def given(self, name: str, array: Any) -> int:
        self.names.append((name, (), (), "", (), {}))
        self.start = len(self.names)
        return len(self.names) - 1

    def enter(self, program: Jaxpr, given: Sequence[Any], constants: Sequence[Any] = ()) -> list[Any]:
        """The results of a program: places, or values of literals."""
        places: dict[Any, Any] = dict(zip(program.invars, given, strict=True))
        places |= zip(program.constvars, constants, strict=True)

        def read(each: Any) -> Any:
            return each if isinstance(each, Literal) else places[each]

        for equation in program.eqns:
            inputs = [read(each) for each in equation.invars]
            inner = next((equation.params[name] for name in CALLS if name in equation.params), None)
            if inner is not None and equation.primitive.name not in LOOPS and _fits(inner, inputs):
                body = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                constants = [_Constant(each) for each in inner.consts] if isinstance(inner, ClosedJaxpr) else []
                found = self.enter(body, inputs, constants)
                name = equation.params.get("name", "").strip("_")
                if name and len(found) == 1 and isinstance(found[0], int) and _is_of_a_library(body):
                    self.called[found[0]] = (name, *_operands(inputs))
                places |= zip(equation.outvars, found, strict=True)
                continue
            places |= zip(equation.outvars, self._made(equation, inputs), strict=True)
        return [read(each) for each in program.outvars]

    def _made(self, equation: Any, inputs: list[Any]) -> list[int]:
        numbers = [each.val for each in inputs if not isinstance(each, int) and np.ndim(each.val) == 0]
        before = tuple(each for each in inputs if isinstance(each, int))
        name = equation.primitive.name
        own = [value for key, value in equation.params.items() if key in ("y", "axis") and isinstance(value, int)]
        places = list(range(len(self.names), len(self.names) + len(equation.outvars)))
        facts = (
            name,
            before,
            tuple(float(np.real(each)) for each in [*numbers, *own] if not np.imag(each)),
            _line(equation),
            _operands(inputs),
            equation.params,
        )
        self.names += [facts] * len(places)
        self.outputs |= {place: n for n, place in enumerate(places) if len(places) > 1}
        self.equations.append((equation, inputs, places))
        return places

    def operations(self, leaves: Sequence[Any], constants: Sequence[Any], options: Options) -> list[Operation]:
        """All results, computed by one program."""
        kept: list[int] = []

        def run(given: Sequence[Any]) -> list[Any]:
            values: dict[int, Any] = dict(enumerate(given))
            for equation, inputs, places in self.equations:
                read = [values[each] if isinstance(each, int) else each.val for each in inputs]
                found = equation.primitive.bind(*read, **equation.primitive.get_bind_params(equation.params))
                values |= zip(places, found if equation.primitive.multiple_results else [found], strict=True)
            kept[:] = [place for place, each in values.items() if _is_kept(each)]
            return [values[place] for place in kept]

        arrays = jax.jit(run, compiler_options=compiler_options(replace(options, optimize=False)))(
            [*leaves, *constants]
        )
        place_of = {place: number for number, place in enumerate(kept)}
        return [
            Operation(
                name,
                tuple(place_of[each] for each in inputs if each in place_of),
                np.asarray(array),
                numbers,
                line,
                args=tuple(_moved(each, place_of) for each in operands),
                kwargs=settings,
                called=tuple(_moved(each, place_of) for each in self.called.get(place, ())),
                output=self.outputs.get(place),
            )
            for place, array in zip(kept, arrays, strict=True)
            for name, inputs, numbers, line, operands, settings in [self.names[place]]
        ]


def _operands(inputs: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(Given(each) if isinstance(each, int) else _literal(each.val) for each in inputs)


def _is_of_a_library(program: Jaxpr) -> bool:
    """True of a function that a framework defines, not the user."""
    where = str(program.debug_info.func_src_info)
    return any(each in where for each in FRAMEWORKS) and TESTS not in where


def _literal(value: Any) -> Any:
    """Python's number of a literal without axes; any other as it is."""
    return np.asarray(value).item() if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiub" else value


def _moved(operand: Any, place_of: Mapping[int, int]) -> Any:
    """An operand by the place that it has among the results that are kept; None of one that is not."""
    if not isinstance(operand, Given):
        return operand
    return Given(place_of[operand.place]) if operand.place in place_of else None


def _fits(inner: Any, inputs: Sequence[Any]) -> bool:
    return len((inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner).invars) == len(inputs)


def _is_kept(array: Any) -> bool:
    return not jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended) and array.size <= LARGEST


@functools.lru_cache(maxsize=4096)
def _place(file: str, number: int) -> str:
    return "" if any(each in file for each in FRAMEWORKS) and TESTS not in file else line_of(file, number)


def _line(equation: Any) -> str:
    """Where the caller's own code stands."""
    trace = equation.source_info.traceback
    frames = trace.frames if trace is not None else []
    return next((place for each in frames if (place := _place(each.file_name, each.line_num))), "")
