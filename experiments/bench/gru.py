"""A GRU layer against those of the frameworks: nn.GRU, called and replayed as a CUDA graph, nnx.RNN, a scan of XLA."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, in_turn, rows_of, timed

Work = Callable[[], Any]  # launches the layer once and gives its outputs and gradients


class Layer(NamedTuple):
    """The sizes of a layer, whose inputs have as many columns as its state."""

    batch_size: int
    steps: int
    hidden_size: int
    directions: int = 1

    def __str__(self) -> str:
        return f"B{self.batch_size} T{self.steps} H{self.hidden_size}" + ", both ways" * (self.directions - 1)


class Side(NamedTuple):
    """A layer of a framework: the outputs, the outputs and all gradients, and a wait for the device."""

    forward: Work
    both: Work
    wait: Callable[[Any], object]
    is_compared: bool = True  # with float64: its weights are those of the others


Planned = tuple[Layer, tuple[str, ...], tuple[str, ...] | None]  # the ways, and the sides if not all
LAYERS = {
    "cpu": (Layer(8, 16, 32),),
    "cuda": (
        *(Layer(128, 256, 512), Layer(128, 256, 256), Layer(32, 256, 512), Layer(1, 256, 512), Layer(256, 256, 512)),
        *(Layer(256, 256, 256), Layer(128, 256, 256, 2), Layer(512, 256, 512, 2)),
    ),
}
CENTRE = Layer(128, 256, 512)  # of the curves, along each of which one of its sizes varies
VARIED = {"batch_size": (8, 64, 512), "steps": (32, 128, 512, 1024), "hidden_size": (64, 128, 1024)}
CURVES = {"cpu": (), "cuda": tuple(CENTRE._replace(**{name: n}) for name, sizes in VARIED.items() for n in sizes)}
WAYS = {"forward": "forward", "both": "with gradients"}
OURS = ("isograd in torch", "isograd in JAX")
BASE = {"cpu": "nn.GRU", "cuda": "nn.GRU, replayed"}
GOALS = {("both", CENTRE): 0.30, ("both", CENTRE._replace(hidden_size=256)): 0.20}  # of the base's time, on a GPU
GOAL = {"forward": 0.6, "both": 0.45}  # of all other layers
BLOCK_SECONDS = 0.05  # or one call, if that takes longer


def bench_gru(options: Options) -> Iterator[Row]:
    """Rows of each layer, forward and with its gradients, then of the curves, with gradients and the fastest sides.

    Errors are relative L2 distances from float64.
    """
    planned: list[Planned] = [(layer, tuple(WAYS), None) for layer in LAYERS[options.device]]
    planned += [(layer, ("both",), (*OURS, BASE[options.device])) for layer in CURVES[options.device]]
    in_jax = [_only(_jax_sides(layer, options), names) for layer, _, names in planned]
    _compile(
        [
            getattr(side, way)
            for (_, ways, _), made in zip(planned, in_jax, strict=True)
            for side in made.values()
            for way in ways
        ]
    )
    for (layer, ways, names), made in zip(planned, in_jax, strict=True):
        yield from _rows(layer, _only(_torch_sides(layer, options), names) | made, ways, options)
        made.clear()  # its arrays


def _only(sides: dict[str, Side], names: tuple[str, ...] | None) -> dict[str, Side]:
    return {name: side for name, side in sides.items() if names is None or name in names}


def _compile(works: list[Work]) -> None:
    """Call each for the first time, all at once: XLA compiles on one core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda work: work() and None, works):
            pass


def _rows(layer: Layer, sides: dict[str, Side], ways: tuple[str, ...], options: Options) -> Iterator[Row]:
    exact = _in_float64(layer, options)
    for way in ways:
        blocks = {name: _block_of(getattr(side, way), side.wait) for name, side in sides.items()}
        for row in rows_of(in_turn(blocks, options.rounds), BASE[options.device]):
            side = sides[row["side"]]
            has_goal = row["side"] in OURS and options.device == "cuda"
            goal = {"goal": GOALS.get((way, layer), GOAL[way])} if has_goal else {}
            error = _error(getattr(side, way)(), exact) if side.is_compared else {}
            sizes = {**layer._asdict(), "way": way}
            yield {"case": f"{layer}, {options.dtype}, {WAYS[way]}", **row, **error, **goal, **sizes}


@lru_cache(maxsize=1)
def _arrays(layer: Layer) -> dict[str, np.ndarray]:
    """Inputs (B, T, H), gradients of the outputs, and the weights of each direction as nn.GRU has them."""
    random = np.random.default_rng(0)
    batch_size, steps, size, directions = layer
    bound = size**-0.5
    return {
        "inputs": random.standard_normal((batch_size, steps, size), np.float32),
        "upstream": random.standard_normal((batch_size, steps, directions * size), np.float32),
        "weight_ih": random.uniform(-bound, bound, (directions, 3 * size, size)),
        "weight_hh": random.uniform(-bound, bound, (directions, 3 * size, size)),
        "bias_ih": random.uniform(-bound, bound, (directions, 3 * size)),
        "bias_hh": random.uniform(-bound, bound, (directions, 3 * size)),
    }


def _block_of(work: Work, wait: Callable[[Any], object]) -> Callable[[], Cost]:
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

    size, directions = layer.hidden_size, layer.directions
    module = torch.nn.GRU(size, size, batch_first=True, bidirectional=directions == 2)
    for name, parameter in module.named_parameters():
        parameter.data = torch.from_numpy(arrays[name.split("_l0")[0]][int(name.endswith("_reverse"))])
    module = module.to(device, dtype)
    module.flatten_parameters()
    return module


def _torch_twin(layer: Layer, arrays: dict[str, np.ndarray], device: Any, dtype: Any) -> Any:
    import torch

    from torch_impl.layers.gru import GRU, BidirectionalGRU

    module = (GRU if layer.directions == 1 else BidirectionalGRU)(layer.hidden_size, layer.hidden_size)
    for direction, cell in enumerate(_cells(module)):
        for part, suffix in ((cell.input_proj, "ih"), (cell.hidden_proj, "hh")):
            part.weight.data = torch.from_numpy(arrays[f"weight_{suffix}"][direction])
            part.bias.data = torch.from_numpy(arrays[f"bias_{suffix}"][direction])
    return module.to(device, dtype)


def _cells(module: Any) -> list[Any]:
    """The first layer's cell of each direction, in both frameworks."""
    return [module.cells[0]] if hasattr(module, "cells") else [module.forward_cells[0], module.backward_cells[0]]


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


def _torch_sides(layer: Layer, options: Options) -> dict[str, Side]:
    import torch

    from torch_impl.precision import use_exact_matmul
    from torch_impl.recorded import Recording

    use_exact_matmul()
    arrays = _arrays(layer)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    ours = _torch_work(_torch_twin(layer, arrays, device, dtype), arrays, device, dtype)
    theirs = _torch_work(_nn_gru(layer, arrays, device, dtype), arrays, device, dtype)
    on_gpu = device.type == "cuda"

    def side(work: Callable[[bool], Any], replayed: bool) -> Side:
        forward, both = (partial(work, backward) for backward in (False, True))
        if replayed:
            forward, both = Recording(forward, ()), Recording(both, ())
        return Side(forward, both, lambda _: torch.cuda.synchronize() if on_gpu else None)

    sides = {"isograd in torch": side(ours, on_gpu), "nn.GRU": side(theirs, False)}
    return sides | ({"nn.GRU, replayed": side(theirs, True)} if on_gpu else {})


def _jax_sides(layer: Layer, options: Options) -> dict[str, Side]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from jax_impl.backend import find_device
    from jax_impl.layers.gru import GRU, BidirectionalGRU
    from jax_impl.precision import use_exact_matmul

    use_exact_matmul()
    arrays = _arrays(layer)
    size, device, dtype = layer.hidden_size, find_device(options.device), jnp.dtype(options.dtype)
    inputs, upstream = (jax.device_put(jnp.asarray(arrays[name], dtype), device) for name in ("inputs", "upstream"))

    def side(module: Any, is_compared: bool, **starts: Any) -> Side:
        structure, weights, others = nnx.split(module, nnx.Param, ...)  # random streams, too
        weights = jax.device_put(jax.tree.map(lambda array: array.astype(dtype), weights), device)

        def outputs(inputs: Any, weights: Any) -> Any:
            found = nnx.merge(structure, weights, others)(inputs, **starts)
            return found[0] if isinstance(found, tuple) else found

        def both(inputs: Any, weights: Any, upstream: Any) -> tuple[Any, ...]:
            found, backward = jax.vjp(outputs, inputs, weights)
            return found, *backward(upstream)

        forward, both = jax.jit(lambda *given: (outputs(*given),)), jax.jit(both)
        return Side(
            lambda: forward(inputs, weights),
            lambda: both(inputs, weights, upstream),
            jax.block_until_ready,
            is_compared,
        )

    def ours(implementation: str) -> Any:
        kind = GRU if layer.directions == 1 else BidirectionalGRU
        module = kind(size, size, implementation=implementation, rngs=nnx.Rngs(0))
        for direction, cell in enumerate(_cells(module)):
            for part, suffix in ((cell.input_proj, "ih"), (cell.hidden_proj, "hh")):
                part.kernel[...] = jnp.asarray(arrays[f"weight_{suffix}"][direction].T)
                part.bias[...] = jnp.asarray(arrays[f"bias_{suffix}"][direction])
        return side(module, True)

    alone = [nnx.RNN(nnx.GRUCell(size, size, dtype=dtype, rngs=nnx.Rngs(number))) for number in range(layer.directions)]
    start = jnp.zeros((layer.batch_size, size), dtype)
    theirs, start = (alone[0], start) if layer.directions == 1 else (nnx.Bidirectional(*alone), (start, start))
    others = {"a scan": ours("library")} if device.platform == "gpu" else {}  # elsewhere it is ours
    return {"isograd in JAX": ours("fused"), "nnx.RNN": side(theirs, False, initial_carry=start), **others}
