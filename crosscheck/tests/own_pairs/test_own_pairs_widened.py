"""Code that casts to float32 inside reaches the proof with `widen`, and a mistake in it is seen there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import normal
from transformers import LlamaConfig
from transformers.models.llama import modeling_llama
from transformers.models.t5.modeling_t5 import T5LayerNorm

import crosscheck
from shared.errors import IsogradError

X = normal(2, 5, 8)
POSITIONS = np.array([[0, 3, 50, 400, 4095]] * 2, np.int32)
CONFIG = LlamaConfig(hidden_size=16, num_attention_heads=2, head_dim=8, max_position_embeddings=4096)


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


class FlaxNorm(nnx.Module):
    """A norm without a mean, whose statistics are float32."""

    def __init__(self, eps=1e-6):
        self.scale, self.eps = nnx.Param(jnp.full(8, 1.5)), eps

    def __call__(self, x):
        variance = jnp.square(x.astype(jnp.float32)).mean(-1, keepdims=True)
        return self.scale[...] * (x * jax.lax.rsqrt(variance + self.eps)).astype(x.dtype)


def norms(**mistake):
    torch_side = T5LayerNorm(8).double()
    torch.nn.init.constant_(torch_side.weight, 1.5)
    return torch_side, FlaxNorm(**mistake), X


def rotations(shift=0):
    torch_side = modeling_llama.LlamaRotaryEmbedding(CONFIG)
    frequencies = torch_side.inv_freq.numpy()

    def angles(x, positions):
        positions = positions + shift
        found = jnp.tile(positions[..., None].astype(jnp.float32) * frequencies, 2)
        return jnp.cos(found).astype(x.dtype), jnp.sin(found).astype(x.dtype)

    return (lambda x, positions: torch_side(x, positions)), angles, {"x": X, "positions": POSITIONS}


def attention(scale=8**-0.5):
    """Hugging Face's eager attention, whose softmax is float32, and JAX's own, whose scores are."""

    def torch_side(q, k, v):
        heads = [tensor.transpose(1, 2) for tensor in (q, k, v)]
        layer = torch.nn.Module()
        layer.num_key_value_groups, layer.training = 1, False
        return modeling_llama.eager_attention_forward(layer, *heads, attention_mask=None, scaling=8**-0.5)[0]

    q, k, v = np.split(normal(6, 5, 3, 8), 3)
    inputs = {"q": q, "k": k, "v": v}
    return torch_side, lambda q, k, v: jax.nn.dot_product_attention(q, k, v, scale=scale), inputs


PAIRS = {
    "a norm": (norms, {"eps": 1e-5}),
    "rotations": (rotations, {"shift": 1e-6}),
    "attention": (attention, {"scale": 0.354}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_casts_to_float32_end_short_of_the_proof_and_the_report_offers_to_widen_them(name):
    make, _ = PAIRS[name]
    report = crosscheck.compare(*make())
    assert not report.agrees
    assert "with widen=True, which reads that as float64, the pair agrees in all tensors" in str(report)
    assert not report.first_row.agrees


@pytest.mark.parametrize("name", PAIRS)
def test_the_proof_reaches_code_that_casts_to_float32_and_finds_a_small_mistake_there(name):
    make, mistake = PAIRS[name]
    assert crosscheck.compare(*make(), widen=True).agrees
    assert not crosscheck.compare(*make(**mistake), widen=True).agrees


def test_a_mistake_that_widening_leaves_is_told_and_code_without_casts_is_not_offered_it():
    report, wide = (crosscheck.compare(*norms(eps=1e-6 + 1e-9), widen=widen) for widen in (False, True))
    assert report.offer.endswith(f"the pair still differs in {wide.first_row.label}")
    assert report.first_row == wide.first_row
    assert crosscheck.compare(torch.sin, lambda x: jnp.sin(x) * (1 + 1e-9), X).offer == ""
    assert crosscheck.compare(*norms(eps=1.0)).offer == ""  # no rounding is as large
    narrow = crosscheck.compare(torch.sin, lambda x: jnp.sin(x) * jnp.full(8, 1 + 1e-5, "float32"), X.astype("float32"))
    assert (narrow.agrees, narrow.offer) == (False, "")  # nothing is wider


def test_widening_leaves_programs_that_were_traced_before_or_are_traced_after_as_they_were():
    torch_side, jax_side, inputs = attention()
    for widen in (False, True, False):
        assert crosscheck.compare(torch_side, jax_side, inputs, widen=widen).agrees == widen


def test_only_float64_modules_can_be_widened():
    torch_side, jax_side, x = norms()
    with pytest.raises(IsogradError, match="widen reads float32 inside float64 modules as float64, but T5LayerNorm is"):
        crosscheck.compare(torch_side.float(), jax_side, x, widen=True)
