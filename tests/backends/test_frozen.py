"""Frozen parameters in both backends: no gradients, moments or decay, and the rest trains as it would without them."""

import functools
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from backend_cases import MODEL, OPTIMIZER, make_batch, step

from shared.arrays import Arrays
from shared.backend import NOTHING_ELSE, PACKAGES, Backend, load_backend
from shared.configs.optimizer import OPTIMIZERS, ParameterGroup, SGDConfig, TrainingConfig
from shared.errors import IsogradError, WeightsError
from shared.training_state import AVERAGE, GRADIENT_SUM, WEIGHTS

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
prove = pytest.importorskip("crosscheck.criterion").prove
lockstep = pytest.importorskip("crosscheck.runs.lockstep")

FROZEN = ParameterGroup(("*embedding.weight", "*norm.*"), trainable=False)
ALL_BUT_THE_CLASSIFIER = ParameterGroup(("transformer.*",), trainable=False)
BIASES = ParameterGroup(("*.bias",), weight_decay=0.0)
PLAIN = TrainingConfig(groups=(BIASES,))
FREEZING = TrainingConfig(groups=(FROZEN, BIASES))
EVERYTHING = replace(FREEZING, clip_norm=0.1, accumulate=2, average_decay=0.9)
STEPS = 5  # the last is the first batch of an update
EVERY_OPTIMIZER = [*(config() for config in OPTIMIZERS.values()), SGDConfig(momentum=0.9)]
package = pytest.mark.parametrize("package", ["torch", pytest.param("jax", marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def _settings_of_jax():
    """A float64 backend turns x64 on for the process too, and fixes the precision of products."""
    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before[0])
    jax.config.update("jax_default_matmul_precision", before[1])


@functools.cache
def make_backend(package: str, training: TrainingConfig = FREEZING, optimizer=OPTIMIZER) -> Backend:
    return load_backend(package, model=MODEL, optimizer=optimizer, training=training, seed=3, dtype="float64")


WITHOUT_EFFECT = "k_proj.bias"  # its gradient is rounding alone, and exactly 0 by some programs


def batch_of(number: int):
    """Another batch each step, its last rows only there to fill it up."""
    batch = make_batch()
    order = np.random.default_rng(number).permutation(len(batch["weights"]))
    return {**{name: array[order] for name, array in batch.items()}, "weights": (order > number % 3).astype(np.float32)}


def trained(backend: Backend, state=None, first: int = 0, last: int = STEPS):
    state = backend.init_state() if state is None else state
    for number in range(first, last):
        state, _ = step(backend, state, batch_of(number))
    return state


def names_of(package: str) -> tuple[set[str], set[str]]:
    """Frozen and trainable names, found without the code under test."""
    names = set(make_backend(package).shapes)
    frozen = {name for name in names if name.endswith("embedding.weight") or "norm." in name}
    return frozen, names - frozen


def in_group(arrays: Arrays, group: str) -> Arrays:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{group}/")}


def taken(arrays: Arrays, names: Iterable[str]) -> Arrays:
    return {name: arrays[name] for name in names}


def norm_of(gradients: Arrays) -> float:
    return float(np.sqrt(sum((array**2).sum() for array in gradients.values())))


def assert_proven(ours: Arrays, theirs: Arrays) -> None:
    """Gradients that are zero in theory are measured against the largest."""
    assert ours.keys() == theirs.keys()
    floor = max(float(np.linalg.norm(array)) for array in theirs.values())
    for name in ours:
        verdict = prove(np.asarray(ours[name]), np.asarray(theirs[name]), floor)
        assert verdict.agrees, f"{name}: {verdict}"


def assert_same_bits(ours: Arrays, theirs: Arrays) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []


@package
@pytest.mark.parametrize("training", [FREEZING, EVERYTHING], ids=["decay alone", "everything"])
def test_frozen_weights_keep_their_bits_and_all_others_move(package, training):
    backend, (frozen, _) = make_backend(package, training), names_of(package)
    before, after = (
        in_group(backend.state_to_arrays(state), WEIGHTS) for state in (backend.init_state(), trained(backend))
    )
    still = {name for name in before if before[name].tobytes() == after[name].tobytes()}
    assert OPTIMIZER.weight_decay > 0
    assert {name for name in still if not name.endswith(WITHOUT_EFFECT)} == frozen


@package
@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda config: "-".join((config.name, *config.state)))
def test_a_state_holds_only_the_weight_of_a_frozen_parameter(package, optimizer):
    backend, (frozen, trainable) = make_backend(package, EVERYTHING, optimizer), names_of(package)
    arrays = backend.state_to_arrays(backend.init_state())
    assert in_group(arrays, WEIGHTS).keys() == frozen | trainable
    for group in (*optimizer.state, AVERAGE, GRADIENT_SUM):
        assert in_group(arrays, group).keys() == trainable


@package
def test_steps_add_nothing_to_the_state_for_frozen_parameters(package):
    backend = make_backend(package, EVERYTHING)
    start, end = (backend.state_to_arrays(state) for state in (backend.init_state(), trained(backend)))
    assert start.keys() == end.keys()
    assert in_group(end, GRADIENT_SUM).keys() == names_of(package)[1]
    assert all(array.any() for array in in_group(end, GRADIENT_SUM).values())


@package
def test_trainable_gradients_equal_those_of_the_unfrozen_model(package):
    plain, freezing = make_backend(package, PLAIN), make_backend(package)
    whole, found = (backend.gradients_of(backend.init_state(), batch_of(0)) for backend in (plain, freezing))
    assert found.keys() == names_of(package)[1] < whole.keys()
    assert_proven(found, taken(whole, found))


def test_in_torch_the_first_step_gives_trainable_weights_the_same_bits_as_without_freezing():
    """JAX is held to float64 proof instead: XLA fuses a different program differently, which moves last bits."""
    plain, freezing = make_backend("torch", PLAIN), make_backend("torch")
    whole, found = (backend.state_to_arrays(trained(backend, last=1)) for backend in (plain, freezing))
    for group in (WEIGHTS, *OPTIMIZER.state):
        assert_same_bits(*(taken(in_group(arrays, group), names_of("torch")[1]) for arrays in (whole, found)))


@package
def test_clipping_and_the_logged_norm_count_trainable_gradients_only(package):
    plain, rate, factor = make_backend(package, PLAIN), 0.5, 0.3
    whole = plain.gradients_of(plain.init_state(), batch_of(0))
    gradients = taken(whole, names_of(package)[1])
    norm = norm_of(gradients)
    assert norm < norm_of(whole)
    freezing = make_backend(package, replace(FREEZING, clip_norm=factor * norm), SGDConfig(weight_decay=0.0))
    before = in_group(freezing.state_to_arrays(freezing.init_state()), WEIGHTS)
    state, logged = step(freezing, freezing.init_state(), batch_of(0), rate)
    after = in_group(freezing.state_to_arrays(state), WEIGHTS)
    assert_proven({"": logged["gradient_norm"]}, {"": np.float64(norm)})
    moved = {name: before[name] - rate * factor * gradient for name, gradient in gradients.items()}
    assert_proven(taken(after, moved), moved)


@package
def test_the_logged_norm_within_an_update_counts_trainable_gradients_only(package):
    backend, plain = make_backend(package, EVERYTHING), make_backend(package, PLAIN)
    whole = plain.gradients_of(plain.init_state(), batch_of(0))
    _, logged = step(backend, backend.init_state(), batch_of(0))
    norm = norm_of(taken(whole, names_of(package)[1]))
    assert_proven({"": logged["gradient_norm"]}, {"": np.float64(norm)})


def test_torch_and_jax_are_one_run():
    sides = [make_backend(package, EVERYTHING) for package in ("torch", "jax")]
    steps = list(lockstep.lockstep(*sides, [(batch_of(number), 0.01) for number in range(4 * STEPS)]))
    assert steps[-1][0].errors.keys() == {"gradients", *OPTIMIZER.state, GRADIENT_SUM, WEIGHTS, AVERAGE}
    for compared, _ in steps:
        assert compared.beyond is None, compared


@package
@pytest.mark.parametrize("handed_over_at", range(1, STEPS))
def test_a_state_that_went_through_the_other_framework_goes_on_by_the_same_bits(package, handed_over_at):
    (other,) = PACKAGES.keys() - {package}
    ours, theirs = (make_backend(name, EVERYTHING) for name in (package, other))
    half = ours.state_to_arrays(trained(ours, last=handed_over_at))
    away = theirs.state_to_arrays(theirs.state_from_arrays(half))
    assert_same_bits(away, half)
    resumed = trained(ours, ours.state_from_arrays(away), first=handed_over_at)
    assert_same_bits(ours.state_to_arrays(resumed), ours.state_to_arrays(trained(ours)))


@pytest.mark.parametrize("first", PACKAGES)
def test_a_run_that_trains_elsewhere_and_comes_back_is_the_run_that_stayed(first):
    (other,) = PACKAGES.keys() - {first}
    ours, theirs = make_backend(first, EVERYTHING), make_backend(other, EVERYTHING)
    away = trained(theirs, theirs.state_from_arrays(ours.state_to_arrays(trained(ours, last=1))), 1, 3)
    back = ours.state_to_arrays(trained(ours, ours.state_from_arrays(theirs.state_to_arrays(away)), 3))
    stayed = ours.state_to_arrays(trained(ours))
    assert_same_bits(*(taken(in_group(arrays, WEIGHTS), names_of(first)[0]) for arrays in (back, stayed)))
    for group, arrays in lockstep.by_group(stayed).items():
        error, tensor = lockstep.group_error(arrays, lockstep.by_group(back)[group])
        assert error <= lockstep.BOUNDS["float64"], (group, tensor)


@package
def test_evaluation_uses_the_average_of_trainable_and_the_weight_of_frozen_parameters(package):
    backend, plain = make_backend(package, EVERYTHING), make_backend(package, NOTHING_ELSE)
    state = trained(backend)
    arrays, start = backend.state_to_arrays(state), plain.state_to_arrays(plain.init_state())
    mixed = {**in_group(arrays, WEIGHTS), **in_group(arrays, AVERAGE)}
    expected = plain.state_from_arrays({**start, **{f"{WEIGHTS}/{name}": array for name, array in mixed.items()}})
    losses = [b.fetch(b.eval_step(s, batch_of(0)))["losses"] for b, s in ((backend, state), (plain, expected))]
    assert_same_bits({"": losses[0]}, {"": losses[1]})


@package
def test_a_state_of_a_run_with_other_frozen_parameters_is_refused_with_the_names(package):
    freezing, plain = make_backend(package), make_backend(package, PLAIN)
    arrays = {backend: backend.state_to_arrays(backend.init_state()) for backend in (freezing, plain)}
    with pytest.raises(WeightsError, match=r"missing .*exp_avg/transformer\.embedding\.weight.* unused none"):
        plain.state_from_arrays(arrays[freezing])
    with pytest.raises(WeightsError, match=r"missing none; unused .*exp_avg/transformer\.embedding\.weight"):
        freezing.state_from_arrays(arrays[plain])


@package
def test_freezing_every_parameter_is_refused(package):
    with pytest.raises(IsogradError, match="every parameter is frozen: expected at least one trainable parameter"):
        make_backend(package, TrainingConfig(groups=(ParameterGroup(("*",), trainable=False),)))


def test_in_torch_frozen_weights_do_not_require_gradients(monkeypatch):
    backend, given, (frozen, _) = make_backend("torch"), {}, names_of("torch")
    loss = backend.objective.loss

    def watched(weights, batch, key):
        given.update(weights)
        return loss(weights, batch, key)

    monkeypatch.setattr(backend.objective, "loss", watched)
    state = trained(backend, last=1)
    assert {name for name, weight in given.items() if not weight.requires_grad} == frozen
    tensors = [tensor for group in (given, *(state[group] for group in backend.groups)) for tensor in group.values()]
    assert all(tensor.grad is None for tensor in tensors)
    assert not any(tensor.requires_grad for group in backend.groups for tensor in state[group].values())


def test_in_jax_the_gradient_tree_has_only_trainable_leaves_and_no_other_gradient_is_computed():
    backend = make_backend("jax", TrainingConfig(groups=(ALL_BUT_THE_CLASSIFIER,)))
    arguments = backend.init_state()["weights"], backend.to_device(batch_of(0)), backend.key({"step": 0})
    gradients, _ = jax.eval_shape(backend.objective.gradients, *arguments)
    assert gradients.keys() == {"classifier.weight", "classifier.bias"}
    forward, backward = (
        str(jax.make_jaxpr(method)(*arguments)).count("dot_general")
        for method in (backend.objective.loss, backend.objective.gradients)
    )
    assert backward == forward + 1  # that of the classifier's weight
