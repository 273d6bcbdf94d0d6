"""What the kernel of a GRU layer must stand: planted faults, random shapes, delays, other programs on its card.

Each check takes a device and a number and gives a sentence for each thing that is wrong, or says how much was tried.
"""

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch

from crosscheck.faults.fault import TextChange
from crosscheck.kernels.cluster_faults import CLUSTER_FAULTS, ClusterFault
from crosscheck.kernels.compiled import WAYS, compile_kernel
from crosscheck.kernels.emulated import COMPILER, WaitsForEver, clusters_on_a_cpu, few_processors
from crosscheck.kernels.faults import DELAYS, KEPT, KERNEL_FAULTS, NEVER_COMPLETE, KernelFault
from crosscheck.kernels.interpreted import programs_at_once
from crosscheck.kernels.layers import Case, Layer, Sizes, Trial, by_kernel, random_layer, undecided
from crosscheck.kernels.planting import planted_clusters, planted_kernels
from shared.errors import IsogradError
from torch_impl.precision import use_exact_matmul

INTERPRET = "TRITON_INTERPRET"
JOBS = {"cpu": 1, "cuda": 16}  # processes at a time, which share the card
PARTS = 24  # of the faults of clusters
ATTEMPTS = 10  # with other pauses: a race shows when programs happen to meet so
SECONDS = 300  # that a process may take before it counts as hanging
LARGEST = {"batch_size": 700, "steps": 2000, "hidden_size": 1500}
ELEMENTS = 2**4, 2**23  # of a layer's states, at least (fewer roundings say little of each other) and at most
SHAPES_OF_A_SIZE = 32  # kernels are compiled for the hidden size
DTYPES = ("float32", "bfloat16", "float16")
DELAYED = (
    *(Sizes(64, 8, 2, 256, "bfloat16"), Sizes(40, 6, 1, 300, "float32")),
    *(Sizes(130, 5, 1, 512, "float16"), Sizes(33, 6, 1, 700, "bfloat16")),
)


class Outcome(NamedTuple):
    """What was tried, in words, and a sentence for each thing that is wrong."""

    tried: str
    wrong: list[str]


def check_faults(device: str, number: int) -> Outcome:
    """Every planted fault must be caught, and the kernel itself must pass."""
    faults = [fault for fault in KERNEL_FAULTS if device == "cuda" or not fault.only_on_gpu]
    parts = [faults[start :: JOBS[device]] for start in range(JOBS[device])]
    wrong = [text for texts in _in_processes(_plant, device, parts) for text in texts]
    return Outcome(f"{len(faults)} planted faults", wrong)


def _plant(device: str, faults: Sequence[KernelFault]) -> list[str]:
    """A sentence for each fault that passes, and for each case in which the kernel itself doesn't."""
    wrong = []
    with _launching(device):
        trials = {case: Trial(case, 0, device) for case in dict.fromkeys(fault.case for fault in faults)}
        wrong += [f"{case.sizes}: {text}" for case, trial in trials.items() for text in trial.problems()]
        wrong += [text for fault in faults if (text := _passed(fault, trials[fault.case], device))]
    return wrong


def _passed(fault: KernelFault, trial: Trial, device: str) -> str:
    """Empty if the fault is caught; one that can't be launched is none."""
    delays = DELAYS if device == "cuda" else ()
    try:
        with planted_kernels((*fault.changes, *delays)):
            return "" if any(trial.problems() for _ in range(ATTEMPTS)) else f"{fault.name}: not caught"
    except Exception as error:
        return f"{fault.name}: neither caught nor passed: {_last_line(error)}"


def _last_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"


def check_clusters(device: str, number: int) -> Outcome:
    """The same for the kernels of clusters: on a CPU, where a C++ compiler is, in an emulation."""
    if device == "cpu" and COMPILER is None:
        raise IsogradError("isograd stress clusters needs a C++ compiler, c++, on a CPU")
    faults = [fault for fault in CLUSTER_FAULTS if device == "cpu" or not fault.only_on_cpu]
    parts = [faults[start::PARTS] for start in range(PARTS)]
    together = [parts] if device == "cuda" else [[part] for part in parts]  # an emulation has its own time for each
    wrong = [text for some in together for texts in _in_processes(_plant_clusters, device, some) for text in texts]
    return Outcome(f"{len(faults)} planted faults", wrong)


def _plant_clusters(device: str, faults: Sequence[ClusterFault]) -> list[str]:
    """As `_plant`."""
    wrong = []
    for case in dict.fromkeys(fault.case for fault in faults):
        with (clusters_on_a_cpu if device == "cpu" else few_processors)(case.processors):
            trial = Trial(case, 0, device)
            wrong += [f"{case.sizes}: {text}" for text in trial.problems()]
            for fault in (fault for fault in faults if fault.case == case):
                with planted_clusters(fault.changes):
                    wrong += [] if _shows(trial) else [f"{fault.name}: not caught"]
    return wrong


def _shows(trial: Trial) -> bool:
    """Whether an attempt is far from float64, or waits for ever."""
    for _ in range(ATTEMPTS):
        try:
            if trial.problems():
                return True
        except WaitsForEver:
            return True
    return False


def check_compiling(device: str, number: int) -> Outcome:
    """The kernels compile for a GPU with every planted fault: one that doesn't is no fault. No GPU is needed."""
    changes = {"no fault": (), **{fault.name: fault.changes for fault in KERNEL_FAULTS}}
    interpreted = os.environ.pop(INTERPRET, None)  # compiled, in a process that inherits the environment
    try:
        (wrong,) = _in_processes(_compile, device, [list(changes.items())], alone=True)
    finally:
        if interpreted is not None:
            os.environ[INTERPRET] = interpreted
    return Outcome(f"the kernels, and {len(KERNEL_FAULTS)} planted faults", wrong)


def _compile(device: str, items: Sequence[tuple[str, Sequence[TextChange]]]) -> list[str]:
    """A sentence for each that doesn't."""
    wrong = []
    cases = {fault.name: fault.case for fault in KERNEL_FAULTS}
    for name, changes in items:
        with planted_kernels((*changes, *DELAYS)):
            for way in WAYS:
                try:
                    compile_kernel(way, cases.get(name, KEPT).sizes)
                except Exception as error:  # of each stage of the compiler
                    wrong.append(f"{name}, {way}: does not compile: {_last_line(error)}")
    return wrong


def check_shapes(device: str, number: int) -> Outcome:
    """Layers of random sizes agree with float64, and a second run has the same bits."""
    parts = list(random_sizes(number))
    wrong = [text for texts in _in_processes(_try_shapes, device, parts) for text in texts]
    return Outcome(f"{sum(map(len, parts))} random shapes of {len(parts)} hidden sizes", wrong)


def random_sizes(number: int, seed: int = 0) -> Iterator[list[Sizes]]:
    """Sizes spread evenly over their logarithms, those of a hidden size together."""
    draw = random.Random(seed)
    while number > 0:
        hidden_size = _log_uniform(draw, LARGEST["hidden_size"])
        directions, dtype = draw.choice((1, 2)), draw.choice(DTYPES)
        sizes: list[Sizes] = []
        while len(sizes) < min(number, SHAPES_OF_A_SIZE):
            batch_size, steps = (_log_uniform(draw, LARGEST[name]) for name in ("batch_size", "steps"))
            if ELEMENTS[0] <= batch_size * steps * directions * hidden_size <= ELEMENTS[1]:
                sizes.append(Sizes(batch_size, steps, directions, hidden_size, dtype))
        yield sizes
        number -= len(sizes)


def _log_uniform(draw: random.Random, largest: int) -> int:
    return min(largest, int((largest + 1) ** draw.random()))


def _try_shapes(device: str, shapes: Sequence[Sizes]) -> list[str]:
    wrong = []
    for seed, sizes in enumerate(shapes):
        trial = _deciding(sizes, seed, device)
        wrong += [f"{sizes}: {text}" for text in (*trial.problems(), *_unequal(trial.layer, 2))]
    return wrong


def _deciding(sizes: Sizes, seed: int, device: str) -> Trial:
    """The first of some layers whose noise decides about all results: many steps of few units can be chaotic."""
    for attempt in range(ATTEMPTS):
        trial = Trial(Case(sizes), seed + attempt * SHAPES_OF_A_SIZE, device)
        if not undecided(trial.exact, trial.noise):
            break
    return trial


def _unequal(layer: Layer, launches: int) -> list[str]:
    """A sentence for each result whose bits are not those of the first launch in every one."""
    first = by_kernel(layer)
    differ = {name: torch.zeros((), dtype=torch.bool, device=each.device) for name, each in first.items()}
    for _ in range(launches - 1):
        for name, each in by_kernel(layer).items():
            differ[name] |= (each != first[name]).any()
    return [f"{name}: other bits in another launch" for name, each in differ.items() if each]


def check_delays(device: str, number: int) -> Outcome:
    """Programs that pause at random give the bits of those that don't, in every launch."""
    parts = [(sizes, number // len(DELAYED)) for sizes in DELAYED]
    wrong = [text for texts in _in_processes(_delay, device, parts) for text in texts]
    return Outcome(f"{number} launches, forward and backward, of programs that pause at random", wrong)


def _delay(device: str, part: tuple[Sizes, int]) -> list[str]:
    sizes, launches = part
    layer = random_layer(sizes, 0, device)
    undelayed = by_kernel(layer)
    with planted_kernels(DELAYS):
        delayed = by_kernel(layer)
        wrong = [f"{sizes}: {text}" for text in _unequal(layer, launches)]
    unlike = [name for name in undelayed if not torch.equal(undelayed[name], delayed[name])]
    return wrong + [f"{sizes}, {name}: other bits than without pauses" for name in unlike]


def check_sharing(device: str, number: int) -> Outcome:
    """Two models train at once, beside a third program and on two streams each, and end with the bits of one alone."""
    (alone,) = _in_processes(_train, device, [number])
    *both, _ = _in_processes(_train_or_multiply, device, [number, number, 0])
    wrong = [] if both == [alone, alone] else ["two models that train at once don't end with the bits of one alone"]
    return Outcome(f"two models, {number} steps, beside a program that multiplies matrices", wrong)


def _train_or_multiply(device: str, steps: int) -> list[float]:
    return _train(device, steps) if steps else _multiply(device)


def _multiply(device: str) -> list[float]:
    matrix = torch.randn(4096, 4096, device=device)
    for _ in range(2000):
        matrix = torch.nn.functional.normalize(matrix @ matrix)
    return [matrix.sum().item()]


def _train(device: str, steps: int) -> list[float]:
    """Sums of the weights of two layers, each trained by plain descent on a stream of its own."""
    layers = [random_layer(Sizes(64, 32, 2, size, "bfloat16"), 0, device) for size in (256, 512)]
    streams = [torch.cuda.Stream() for _ in layers]
    torch.cuda.synchronize()
    for _ in range(steps):
        for layer, stream in zip(layers, streams, strict=True):
            with torch.cuda.stream(stream):
                layer.weight.sub_(by_kernel(layer)["d_weight"], alpha=1e-4)
    torch.cuda.synchronize()
    return [layer.weight.double().sum().item() for layer in layers]


def check_waiting(device: str, number: int) -> Outcome:
    """A group that is never complete ends its program with a sentence, instead of waiting for ever."""
    (text,) = _in_processes(_wait, device, [NEVER_COMPLETE], alone=True)
    wrong = [] if "assert" in text.lower() else [f"expected an assertion, got {text or 'a result'!r}"]
    return Outcome("a group that is never complete", wrong)


def _wait(device: str, changes: Any) -> str:
    """What is said to end it."""
    with _launching(device), planted_kernels(changes):
        try:
            for each in by_kernel(random_layer(Sizes(3, 2, 1, 40, "float16"), 0, device)).values():
                each.cpu()
        except Exception as error:  # each way of launching has its own
            return f"{type(error).__name__}: {error}"
    return ""


def _launching(device: str) -> Any:
    return nullcontext() if device == "cuda" else programs_at_once()


def _in_processes(work: Callable[[str, Any], Any], device: str, parts: Sequence[Any], alone: bool = False) -> list[Any]:
    """What `work` gives for each part, in processes that all checks share, or `alone` in one that dies with it.

    Raises IsogradError where one takes too long.
    """
    pool = _pool(1) if alone else _shared_pool(JOBS[device])
    try:
        return list(pool.map(partial(work, device), parts, timeout=SECONDS))
    except TimeoutError as error:
        for process in list(pool._processes.values()):
            process.kill()
        raise IsogradError(f"kernels did not end within {SECONDS} s: they hang, or are far too slow") from error
    finally:
        if alone:
            pool.shutdown(wait=False)


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=use_exact_matmul)


_shared_pool = lru_cache(maxsize=1)(_pool)  # processes take seconds to start


CHECKS: dict[str, Callable[[str, int], Outcome]] = {
    "compiling": check_compiling,
    "faults": check_faults,
    "clusters": check_clusters,
    "shapes": check_shapes,
    "delays": check_delays,
    "sharing": check_sharing,
    "waiting": check_waiting,
}
NUMBERS = {"shapes": 1000, "delays": 10_000, "sharing": 300}  # of shapes, launches and steps
ON_A_CPU = ("compiling", "faults", "clusters", "waiting")
