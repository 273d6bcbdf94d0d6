"""On a GPU: twins agree with TF32 off and in bfloat16, both draw the same bits, and runs are reproducible."""

import jax
import numpy as np
import pytest

from crosscheck.twins import suite
from jax_impl.random_bits import random_bits as jax_bits
from shared.backend import load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import AdamWConfig
from shared.rng import random_bits as numpy_bits
from torch_impl.random_bits import random_bits as torch_bits
from torch_impl.weights import to_numpy

pytestmark = pytest.mark.gpu
KEY = (0x9E3779B9, 12345)
SIZES = {"vocabulary_size": 37, "embedding_size": 24, "hidden_size": 40, "dropout": 0.3}


@pytest.mark.parametrize("dtype", suite.DTYPES)
@pytest.mark.parametrize("name", ["GRU", "MultiHeadedAttention", "LayerNorm", "ReviewClassifierTransformer"])
def test_twins_agree_on_a_gpu(name, dtype):
    for planned in suite.planned([name], [dtype], "cuda"):
        report = planned.run()
        assert report.agrees, str(report)


@pytest.mark.parametrize("shape", [(7,), (513, 129), (4, 257, 256)])
def test_both_frameworks_draw_the_bits_of_numpy_on_a_gpu(shape):
    expected = numpy_bits(KEY, int(np.prod(shape))).reshape(shape)
    assert np.array_equal(to_numpy(torch_bits(KEY, shape, "cuda")), expected)
    key = jax.device_put(np.array(KEY, np.uint32), jax.devices("cuda")[0])
    assert np.array_equal(np.asarray(jax_bits(key, shape)), expected)


def test_a_torch_run_on_a_gpu_repeats_to_the_bit():
    """JAX's run does not repeat: XLA sums an embedding's gradient with atomics (D55)."""
    model = ModelConfig("ReviewClassifierGRU", SIZES)
    options = {"model": model, "optimizer": AdamWConfig(learning_rate=1e-2), "device": "cuda"}
    finals = []
    for _ in range(2):
        backend = load_backend("torch", **options)
        state = backend.init_state()
        for step in range(5):
            state, _ = backend.train_step(state, batch(step), 1e-2)
        finals.append(backend.state_to_arrays(state))
    assert all(np.array_equal(finals[0][key], finals[1][key]) for key in finals[0])


def batch(step):
    """64 rows that use each of 37 tokens many times, so that atomics would show in the embedding's gradient."""
    generator = np.random.default_rng(step)
    lengths = generator.integers(1, 33, 64).astype(np.int32)
    mask = np.arange(32) < lengths[:, None]
    return {
        "ids": np.where(mask, generator.integers(1, 37, mask.shape), 0).astype(np.int32),
        "mask": mask,
        "lengths": lengths,
        "labels": generator.integers(0, 2, 64).astype(np.int32),
        "weights": np.ones(64, np.float32),
    }
