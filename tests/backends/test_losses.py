"""What a row of LOSSES and a training step report, against plain numpy, in both backends."""

import importlib

import numpy as np
import pytest
from backend_cases import LENGTH, NO_DROPOUT, make_backend, make_batch, step

from shared.backend import PACKAGES

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
prove = pytest.importorskip("crosscheck.criterion").prove
pytestmark = pytest.mark.usefixtures("settings_of_jax")
package = pytest.mark.parametrize("package", PACKAGES)
CLASSES = 4
SHAPES = [(31,), (5, 7)]  # a label per row, a label per token


def drawn(shape):
    """Logits and labels of which every class is right and wrong at times, and weights of which some are 0."""
    generator = np.random.default_rng(0)
    logits, labels = generator.standard_normal((*shape, CLASSES)), generator.integers(0, CLASSES, shape)
    sure = generator.random(shape) < 0.5
    logits[sure, labels[sure]] += 9
    return logits, labels, generator.integers(0, 3, shape) / 2


def cross_entropy(logits, labels):
    shifted = logits - logits.max(-1, keepdims=True)
    shares = np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(shares, labels[..., None], -1)[..., 0])


def losses_of(package):
    return importlib.import_module(f"{package}_impl.losses")


def as_tensor(package, array):
    return torch.from_numpy(array) if package == "torch" else jax.numpy.asarray(array)


@package
@pytest.mark.parametrize("shape", SHAPES)
def test_a_classification_is_scored_as_numpy_scores_it(package, shape, float64_in_jax):
    logits, labels, _ = drawn(shape)
    batch = {"labels": as_tensor(package, labels)}
    losses, predictions, shown = losses_of(package).classify(as_tensor(package, logits), batch)
    assert prove(cross_entropy(logits, labels), np.asarray(losses), 0.0).agrees
    assert np.array_equal(np.asarray(predictions), logits.argmax(-1))
    assert shown.keys() == {"accuracy"}
    right = logits.argmax(-1) == labels
    for label in range(CLASSES):  # each label is predicted rightly and wrongly
        assert set(right[labels == label]) == {True, False}
    assert np.array_equal(np.asarray(shown["accuracy"]), right)


@package
@pytest.mark.parametrize(
    ("weights", "mean"), [([0.25, 0.25], 2.0), ([0.25, 0.0], 1.0), ([4.0, 12.0], 2.5), ([0.0, 0.0], 0.0)]
)
def test_a_mean_is_over_the_sum_of_its_weights_however_small(package, weights, mean):
    values, shares = (as_tensor(package, np.array(each)) for each in ([1.0, 3.0], weights))
    assert float(losses_of(package).weighted_mean(values, shares)) == mean


@package
def test_a_step_reports_the_weighted_means_of_its_losses_and_right_answers(package):
    backend, batch = make_backend(package, NO_DROPOUT, dtype="float64"), make_batch(rows=12)
    batch["weights"] = np.array([1, 0, 0.5] * 4, np.float64)
    batch["labels"][:] = np.arange(12) % 2
    scored = backend.fetch(backend.eval_step(backend.init_state(), batch))
    _, metrics = step(backend, backend.init_state(), batch)
    mean = np.average(scored["losses"], weights=batch["weights"])
    assert prove(mean, metrics["loss"], 0.0).agrees
    right = scored["predictions"] == batch["labels"]
    assert set(right[batch["weights"] > 0].tolist()) == {False, True}
    assert prove(np.average(right, weights=batch["weights"]), metrics["accuracy"], 0.0).agrees


@package
def test_the_losses_of_an_evaluation_are_those_of_the_models_logits(package):
    """The other way round as above: the loss that is minimised is the cross-entropy of SPEC.md, not smoothed."""
    backend, batch = make_backend(package, NO_DROPOUT, dtype="float64"), make_batch(rows=9, steps=LENGTH)
    scored = backend.fetch(backend.eval_step(backend.init_state(), batch))
    logits = backend.logits_of(backend.init_state(), batch)
    assert prove(cross_entropy(logits, batch["labels"]), scored["losses"], 0.0).agrees
    assert np.array_equal(scored["predictions"], logits.argmax(-1))


@package
@pytest.mark.parametrize(("dtype", "kept"), [("bfloat16", "float32"), ("float64", "float64")])
def test_logits_are_given_in_float32_at_least(package, dtype, kept):
    backend = make_backend(package, NO_DROPOUT, dtype=dtype)
    assert backend.logits_of(backend.init_state(), make_batch(rows=2)).dtype == np.dtype(kept)
