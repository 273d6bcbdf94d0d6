"""Compares two training runs step by step: metrics, full state, an evaluation; names the first step that diverges.

Both backends train the same model from equal weights on equal batches, with dropout and everything around an update.
"""

from dataclasses import replace

import numpy as np

from crosscheck import criterion
from crosscheck.judging.decision import decided
from crosscheck.judging.false_alarms import are_open
from crosscheck.judging.judge import Scale, row_of, verdict_of
from crosscheck.judging.rows import KIND, Divergence, Row
from crosscheck.recording.noise import Noise
from crosscheck.recording.optimizer_steps import CONFIG, DECAY, RATE, rate_of
from crosscheck.recording.precision import full_precision
from crosscheck.recording.record import versions
from crosscheck.recording.recording import Recording
from crosscheck.recording.values import Options, Values
from crosscheck.report import Report
from crosscheck.runs.one_step import by_group
from shared.arrays import Arrays
from shared.backend import Batch, load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import (
    AdagradConfig,
    AdamConfig,
    OptimizerConfig,
    ParameterGroup,
    RMSpropConfig,
    SGDConfig,
    TrainingConfig,
)
from shared.errors import IsogradError
from shared.example_inputs import example_inputs
from shared.registry import TWINS, find_twin
from shared.tasks.table import find_task

INPUTS = {"inputs": "ids"}  # a model's argument -> the batch entry passed to it
EVALUATED = {"losses": "evaluation loss", "predictions": "prediction"}
KINDS = {"loss": "loss", "accuracy": "accuracy", "gradient_norm": "gradient norm", **EVALUATED}  # metric -> kind of row
SEED = 3
TRAINING = TrainingConfig(
    clip_norm=0.75,  # GRU gradients start above it and fall below it; transformers' stay above
    groups=(ParameterGroup(("*.bias",), weight_decay=0.0), ParameterGroup(("*embedding.weight",), rate_factor=0.5)),
    average_decay=0.9,
)
# Gradient accumulation does not depend on the model and costs JAX a second compilation: only the fastest model runs it.
ACCUMULATING = "ReviewClassifierGRU:encoder_only"
# The frozen layers lie between trainable ones, so gradients must still flow through them.
FREEZING = "ReviewClassifierGRU:no_attention"
FROZEN = ParameterGroup(("*encoder.rnn.*",), trainable=False)
# Nothing depends on the bias of the keys, whose gradient is rounding alone; that of GPT and BERT starts at 0, so
# nothing hides it.
CLASSIFIERS = tuple(f"BertForSentenceClassification{variant}" for variant in ("", ":roberta", ":distilbert"))
WITH_KEY_BIAS = ("GPT", *CLASSIFIERS)
STANDING = ParameterGroup(("*attention.k_proj.bias",), weight_decay=0.0, rate_factor=0.0)
TRAININGS = {
    **dict.fromkeys(WITH_KEY_BIAS, replace(TRAINING, groups=(STANDING, *TRAINING.groups))),
    ACCUMULATING: replace(TRAINING, accumulate=2),
    FREEZING: replace(TRAINING, groups=(FROZEN, *TRAINING.groups)),
}

OF_LETTERS = replace(TRAINING, groups=(*TRAINING.groups[:1], ParameterGroup(("*characters.weight",), rate_factor=0.5)))
OF_TASKS = {"translation": OF_LETTERS}  # whose tables of vectors have another name
# Gradients of recurrent translators and of some classifiers are smaller: some are above these norms, some below.
TRAININGS |= dict.fromkeys(("Translator:plain", "Translator:additive"), replace(OF_LETTERS, clip_norm=0.35))
TRAININGS |= {each: replace(TRAININGS[each], clip_norm=0.63 if "roberta" in each else 0.6) for each in CLASSIFIERS}

# Each rule is run by one model; models not listed here, and all updates outside a run, use AdamW.
OPTIMIZERS: dict[str, OptimizerConfig] = {
    ACCUMULATING: AdamConfig(eps=RATE, weight_decay=DECAY),
    FREEZING: SGDConfig(momentum=0.9, nesterov=True, weight_decay=DECAY),
    "ReviewClassifierTransformer": AdagradConfig(eps=RATE, weight_decay=DECAY),
    "ReviewClassifierTransformer:postnorm": RMSpropConfig(eps=RATE, weight_decay=DECAY),
}


def trainable(twin: str) -> bool:
    """True for a model that a backend can train: one with a task."""
    return find_twin(twin).task is not None


def loss_of(twin: str) -> str:
    """The loss of a twin's task."""
    return find_task(str(find_twin(twin).task)).loss


def training_of(twin: str) -> TrainingConfig:
    """The training settings around the optimiser's rule in a twin's run."""
    return TRAININGS.get(twin, OF_TASKS.get(find_twin(twin).task, TRAINING))


def optimizer_of(twin: str) -> OptimizerConfig:
    """The optimiser of a twin's run."""
    return OPTIMIZERS.get(twin, CONFIG)


def model_of(twin: str) -> ModelConfig:
    """The model of a twin, as passed to a backend."""
    entry = find_twin(twin)
    return ModelConfig(twin, dict(entry.arguments), tuple(INPUTS.get(name, name) for name in entry.inputs))


def compare_runs(twin: str, *, steps: int = 4, dtype: str = "float64", device: str = "cpu", seed: int = SEED) -> Report:
    """Train a registry model for some steps with both backends; float64 must be proven, float32 meet the noise rule.

    Raises IsogradError if no backend can train the twin, or if `steps` is less than 1.
    """
    if steps < 1:
        raise IsogradError(f"steps: expected at least 1, got {steps}")
    if not trainable(twin):
        raise IsogradError(f"{twin} can't be trained on its own: expected one of {', '.join(filter(trainable, TWINS))}")
    with full_precision():
        ours, theirs = (record_run(side, twin, steps, dtype, device, seed) for side in ("torch", "jax"))
        ours.noise = None if dtype == "float64" else _noise(twin, steps, ours.options, seed)
        report = compare_recorded_runs(ours, theirs)
        if are_open(report.rows, ours.options.dtype):
            ours.noise = _noise(twin, steps, replace(ours.options, noise_runs=criterion.MORE_DRAWS), seed)
            report = compare_recorded_runs(ours, theirs)
    rows, because = decided(report.rows, lambda: compare_runs(twin, steps=steps, device=device, seed=seed).rows)
    report = _located(replace(report, rows=rows, undecided_because=because))
    return replace(report, mode=f"run of {steps} steps", dtype=dtype, device=device)


def compare_recorded_runs(ours: Recording, theirs: Recording) -> Report:
    """The comparison of two runs with the same number of steps."""
    report = Report(
        name=ours.name,
        dtype=str(ours.options.dtype),
        mode="run",
        device=ours.options.device,
        rows=_rows(ours, theirs),
        versions={**ours.versions, **theirs.versions},
        recordings=(ours, theirs),
    )
    return _located(report)


def record_run(
    side: str, twin: str, steps: int, dtype: str = "float64", device: str = "cpu", seed: int = SEED
) -> Recording:
    """One side's run, with its losses as outputs."""
    curve = _curve(side, twin, steps, dtype, device, seed)
    losses = {name: array for name, array in curve.items() if name.endswith(("/loss", "/losses"))}
    options = Options(np.dtype(dtype), train=True)
    return Recording(side, twin, options, Values(outputs=losses, updates=curve), versions(side))


def _curve(backend_name: str, twin: str, steps: int, dtype: str, device: str, seed: int = SEED) -> Arrays:
    """A backend's logs and state after every step from 1, and its evaluation of the last step's batch.

    Named "2/loss", "2/exp_avg/norm.weight", ...
    """
    options = {"model": model_of(twin), "optimizer": optimizer_of(twin), "training": training_of(twin), "seed": seed}
    backend = load_backend(backend_name, **options, loss=loss_of(twin), dtype=dtype, device=device)
    state, curve = backend.init_state(), {}
    for step in range(1, steps + 1):
        state, metrics = backend.train_step(state, batch_of(twin, step), rate_of(step))
        metrics, arrays = backend.fetch(metrics), backend.state_to_arrays(state)
        curve |= {f"{step}/{name}": value for name, value in metrics.items()}
        curve |= {f"{step}/{group}/{n}": a for group, named in by_group(arrays).items() for n, a in named.items()}
    evaluated = backend.fetch(backend.eval_step(state, batch_of(twin, steps)))
    return curve | {f"{steps}/{name}": evaluated[name] for name in EVALUATED}


def batch_of(twin: str, step: int) -> Batch:
    """A different batch each step; its last row is padding, in every other batch the last two."""
    entry = find_twin(twin)
    inputs = {INPUTS.get(name, name): array for name, array in example_inputs(entry, seed=step).items()}
    inputs = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in inputs.items()}
    return find_task(str(entry.task)).example_batch(entry, inputs, step)


def _noise(twin: str, steps: int, options: Options, run_seed: int) -> Noise:
    from crosscheck.runs.random_rounding import RandomRounding

    oracle = _curve("torch", twin, steps, "float64", "cpu", run_seed)
    movement = dict.fromkeys(oracle, 0.0)
    for seed in range(options.noise_runs):
        with RandomRounding(criterion.unit_roundoff(options.dtype), seed):
            moved = _curve("torch", twin, steps, "float64", "cpu", run_seed)
        movement = {name: max(movement[name], criterion.movement(moved[name], oracle[name])) for name in oracle}
    return Noise(Values(updates=oracle), {"updates": movement})


def _rows(ours: Recording, theirs: Recording) -> list[Row]:
    """One row per tensor, in the order in which a fault shows."""
    noise, rows = ours.noise, []
    scale = Scale.of(ours.values if noise is None else noise.oracle)
    for name, array in ours.values.updates.items():
        kind, other = KIND[KINDS.get(name.partition("/")[2], "update")], theirs.values.updates[name]
        verdict = verdict_of(kind, name, array, other, scale, noise, ours.options.dtype)
        rows.append(row_of(kind, name, array, other, verdict, ours.values))
    return rows


def _located(report: Report) -> Report:
    """The report with the first row that differs."""
    row = next((row for row in report.rows if not row.agrees), None)
    if row is None:
        return replace(report, first_divergence=None, first_row=None)
    module = f"{report.name}.optimizer" if row.kind == "update" else report.name
    return replace(report, first_divergence=Divergence(module, row.phase, row.tensor), first_row=row)
