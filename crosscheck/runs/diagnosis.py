"""Why two runs diverge: both sides repeat the step from the same state in float64, and the model runs on its own."""

from dataclasses import dataclass

import numpy as np

from crosscheck import criterion
from crosscheck.compare import compare
from crosscheck.judging.rows import Divergence
from crosscheck.recording.optimizer_steps import rate_of
from crosscheck.recording.precision import full_precision
from crosscheck.report import Report
from crosscheck.runs.compare_runs import EVALUATED, SEED, batch_of, loss_of, model_of, optimizer_of, training_of
from crosscheck.runs.one_step import GRADIENTS, Start, by_group, make_from
from jax_impl import build as jax_build
from jax_impl import weights as jax_weights
from shared.arrays import Arrays
from shared.backend import Backend, load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import OptimizerConfig, TrainingConfig
from shared.registry import find_twin
from shared.training_state import WEIGHTS
from torch_impl import build as torch_build
from torch_impl import weights as torch_weights

PRECISION = "float64"
SAME_STEP = "from the same state both sides take identical steps in float64"


@dataclass(frozen=True)
class Recipe:
    """The settings that both backends of a run are built from (see `load_backend`)."""

    model: ModelConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    loss: str
    seed: int

    def backend(self, name: str) -> Backend:
        """One side's backend, in float64 on a CPU."""
        return load_backend(name, dtype=PRECISION, **vars(self))


def find_cause(recipe: Recipe, start: Start) -> tuple[Divergence | None, str]:
    """The difference that shows when both sides take the same step in float64, with a sentence; None if they agree.

    Gradients come first: if they differ, the model's modules are compared and the first that differs is named. Then
    everything else that the step makes is compared.
    """
    start = start.widened()
    ours, theirs = (make_from(recipe.backend(name), start).quantities for name in ("torch", "jax"))
    if found := _first_difference(ours[GRADIENTS], theirs[GRADIENTS]):
        return _in_the_model(recipe, start, found)
    for name in ours:
        if differing := _first_difference(ours[name], theirs[name]):
            return _around_the_model(recipe.model.twin, name, differing, is_state=f"{name}/{differing}" in start.state)
    return None, f"{SAME_STEP}: what differs is a matter of the run's precision"


def find_cause_in_run(report: Report) -> tuple[Divergence | None, str]:
    """Where two runs diverge (see `compare_runs`), with a sentence: the module inside the model if repeating the step
    from torch's previous state reveals one, else the divergence in the run."""
    first, row, twin = report.first_divergence, report.first_row, report.name
    if row is None or row.step is None or row.kind in EVALUATED.values():
        return first, ""
    recipe = Recipe(model_of(twin), optimizer_of(twin), training_of(twin), loss_of(twin), SEED)
    with full_precision():
        side = recipe.backend("torch")
        state = side.init_state()
        for step in range(1, row.step):
            state, _ = side.train_step(state, batch_of(twin, step), rate_of(step))
        start = Start(side.state_to_arrays(state), batch_of(twin, row.step), rate_of(row.step))
        cause, sentence = find_cause(recipe, start)
    if cause is None:  # the cause is in state kept between steps
        return first, ""
    is_inside = cause.module.startswith(f"{twin}.") and cause.phase != "update"
    return cause if is_inside else first, sentence


def _around_the_model(twin: str, quantity: str, tensor: str, *, is_state: bool) -> tuple[Divergence, str]:
    if is_state:
        place = Divergence(f"{twin}.optimizer", "update", f"{quantity}/{tensor}")
        return place, f"from the same state the gradients agree, and the update diverges in {place.tensor}"
    where = quantity if quantity == tensor else f"{quantity}, {tensor}"
    return Divergence(twin, quantity, tensor), f"from the same state the gradients agree, and the two differ in {where}"


def _first_difference(ours: Arrays, theirs: Arrays) -> str | None:
    """The unequal tensor that differs most, or one that only one side has.

    A tensor that is zero in theory is measured against the largest norm.
    """
    if alone := sorted(ours.keys() ^ theirs.keys()):
        return alone[0]
    floor = max(map(criterion.norm, ours.values()))
    verdicts = {name: criterion.prove(ours[name], theirs[name], floor) for name in ours}
    wrong = {name: verdict.error for name, verdict in verdicts.items() if not verdict.agrees}
    return max(wrong, key=lambda name: wrong[name], default=None)


def _in_the_model(recipe: Recipe, start: Start, tensor: str) -> tuple[Divergence, str]:
    weights = by_group(start.state)[WEIGHTS]
    entry, arguments = find_twin(recipe.model.twin), recipe.model.arguments
    pair = torch_build.empty_twin(entry, arguments), jax_build.empty_twin(entry, arguments)
    torch_weights.load_arrays(pair[0], weights)
    jax_weights.load_arrays(pair[1], weights)
    inputs = tuple(np.asarray(start.batch[name]) for name in recipe.model.inputs)
    report = compare(*pair, inputs, train=True, name=recipe.model.twin)
    if report.first_divergence is not None:
        return report.first_divergence, f"from the same state the model differs: {_words(report.first_divergence)}"
    found = Divergence(recipe.model.twin, "parameter gradient", f"{GRADIENTS}/{tensor}")
    return (
        found,
        f"from the same state the model agrees on its own, but the backends' gradients diverge in {tensor}",
    )


def _words(found: Divergence) -> str:
    return f"{found.module}, {found.phase}, {found.tensor}"
