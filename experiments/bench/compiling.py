"""The time that JAX takes to compile what a run needs, or a generation: cold, and from the programs that it keeps."""

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.generation import CASES, MODELS, Case, write_gpt
from experiments.bench.options import Options
from experiments.bench.timing import Row
from experiments.bench.workload import experiment_for
from experiments.catalogue import EXPERIMENTS
from experiments.catalogue.fine_tuning import OF_MINILM
from experiments.training.launch import backend_for
from shared.backend import Batch
from shared.configs.experiment import Experiment
from shared.pretrained.initial import MINILM
from shared.tasks.table import task_of

GOALS = {"cold": 15.0, "warm": 3.0}  # seconds, on a GPU
BUILT_IN = "pig_latin"
PER_TOKEN = ("language_modelling", "masked_language_modelling", "translation")
JOINED = ("ids",)


def bench_compiling(options: Options) -> Iterator[Row]:
    """Two rows for each experiment, all programs of its training and validation together, and for each generation.

    Seconds are JAX's: `steps` tells PyTorch's. The process knows which kernels were fastest for products that it met
    before.
    """
    for label, work in _works(options):
        options.tell(label)
        with tempfile.TemporaryDirectory() as folder, _kept_in(Path(folder)) as forget:
            for side, goal in GOALS.items():
                forget()
                goals = {"goal_seconds": goal} if options.device == "cuda" else {}
                yield {"case": label, "side": side, "compile_seconds": work(), **goals}


def _works(options: Options) -> Iterator[tuple[str, Callable[[], float]]]:
    """What compiles, by its name, and gives the seconds; unless experiments are named, generation and all of a size."""
    if not options.experiments:
        preset, _ = MODELS[options.device]
        with tempfile.TemporaryDirectory() as folder:
            write_gpt(Path(folder) / "gpt", options)
            gpt = importlib.import_module("jax_impl").from_pretrained(Path(folder) / "gpt", dtype=options.dtype)
        for case in CASES[options.device]:
            yield f"GPT {preset}, {case}", partial(_generate, gpt, case)
    for name in options.experiments or _whole_catalogue(options.device):
        experiment = fitted(name, options)
        shapes = batches_of(experiment)
        lengths = f"{len(shapes)} length{'s' * (len(shapes) > 1)}"
        yield f"{name}, {options.dtype}, {lengths}", partial(_train, experiment, shapes, options)


def _whole_catalogue(device: str) -> list[str]:
    """The experiments of a size for the device."""
    small = device == "cpu"
    named = [name for name in EXPERIMENTS if name.endswith("-small") == small]
    return [name for name in named if not name.startswith("lockstep")]


def fitted(name: str, options: Options) -> Experiment:
    """The experiment with every size filled in: 128 tokens where its data have a vocabulary, and the lengths of the
    built-in words for a translator that has none of its own. One that starts from MiniLM has its shape, and random
    weights.
    """
    experiment = experiment_for(name, options)
    if experiment.initial == MINILM:
        shape = {**OF_MINILM, **experiment.model.arguments}
        experiment = replace(experiment, model=replace(experiment.model, arguments=shape), initial=None)
    if experiment.task != "translation":
        return experiment
    if experiment.bucket_lengths:
        return replace(experiment, length=max(experiment.bucket_lengths))
    return task_of(experiment).load(replace(experiment, dataset=BUILT_IN), None, None, None)[0]


def batches_of(experiment: Experiment) -> list[Batch]:
    """A batch of random tokens of each length that the experiment has."""
    lengths = {length for length in experiment.bucket_lengths or () if length < experiment.length}
    return [_batch(experiment, length) for length in sorted(lengths | {experiment.length})]


def _batch(experiment: Experiment, length: int) -> Batch:
    model, random = experiment.model, np.random.default_rng(experiment.seed)
    joined = experiment.task == "translation" and model.inputs == JOINED
    shape = experiment.batch_size, 2 * length + 1 if joined else length
    per_token = experiment.task in PER_TOKEN
    vocabulary_size = model.arguments["vocabulary_size"]
    classes = vocabulary_size if per_token else model.arguments["num_classes"]
    of_labels = shape if per_token else shape[:1]
    tokens, seen = random.integers(1, vocabulary_size, shape, dtype=np.int32), np.ones(shape, bool)
    return {
        **{"ids": tokens, "source": tokens, "targets": tokens, "mask": seen, "source_mask": seen},
        "lengths": np.full(shape[:1], shape[1], np.int32),
        "labels": random.integers(0, classes, of_labels, dtype=np.int32),
        "weights": np.ones(of_labels, np.float32),
    }


def _train(experiment: Experiment, shapes: list[Batch], options: Options) -> float:
    """Seconds that the training steps and the validation of each shape wait until they are compiled."""
    backend = backend_for(experiment, "jax", options.dtype, options.device)
    state = backend.init_state()
    backend.compile_ahead(state, shapes, shapes)
    for batch in shapes:
        for step in sorted({0, experiment.training.accumulate - 1}):  # the first gathers, the last updates
            state, _ = backend.train_step({**state, "step": step}, batch, experiment.optimizer.learning_rate)
        backend.fetch(backend.eval_step(state, batch))
    return backend.compile_seconds


def _generate(gpt: Any, case: Case) -> float:
    """Seconds that the first call takes longer than the second."""
    package: Any = importlib.import_module("jax_impl")
    prompts = np.random.default_rng(0).integers(0, gpt.config.vocabulary_size, (case.rows, case.prompt))
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        np.asarray(package.generate(gpt, prompts, steps=case.steps, cache=case.cache))
        seconds.append(time.perf_counter() - started)
    return seconds[0] - seconds[1]


@contextmanager
def _kept_in(folder: Path) -> Iterator[Callable[[], None]]:
    """JAX keeps programs in this folder; what is given forgets those in memory."""
    jax: Any = importlib.import_module("jax")
    cache: Any = importlib.import_module("jax.experimental.compilation_cache.compilation_cache")
    before = jax.config.jax_compilation_cache_dir

    def move(place: str | None) -> None:
        jax.config.update("jax_compilation_cache_dir", place)
        cache.reset_cache()

    move(str(folder))
    try:
        yield jax.clear_caches
    finally:
        move(before)
