"""The workload of a benchmark: a catalogue experiment on random token ids, or a model with random weights."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.options import Options
from experiments.bench.timing import Cost, timed
from experiments.catalogue import find_experiment
from experiments.training.preparation import Prepared
from shared.backend import Batch
from shared.configs.experiment import Experiment
from shared.data import Examples
from shared.errors import IsogradError
from shared.initial_weights import initial_weights
from shared.lazy.arrays import lazy
from shared.pretrained.folder import cast, write_folder
from shared.registry import find_twin
from shared.tasks.classification import LabelledTexts

SIZES = {"vocabulary_size": 128, "num_classes": 3}  # if the experiment takes them from its data
BATCHES = 8  # per epoch
BLOCK_SECONDS = 0.3  # or one step, if that takes longer


def experiment_for(name: str, options: Options) -> Experiment:
    """The experiment with every size filled in."""
    experiment = find_experiment(name)
    sizes = {**SIZES, "sequence_length": experiment.length}
    arguments = {key: sizes[key] if value is None else value for key, value in experiment.model.arguments.items()}
    if options.implementation is not None and "implementation" in arguments:
        arguments["implementation"] = options.implementation
    batch_size = options.batch_size or experiment.batch_size
    return replace(experiment, model=replace(experiment.model, arguments=arguments), batch_size=batch_size)


def has_random_data(experiment: Experiment) -> bool:
    """Whether it classifies texts by a model of its own, rather than by one that comes with a checkpoint."""
    return experiment.task == "classification" and "vocabulary_size" in experiment.model.arguments


def random_data(experiment: Experiment) -> Prepared:
    """An experiment ready for the runner: reviews of random ids, at least half as long as the maximum."""
    if not has_random_data(experiment):
        raise IsogradError(
            f"{experiment.name} can't be timed on random texts: it does not classify them, or takes its model from a "
            "checkpoint; name one such as reviews-4, or time a run by `isograd train`"
        )
    random, arguments = np.random.default_rng(experiment.seed), experiment.model.arguments
    lengths = random.integers(experiment.length // 2, experiment.length + 1, BATCHES * experiment.batch_size)
    ids = random.integers(1, arguments["vocabulary_size"], lengths.sum(), dtype=np.int32)
    labels = random.integers(0, arguments["num_classes"], len(lengths), dtype=np.int32)
    examples = Examples(ids, np.concatenate([[0], np.cumsum(lengths)]), labels)
    return Prepared(experiment, LabelledTexts(None, None, {"train": examples, "validation": examples}))  # type: ignore[arg-type]


class BareStep:
    """A backend's compiled update in a tight loop, on one batch that is already on the device."""

    def __init__(self, backend: Any, prepared: Prepared) -> None:
        rate = prepared.experiment.optimizer.learning_rate
        state, batch = backend.init_state(), backend.to_device(first_batch(prepared))
        self.backend = backend
        self.tensors, *self.others = backend.arguments(state, batch, rate)

    def run(self, steps: int) -> None:
        """Take steps and wait for the last."""
        for _ in range(steps):
            self.tensors, metrics = self.backend.update(self.tensors, *self.others)
        self.backend.fetch(metrics)

    def block(self, steps: int) -> Cost:
        """The cost of a step."""
        return timed(lambda: self.run(steps), steps)

    def steps_of_a_block(self) -> int:
        """The number of steps in a block; the first ones, which compile and warm up, run here."""
        self.run(2)
        return max(1, round(BLOCK_SECONDS / self.block(2).wall))


def blocks_of(steps: Mapping[str, BareStep]) -> dict[str, Callable[[], Cost]]:
    """By name, what times one block of steps; each is compiled and warm."""
    return {name: partial(step.block, step.steps_of_a_block()) for name, step in steps.items()}


def first_batch(prepared: Prepared) -> Batch:
    """The first batch of the first epoch."""
    return next(prepared.data.epoch(prepared.experiment, "train", 0).start_at(0))


def write_model(folder: Path, name: str, arguments: dict[str, Any], dtype: str) -> None:
    """A twin with random weights as a folder of Hugging Face."""
    weights = initial_weights(shapes_of(name, arguments), seed=0)
    write_folder(folder, name, arguments, cast(lazy(weights), dtype))


def shapes_of(name: str, arguments: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The canonical names and shapes of a twin's parameters."""
    module = importlib.import_module("torch_impl.build").build_twin(find_twin(name), arguments, abstract=True)
    return importlib.import_module("torch_impl.weights").parameter_shapes(module)
