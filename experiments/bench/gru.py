"""A GRU layer against those of the frameworks: nn.GRU, called and replayed as a CUDA graph, nnx.RNN, a scan of XLA."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, in_turn, rows_of, timed

Work = Callable[[], Any]  # launches the layer once and gives its outputs and gradients


class Layer(NamedTuple):
    """The sizes of a layer, whose inputs have as many columns as its state, or of several `layers` on each other."""

    batch_size: int
    steps: int
    hidden_size: int
    directions: int = 1
    layers: int = 1

    def __str__(self) -> str:
        sizes = f"B{self.batch_size} T{self.steps} H{self.hidden_size}" + ", both ways" * (self.directions - 1)
        return sizes if self.layers == 1 else f"{sizes}, {self.layers} layers"


class Side(NamedTuple):
    """A layer of a framework: what launches it each way, and a wait for the device."""

    ways: dict[str, Work]
    wait: Callable[[Any], object]
    is_compared: bool = True  # with float64: its weights are those of the others


Planned = tuple[Layer, tuple[str, ...], tuple[str, ...] | None]  # the ways, and the sides if not all
LAYERS = {
    "cpu": (Layer(8, 16, 32),),
    "cuda": (
        *(Layer(128, 256, 512), Layer(128, 256, 256), Layer(32, 256, 512), Layer(1, 256, 512), Layer(256, 256, 512)),
        *(Layer(256, 256, 256), Layer(128, 256, 256, 2), Layer(512, 256, 512, 2), Layer(512, 256, 512, 2, 2)),
    ),
}
CENTRE = Layer(128, 256, 512)  # of the curves, along each of which one of its sizes varies
VARIED = {"batch_size": (8, 64, 512), "steps": (32, 128, 512, 1024), "hidden_size": (64, 128, 1024)}
CURVES = {"cpu": (), "cuda": tuple(CENTRE._replace(**{name: n}) for name, sizes in VARIED.items() for n in sizes)}
WAYS = {"forward": "forward", "both": "with gradients"}
OURS = ("isograd in torch", "isograd in JAX")
BASE = {"cpu": "nn.GRU", "cuda": "nn.GRU, replayed"}
GOALS = {  # of the base's time, on a GPU
    ("both", CENTRE): 0.30,
    ("both", CENTRE._replace(hidden_size=256)): 0.20,
    ("both", Layer(512, 256, 512, 2, 2)): 0.5,
}
GOAL = {"forward": 0.6, "both": 0.45}  # of all other layers
BLOCK_SECONDS = 0.05  # or one call, if that takes longer
COMPILE_SECONDS = 20.0
COMPILING = "compiling a layer"  # the name of threads
PERIOD = 2**20 + 7  # random numbers that fill larger arrays


def bench_gru(options: Options) -> Iterator[Row]:
    """Rows of each layer, forward and with its gradients, then of the curves, with gradients and the fastest sides.

    Errors are relative L2 distances from float64; a row with one beyond the roundings of its dtype is refused. A side
    that takes too long to compile is left out.
    """
    planned: list[Planned] = [(layer, tuple(WAYS), None) for layer in LAYERS[options.device]]
    planned += [(layer, ("both",), (*OURS, BASE[options.device])) for layer in CURVES[options.device]]
    for layer, ways, names in planned:
        options.tell(f"{layer}: capturing")
        _wait_for_late_threads()
        sides = torch_sides(layer, ways, names, options)
        options.tell(f"{layer}: compiling")
        sides |= _compiled(_jax_sides(layer, ways, names, options), options)
        options.tell(f"{layer}: timing {', '.join(sides)}")
        yield from _rows(layer, sides, ways, options)


def _compiled(sides: dict[str, Callable[[], Side | None]], options: Options) -> dict[str, Side]:
    """Those that are ready by the end of the time that a layer may take."""
    late = time.monotonic() + COMPILE_SECONDS
    while None in (ready := {name: side() for name, side in sides.items()}).values() and time.monotonic() < late:
        time.sleep(0.05)
    missing = [name for name, side in ready.items() if side is None]
    if missing:
        options.tell(f"left out, since compiling takes over {COMPILE_SECONDS} s: {', '.join(missing)}")
    return {name: side for name, side in ready.items() if side is not None}


def _wait_for_late_threads() -> None:
    """CUDA refuses to capture a graph while another thread asks for memory."""
    for thread in threading.enumerate():
        if thread.name == COMPILING:
            thread.join(COMPILE_SECONDS)


def _rows(layer: Layer, sides: dict[str, Side], ways: tuple[str, ...], options: Options) -> Iterator[Row]:
    exact = _in_float64(layer, options)
    for way in ways:
        blocks = {name: block_of(side.ways[way], side.wait) for name, side in sides.items()}
        for row in rows_of(in_turn(blocks, options.rounds), BASE[options.device]):
            side = sides[row["side"]]
            has_goal = row["side"] in OURS and options.device == "cuda"
            goal = {"goal": GOALS.get((way, layer), GOAL[way])} if has_goal else {}
            error = _error(side.ways[way](), exact) if side.is_compared else {}
            if not all(each <= _largest_error(options.dtype) for each in error.values()):
                options.tell(f"{layer}, {WAYS[way]}: {row['side']} is refused: {error}")
                continue
            sizes = {**layer._asdict(), "way": way}
            yield {"case": f"{layer}, {options.dtype}, {WAYS[way]}", **row, **error, **goal, **sizes}


def _wanted(names: tuple[str, ...] | None, name: str) -> bool:
    return names is None or name in names


@lru_cache(maxsize=1)
def _arrays(layer: Layer) -> dict[str, np.ndarray]:
    """Inputs (B, T, H), gradients of the outputs, and the weights of each direction by the names of nn.GRU."""
    random = np.random.default_rng(0)
    batch_size, steps, size, directions, layers = layer
    bound, normal = size**-0.5, random.standard_normal(PERIOD, np.float32)
    arrays: dict[str, np.ndarray] = {
        "inputs": np.resize(normal, (batch_size, steps, size)),
        "upstream": np.resize(normal[::-1], (batch_size, steps, directions * size)),
    }
    for number in range(layers):
        columns = directions * size if number else size
        shapes = {"weight_ih": (3 * size, columns), "weight_hh": (3 * size, size), "bias_ih": (3 * size,)}
        for name, shape in {**shapes, "bias_hh": (3 * size,)}.items():
            arrays[f"{name}_l{number}"] = random.uniform(-bound, bound, (directions, *shape))
    return arrays


def block_of(work: Work, wait: Callable[[Any], object]) -> Callable[[], Cost]:
    """Blocks of calls that wait for the last; the first ones, which compile and warm up, are made here."""

    def run(times: int) -> None:
        for _ in range(times):
            results = work()
        wait(results)

    run(2)
    times = max(1, round(BLOCK_SECONDS / timed(partial(run, 1), 1).wall))
    return lambda: timed(partial(run, times), times)


def _error(found: tuple[Any, ...], exact: tuple[Any, ...]) -> Row:
    """The distances of the outputs and, if there, of the gradient of the inputs, measured on the device."""
    columns = ("error", "gradient_error")
    pairs = zip(columns, map(_doubled, found[:2]), exact, strict=False)
    return {column: float((ours - theirs).norm() / theirs.norm()) for column, ours, theirs in pairs}


def _largest_error(dtype: str) -> float:
    """That is still one of roundings: those of cuDNN's layers in float32 are some 30 units."""
    import torch

    return max(4 * torch.finfo(getattr(torch, dtype)).eps, 1e-5)


def _doubled(array: Any) -> Any:
    """The array of either framework as a tensor of float64."""
    import torch

    return (array if isinstance(array, torch.Tensor) else torch.from_dlpack(array)).detach().double()


def _in_float64(layer: Layer, options: Options) -> tuple[Any, ...]:
    """The outputs and the gradient of the inputs."""
    import torch

    arrays, device = _arrays(layer), torch.device(options.device)
    work = _torch_work(_nn_gru(layer, arrays, device, torch.float64), arrays, device, torch.float64)
    return work(True)[:2]


def _nn_gru(layer: Layer, arrays: dict[str, np.ndarray], device: Any, dtype: Any) -> Any:
    import torch

    size, both = layer.hidden_size, layer.directions == 2
    module = torch.nn.GRU(size, size, layer.layers, batch_first=True, bidirectional=both)
    for name, parameter in module.named_parameters():
        parameter.data = torch.from_numpy(arrays[name.removesuffix("_reverse")][int(name.endswith("_reverse"))])
    module = module.to(device, dtype)
    module.flatten_parameters()
    return module


def _torch_twin(layer: Layer, arrays: dict[str, np.ndarray], device: Any, dtype: Any) -> Any:
    import torch

    from torch_impl.layers.gru import GRU, BidirectionalGRU

    module = (GRU if layer.directions == 1 else BidirectionalGRU)(layer.hidden_size, layer.hidden_size, layer.layers)
    for part, name, direction in _parts(module):
        part.weight.data = torch.from_numpy(arrays[f"weight_{name}"][direction])
        part.bias.data = torch.from_numpy(arrays[f"bias_{name}"][direction])
    return module.to(device, dtype)


def _parts(module: Any) -> Iterator[tuple[Any, str, int]]:
    """The projections of all cells in either framework, what nn.GRU calls them, and their direction."""
    cells = [module.cells] if hasattr(module, "cells") else [module.forward_cells, module.backward_cells]
    for direction, layers in enumerate(cells):
        for number, cell in enumerate(layers):
            yield cell.input_proj, f"ih_l{number}", direction
            yield cell.hidden_proj, f"hh_l{number}", direction


def _torch_work(module: Any, arrays: dict[str, np.ndarray], device: Any, dtype: Any) -> Callable[[bool], Any]:
    """Call the layer, with its gradients or without."""
    import torch

    inputs, upstream = (torch.from_numpy(arrays[name]).to(device, dtype) for name in ("inputs", "upstream"))
    wanted = [inputs.requires_grad_(), *module.parameters()]

    def work(backward: bool) -> tuple[Any, ...]:
        if not backward:
            with torch.no_grad():
                return (module(inputs)[0],)
        outputs = module(inputs)[0]
        return outputs.detach(), *torch.autograd.grad(outputs, wanted, upstream)

    return work


def torch_sides(
    layer: Layer, ways: tuple[str, ...], names: tuple[str, ...] | None, options: Options
) -> dict[str, Side]:
    import torch

    from torch_impl.precision import use_exact_matmul

    use_exact_matmul()
    arrays = _arrays(layer)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    on_gpu = device.type == "cuda"

    def side(module: Any, replayed: bool) -> Side:
        work = _torch_work(module, arrays, device, dtype)
        launches: dict[str, Work] = {way: partial(work, way == "both") for way in ways}
        if replayed:
            launches = {way: as_graph(launch) for way, launch in launches.items()}
        return Side(launches, lambda _: torch.cuda.synchronize() if on_gpu else None)

    made = {"isograd in torch": (_torch_twin, on_gpu), "nn.GRU": (_nn_gru, False)}
    made |= {"nn.GRU, replayed": (_nn_gru, True)} if on_gpu else {}
    return {
        name: side(module(layer, arrays, device, dtype), replayed)
        for name, (module, replayed) in made.items()
        if _wanted(names, name)
    }


def as_graph(work: Work) -> Work:
    """The work as a CUDA graph, which gives the same memory each time, without a copy."""
    from torch_impl.recorded import Recording

    recording = Recording(work, ())

    def launch() -> Any:
        recording.graph.replay()
        return recording.results

    return launch


def _jax_sides(
    layer: Layer, ways: tuple[str, ...], names: tuple[str, ...] | None, options: Options
) -> dict[str, Callable[[], Side | None]]:
    """Functions that give a side once it is compiled, as a training step is; compiling goes on meanwhile."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from jax_impl.backend import find_device
    from jax_impl.compile_cache import options_for
    from jax_impl.layers.gru import GRU, BidirectionalGRU
    from jax_impl.precision import use_exact_matmul

    use_exact_matmul()
    arrays = _arrays(layer)
    size, device, dtype = layer.hidden_size, find_device(options.device), jnp.dtype(options.dtype)
    inputs, upstream = (jax.device_put(jnp.asarray(arrays[name], dtype), device) for name in ("inputs", "upstream"))

    def side(module: Any, is_compared: bool, **starts: Any) -> Callable[[], Side | None]:
        structure, weights, others = nnx.split(module, nnx.Param, ...)  # random streams, too
        weights = jax.device_put(jax.tree.map(lambda array: array.astype(dtype), weights), device)

        def forward(inputs: Any, weights: Any) -> Any:
            found = nnx.merge(structure, weights, others)(inputs, **starts)
            return (found[0] if isinstance(found, tuple) else found,)

        def both(inputs: Any, weights: Any, upstream: Any) -> tuple[Any, ...]:
            (found,), backward = jax.vjp(forward, inputs, weights)
            return found, *backward((upstream,))

        works = {"forward": (forward, (inputs, weights)), "both": (both, (inputs, weights, upstream))}
        programs: dict[str, Work] = {}
        for way in ways:
            function, given = works[way]
            _in_background(jax.jit(function).lower(*given), options_for(device, options.dtype), given, programs, way)
        made = Side(programs, jax.block_until_ready, is_compared)
        return lambda: made if len(programs) == len(ways) else None

    def ours(implementation: str) -> Any:
        kind = GRU if layer.directions == 1 else BidirectionalGRU
        module = kind(size, size, layer.layers, implementation, rngs=nnx.Rngs(0))
        for part, name, direction in _parts(module):
            part.kernel[...] = jnp.asarray(arrays[f"weight_{name}"][direction].T)
            part.bias[...] = jnp.asarray(arrays[f"bias_{name}"][direction])
        return side(module, True)

    def theirs() -> Any:
        cells = [nnx.GRUCell(size, size, dtype=dtype, rngs=nnx.Rngs(number)) for number in range(layer.directions)]
        alone, start = [nnx.RNN(cell) for cell in cells], jnp.zeros((layer.batch_size, size), dtype)
        if layer.directions == 1:
            return side(alone[0], False, initial_carry=start)
        return side(nnx.Bidirectional(*alone), False, initial_carry=(start, start))

    made: dict[str, Callable[[], Any]] = {"isograd in JAX": partial(ours, "fused")}
    made |= {"nnx.RNN": theirs} if layer.layers == 1 else {}
    made |= {"a scan": partial(ours, "library")} if device.platform == "gpu" else {}  # elsewhere it is ours
    return {name: each() for name, each in made.items() if _wanted(names, name)}


def _in_background(
    lowered: Any, options: dict[str, Any] | None, given: tuple[Any, ...], programs: dict[str, Work], way: str
) -> None:
    """Compile, and put what launches the program among the others; nothing waits for a thread that takes too long."""

    def work() -> None:
        programs[way] = partial(lowered.compile(options), *given)

    threading.Thread(target=work, name=COMPILING, daemon=True).start()
