"""Compare two training runs step by step: loss, gradient norm, weights and moments; the first step that parts is named.

Both backends train one model from equal weights on equal batches, dropout on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from crosscheck import criterion
from crosscheck.precision import full_precision
from crosscheck.recording import Recording, versions
from crosscheck.report import Report
from crosscheck.rows import Divergence, Row, Statistics, worst_element
from crosscheck.updates import CONFIG, GROUPS, rate_of
from crosscheck.values import Options, Values
from shared.backend import Batch, load_backend
from shared.configs.experiment import ModelConfig
from shared.errors import IsogradError
from shared.example_inputs import example_inputs
from shared.registry import TWINS, find_twin

Curve = dict[str, np.ndarray]  # "2/loss", "2/gradient_norm", "2/exp_avg/norm.weight", ... by step from 1
INPUTS = {"inputs": "ids"}  # a model's argument -> the batch entry that it is given
KINDS = {"loss": "loss", "gradient_norm": "gradient norm"}
SEED = 3


def trainable(twin: str) -> bool:
    """True for a model that a backend can train: one that classifies."""
    return find_twin(twin).public_name.startswith("ReviewClassifier")


def compare_runs(twin: str, *, steps: int = 4, dtype: str = "float64", device: str = "cpu") -> Report:
    """Train a model of the registry some steps with both backends; float64 is proven, float32 held to the noise rule.

    Raises IsogradError if the twin is none that a backend can train, or if there is no step.
    """
    if steps < 1:
        raise IsogradError(f"steps: expected at least 1, got {steps}")
    if not trainable(twin):
        raise IsogradError(f"{twin} can't be trained by itself: expected one of {', '.join(filter(trainable, TWINS))}")
    wanted = np.dtype(dtype)
    with full_precision():
        ours, theirs = (_curve(name, twin, steps, dtype, device) for name in ("torch", "jax"))
        oracle, movement = (ours, None) if dtype == "float64" else _noise(twin, steps, wanted)
    rows = [_row(name, ours[name], theirs[name], oracle, movement, wanted) for name in ours]
    first = next((row for row in rows if not row.agrees), None)
    return Report(
        name=twin,
        dtype=dtype,
        mode=f"run of {steps} steps",
        device=device,
        rows=rows,
        first_divergence=_divergence(twin, first),
        first_row=first,
        versions={**versions("torch"), **versions("jax")},
        recordings=tuple(
            _as_recording(side, twin, wanted, curve) for side, curve in (("torch", ours), ("jax", theirs))
        ),
    )


def _as_recording(side: str, twin: str, dtype: np.dtype, curve: Curve) -> Recording:
    losses = {name: array for name, array in curve.items() if name.endswith("/loss")}
    return Recording(side, twin, Options(dtype, train=True), Values(outputs=losses, updates=curve), {})


def _curve(backend_name: str, twin: str, steps: int, dtype: str, device: str) -> Curve:
    """Everything that one backend logs and holds after each step."""
    entry = find_twin(twin)
    inputs = tuple(INPUTS.get(name, name) for name in entry.inputs)
    model = ModelConfig(twin, dict(entry.arguments), inputs)
    backend = load_backend(backend_name, model=model, optimizer=CONFIG, seed=SEED, dtype=dtype, device=device)
    state, curve = backend.init_state(), {}
    for step in range(1, steps + 1):
        state, metrics = backend.train_step(state, _batch(twin, step), rate_of(step))
        metrics = backend.fetch(metrics)
        curve |= {f"{step}/{name}": metrics[name] for name in KINDS}
        arrays = backend.state_to_arrays(state)
        names = [name.partition("/")[2] for name in arrays if name.startswith("weights/")]
        curve |= {f"{step}/{group}/{name}": arrays[f"{group}/{name}"] for group in GROUPS for name in names}
    return curve


def _batch(twin: str, step: int) -> Batch:
    """Another batch each step, its last row only there to fill it up."""
    inputs = example_inputs(find_twin(twin), seed=step)
    rows = len(inputs["inputs"])
    weights = np.ones(rows, np.float32)
    weights[-1] = 0.0
    labels = np.random.default_rng(step).integers(0, 2, rows).astype(np.int32)
    named = {INPUTS.get(name, name): array for name, array in inputs.items()}
    named = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in named.items()}
    return {**named, "labels": labels, "weights": weights}


def _noise(twin: str, steps: int, dtype: np.dtype) -> tuple[Curve, Mapping[str, float]]:
    from crosscheck.rounding import RandomRounding

    oracle = _curve("torch", twin, steps, "float64", "cpu")
    movement = dict.fromkeys(oracle, 0.0)
    for seed in range(Options(dtype).noise_runs):
        with RandomRounding(criterion.unit_roundoff(dtype), seed):
            moved = _curve("torch", twin, steps, "float64", "cpu")
        movement = {name: max(movement[name], criterion.movement(moved[name], oracle[name])) for name in oracle}
    return oracle, movement


def _row(
    name: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    oracle: Curve,
    movement: Mapping[str, float] | None,
    dtype: np.dtype,
) -> Row:
    floor = max(_group_norms(name, oracle))
    if movement is None:
        verdict = criterion.prove(ours, theirs, floor)
    else:
        roundoff = criterion.unit_roundoff(dtype)
        verdict = criterion.compare_noise(ours, theirs, floor, oracle[name], movement[name], roundoff)
    index, torch_value, jax_value = worst_element(ours, theirs)
    row = Row(
        tensor=name,
        kind=KINDS.get(name.partition("/")[2], "update"),
        module=name.rpartition("/")[2].rpartition(".")[0],
        shape=ours.shape,
        jax_shape=theirs.shape,
        error=verdict.error,
        bound=verdict.bound,
        worst_index=index,
        torch_value=torch_value,
        jax_value=jax_value,
    )
    return row if row.agrees else replace(row, statistics=(Statistics.of(ours), Statistics.of(theirs)))


def _group_norms(name: str, oracle: Curve) -> Iterator[float]:
    """Norms of all moments of the same kind and step: one that is zero in theory is noise."""
    yield 0.0
    if "/exp_avg" in name:
        group = name.rpartition("/")[0]
        yield from (criterion.norm(array) for other, array in oracle.items() if other.rpartition("/")[0] == group)


def _divergence(twin: str, row: Row | None) -> Divergence | None:
    if row is None:
        return None
    return Divergence(f"{twin}.optimizer" if row.kind == "update" else twin, row.phase, row.tensor)
