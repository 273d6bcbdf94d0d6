"""A small model, its batches and single steps, for the tests of one backend at a time."""

import dataclasses

import numpy as np

from shared.backend import NOTHING_ELSE, Backend, Batch, load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import AdamWConfig, TrainingConfig

VOCABULARY, LENGTH, BATCH = 23, 5, 6
RATE = 0.01
MODEL = ModelConfig(
    "ReviewClassifierTransformer",
    {
        "vocabulary_size": VOCABULARY,
        "sequence_length": LENGTH,
        "embed_dim": 6,
        "hidden_dim": 7,
        "num_heads": 2,
        "num_layers": 1,
        "dropout": 0.3,
    },
)
NO_DROPOUT = dataclasses.replace(MODEL, arguments={**MODEL.arguments, "dropout": 0.0})
OPTIMIZER = AdamWConfig(beta_1=0.85, beta_2=0.97, eps=1e-5, weight_decay=0.2)


def make_backend(
    name: str,
    model: ModelConfig = MODEL,
    dtype: str = "float32",
    device: str = "cpu",
    training: TrainingConfig = NOTHING_ELSE,
) -> Backend:
    return load_backend(name, model=model, optimizer=OPTIMIZER, training=training, seed=3, dtype=dtype, device=device)


def make_batch(rows: int = BATCH, steps: int = LENGTH) -> Batch:
    generator = np.random.default_rng(0)
    mask = np.arange(steps) < generator.integers(1, steps + 1, rows)[:, None]
    ids = np.where(mask, generator.integers(1, VOCABULARY, mask.shape), 0).astype(np.int32)
    labels = generator.integers(0, 2, rows).astype(np.int32)
    return {"ids": ids, "mask": mask, "labels": labels, "weights": np.ones(rows, np.float32)}


def step(backend: Backend, state, batch: Batch, rate: float = RATE):
    state, metrics = backend.train_step(state, batch, rate)
    return state, backend.fetch(metrics)
