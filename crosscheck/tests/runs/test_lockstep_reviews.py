"""On real reviews, in float64 and without dropout, both backends draw one loss curve for 200 steps."""

import itertools

import numpy as np
import pytest

from crosscheck.runs.lockstep import BOUNDS
from shared.backend import load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import AdamWConfig
from shared.data import batches, check_batch, load_reviews, load_tokenizer, tokenise

STEPS, BATCH, LENGTH, VOCABULARY = 200, 8, 24, 30522
RATE = 1e-3
MODELS = {
    "ReviewClassifierGRU": {"embedding_size": 6, "hidden_size": 10},
    "ReviewClassifierTransformer": {"sequence_length": LENGTH, "embed_dim": 6, "hidden_dim": 10, "num_heads": 2},
}


@pytest.fixture(scope="module")
def reviews(real_data, tmp_path_factory):
    """The first 200 batches of an epoch of Yelp."""
    splits = load_reviews("yelp_polarity", str(real_data / "yelp_polarity_small"))
    tokenizer = load_tokenizer(None, splits)
    examples = tokenise(splits, tokenizer, LENGTH, tmp_path_factory.mktemp("cache"))["train"]
    order = batches(examples, BATCH, length=LENGTH, seed=0, epoch=0, shuffle=True)
    found = list(itertools.islice(order, STEPS))
    for batch in found:
        check_batch(batch, VOCABULARY, LENGTH, 2)
    return found


def losses(name, twin, reviews):
    model = ModelConfig(twin, {"vocabulary_size": VOCABULARY, "dropout": 0.0, **MODELS[twin]})
    backend = load_backend(name, model=model, optimizer=AdamWConfig(learning_rate=RATE), dtype="float64")
    state, found = backend.init_state(), []
    for batch in reviews:
        state, metrics = backend.train_step(state, batch, RATE)
        found.append(float(backend.fetch(metrics)["loss"]))
    return np.array(found)


@pytest.mark.real_data
@pytest.mark.usefixtures("settings_of_jax")
@pytest.mark.parametrize("twin", MODELS)
def test_the_loss_curves_of_both_backends_agree_on_real_reviews(twin, reviews):
    torch_losses, jax_losses = (losses(name, twin, reviews) for name in ("torch", "jax"))
    gap = np.abs(torch_losses - jax_losses)
    assert gap.max() <= BOUNDS["float64"], f"step {gap.argmax()}: {gap.max():.2e}"
    assert torch_losses[-50:].mean() < torch_losses[:50].mean()  # and they learn
