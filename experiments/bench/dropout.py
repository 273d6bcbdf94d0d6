"""The cost of dropout: training steps with each kind of mask and with none, and drawing the masks alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, in_turn, rows_of, timed
from experiments.bench.workload import BLOCK_SECONDS, BareStep, blocks_of, experiment_for, random_data
from experiments.training.launch import backend_for
from shared import rng
from shared.backend import DROPOUT_RNGS, PACKAGES
from shared.configs.experiment import Experiment

EXPERIMENTS = {"cpu": ("reviews-5-small", "reviews-2-small"), "cuda": ("reviews-5", "reviews-2")}
NONE = "none"
RATE = 0.3
MILLIONS = {"cpu": 1, "cuda": 64}  # elements of a mask, in units of 2**20
TOGETHER = 8  # masks launched before waiting for any, so that a GPU never idles in between
UNIT = 2**20 / 1e6  # scales figures to a million elements
KEY = (1, 2)
Masks = dict[str, Callable[[], Any]]


def bench_dropout(options: Options) -> list[Row]:
    """Rows for steps (ratios to no dropout) and for masks (milliseconds per million elements)."""
    names = options.experiments or EXPERIMENTS[options.device]
    steps = [row for name in names for backend in PACKAGES for row in _steps(name, backend, options)]
    return steps + [row for backend in PACKAGES for row in _masks(backend, options)]


def _steps(name: str, backend: str, options: Options) -> list[Row]:
    experiment = experiment_for(name, options)
    kinds = {NONE: _with_dropout(experiment, 0.0, "shared")}
    kinds |= {kind: _with_dropout(experiment, RATE, kind) for kind in DROPOUT_RNGS}
    made = {kind: backend_for(each, backend, options.dtype, options.device) for kind, each in kinds.items()}
    bare = {kind: BareStep(made[kind], random_data(each)) for kind, each in kinds.items()}
    costs = in_turn(blocks_of(bare), options.rounds)
    return [{"case": f"{name}, a step", "backend": backend, **row} for row in rows_of(costs, NONE)]


def _with_dropout(experiment: Experiment, rate: float, kind: str) -> Experiment:
    model, training = experiment.model, experiment.training
    model = replace(model, arguments={**model.arguments, "dropout": rate})
    return replace(experiment, model=model, training=replace(training, dropout_rng=kind))


def _masks(backend: str, options: Options) -> list[Row]:
    size = MILLIONS[options.device] * 2**20
    masks, wait = MASKS[backend]((size,), options.device)
    millions = MILLIONS[options.device] * UNIT
    sides = {kind: _block_of(mask, wait, millions) for kind, mask in masks.items()}
    costs = in_turn(sides, options.rounds)
    return [{"case": "a million elements", "backend": backend, **row} for row in rows_of(costs, "native")]


def _block_of(mask: Callable[[], Any], wait: Callable[[Any], object], millions: float) -> Callable[[], Cost]:
    """Blocks of masks, several launched together; the first ones, which compile and warm up, are drawn here."""

    def draw(times: int) -> None:
        for _ in range(times):
            wait([mask() for _ in range(TOGETHER)])

    draw(2)
    times = max(1, round(BLOCK_SECONDS / timed(lambda: draw(1), 1).wall))
    return lambda: timed(lambda: draw(times), times * TOGETHER * millions)


def _torch_masks(shape: tuple[int, ...], device: str) -> tuple[Masks, Callable[[Any], object]]:
    import torch

    from torch_impl.random_bits import random_mask

    masks: Masks = {
        "shared": lambda: random_mask(KEY, shape, rng.keep_threshold(RATE), device),
        "native": lambda: torch.empty(shape, device=device).bernoulli_(1 - RATE),
    }
    return masks, lambda masks: torch.cuda.synchronize() if device == "cuda" else None


def _jax_masks(shape: tuple[int, ...], device: str) -> tuple[Masks, Callable[[Any], object]]:
    import jax
    import numpy as np

    from jax_impl.backend import find_device
    from jax_impl.random_bits import random_mask

    shared = jax.jit(lambda key: random_mask(key, shape, rng.keep_threshold(RATE)))
    native = jax.jit(lambda key: jax.random.bernoulli(jax.random.wrap_key_data(key, impl="rbg"), 1 - RATE, shape))
    key = jax.device_put(np.array(KEY, np.uint32), find_device(device))
    key_of_rbg = jax.device_put(np.array(KEY * 2, np.uint32), find_device(device))
    return {"shared": lambda: shared(key), "native": lambda: native(key_of_rbg)}, jax.block_until_ready


MASKS = {"torch": _torch_masks, "jax": _jax_masks}
