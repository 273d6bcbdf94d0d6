"""On a GPU: twins agree with TF32 off and in bfloat16, both draw the same bits, and runs are reproducible."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

import torch_impl
from crosscheck.recording.precision import full_precision
from crosscheck.twins import suite
from jax_impl.layers.persistent_gru import persistent_gru as jax_gru
from jax_impl.layers.persistent_gru import serves as jax_serves
from jax_impl.random_bits import random_bits as jax_bits
from shared.backend import load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.gpt import GPTConfig
from shared.configs.optimizer import AdamWConfig
from shared.rng import random_bits as numpy_bits
from torch_impl.layers.persistent_gru import persistent_gru as torch_gru
from torch_impl.layers.persistent_gru import serves as torch_serves
from torch_impl.random_bits import random_bits as torch_bits
from torch_impl.weights import to_numpy, to_tensor

pytestmark = pytest.mark.gpu
KEY = (0x9E3779B9, 12345)
SIZES = {"vocabulary_size": 37, "embedding_size": 24, "hidden_size": 40, "dropout": 0.3}


@pytest.mark.parametrize("dtype", suite.DTYPES)
@pytest.mark.parametrize(
    "name", ["GRU", "BidirectionalGRU", "MultiHeadedAttention", "LayerNorm", "ReviewClassifierTransformer"]
)
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


def test_torch_writes_the_tokens_of_the_cpu_on_a_gpu_by_a_graph_and_past_the_context():
    torch.manual_seed(0)
    gpt = torch_impl.GPT(GPTConfig(vocabulary_size=97, sequence_length=32, embed_dim=24, num_heads=3, num_layers=2))
    gpt = gpt.double()
    prompts = np.random.default_rng(0).integers(0, 97, (3, 7))
    settings = {"lengths": [7, 3, 5], "steps": 40, "temperature": 1.0, "seed": 3}
    expected = torch_impl.generate(gpt, prompts, **settings)
    for _ in range(2):
        assert torch.equal(torch_impl.generate(gpt.to("cuda"), prompts, **settings).cpu(), expected)


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


def layer(batch_size, steps, directions, hidden_size, dtype):
    """Arguments of `persistent_gru`, lengths apart, and gradients of what it returns."""
    generator = np.random.default_rng(batch_size)
    scale = {3: hidden_size**-0.5}
    shapes = (
        (batch_size, steps, directions, 3 * hidden_size),
        (directions, batch_size, hidden_size),
        (directions, 3 * hidden_size, hidden_size),
        (directions, 4 * hidden_size),
        (batch_size, steps, directions, hidden_size),
        (directions, batch_size, hidden_size),
    )
    drawn = [generator.normal(size=shape) * scale.get(len(shape), 1.0) for shape in shapes]
    dtypes = [np.float32 if number == 3 else dtype for number in range(len(shapes))]  # biases are in float32
    arrays = [array.astype(each) for array, each in zip(drawn, dtypes, strict=True)]
    return arrays, generator.integers(0, steps + 1, batch_size).astype(np.int32)


def in_torch(arrays, lengths, offset=0):
    """`offset` numbers lie before each array in its memory."""
    *arguments, d_outputs, d_final = [displaced(to_tensor(array, "cuda"), offset) for array in arrays]
    arguments = [each.requires_grad_() for each in arguments]
    results = torch_gru(*arguments, to_tensor(lengths, "cuda"))
    gradients = torch.autograd.grad(results, arguments, (d_outputs, d_final))
    return [to_numpy(each.detach()) for each in (*results, *gradients)]


def displaced(tensor, offset):
    return tensor.new_empty(offset + tensor.numel())[offset:].view_as(tensor).copy_(tensor)


def in_jax(arrays, lengths):
    def run(*arguments):
        results, backward = jax.vjp(lambda *others: jax_gru(*others, lengths), *arguments[:4])
        return [*results, *backward(arguments[4:])]

    return [np.asarray(each) for each in jax.jit(run)(*arrays)]


@pytest.mark.parametrize("sizes", [(5, 4, 1, 32), (33, 3, 2, 256), (512, 3, 2, 512)], ids=str)
def test_arrays_of_torch_may_start_anywhere_in_memory(sizes):
    arrays, lengths = layer(*sizes, ml_dtypes.bfloat16)
    assert all(map(np.array_equal, in_torch(arrays, lengths, offset=1), in_torch(arrays, lengths)))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32], ids=["bfloat16", "float16", "float32"])
def test_a_gpu_serves_layers_of_at_least_one_example(dtype):
    for examples in range(3):
        inputs = np.zeros((examples, 2, 3), dtype)
        served = torch_serves(to_tensor(inputs, "cuda"), 32), jax_serves(jnp.asarray(inputs), 32)
        assert served == (examples > 0,) * 2


SIZES_OF_LAYERS = [
    *[(5, 4, 1, 32), (33, 17, 2, 77), (512, 12, 2, 256), (130, 20, 1, 512), (512, 12, 2, 512), (1, 5, 1, 1)],
    *[(40, 9, 1, 600), (70, 6, 2, 1500), (3, 400, 1, 700)],  # weights that do not fit on the chip
]


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32], ids=["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("sizes", SIZES_OF_LAYERS, ids=str)
def test_a_layer_has_the_same_bits_in_both_frameworks_and_in_every_run(sizes, dtype):
    arrays, lengths = layer(*sizes, dtype)
    with full_precision(float64=False):
        first, again, theirs = in_torch(arrays, lengths), in_torch(arrays, lengths), in_jax(arrays, lengths)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = 4  # outputs, states and their gradients; those of weights and biases are sums of cuBLAS and XLA
    assert all(np.array_equal(a, b) for a, b in zip(first[:kernels], theirs[:kernels], strict=True))
