"""torch.nn.MultiheadAttention against both of Flax's, which pack weights differently and have inverted masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx, traverse_util
from own_pairs import drawn, normal

import crosscheck
import torch_impl
from crosscheck.locate import locate

pytestmark = pytest.mark.usefixtures("float64_in_jax")

F64 = {"param_dtype": jnp.float64}


class TorchAttention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.out = torch.nn.LayerNorm(15), torch.nn.Linear(15, 4)
        self.attn = torch.nn.MultiheadAttention(15, 3, batch_first=True)

    def forward(self, x, mask):
        h = self.norm(x)
        return self.out(self.attn(h, h, h, key_padding_mask=~mask, need_weights=False)[0])


def exact_attention(query, key, value, mask=None, **_):
    """Flax's module calls jax.nn.dot_product_attention, whose logits are float32 whatever the dtype."""
    weights = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(query.shape[-1])
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(jnp.where(mask, weights, -jnp.inf)), value)


class NNXAttention(nnx.Module):
    def __init__(self, attention=exact_attention, keep=True, scale=1.0):
        how = {"attention_fn": attention, "decode": False, "rngs": nnx.Rngs(0)}
        self.norm = nnx.LayerNorm(15, epsilon=1e-5, rngs=nnx.Rngs(0), **F64)
        self.attn = nnx.MultiHeadAttention(3, 15, **how, **F64)
        self.out = nnx.Linear(15, 4, rngs=nnx.Rngs(0), **F64)
        self.keep, self.scale = keep, scale

    def __call__(self, x, mask):
        return self.out(self.attn(self.norm(x) * self.scale, mask=mask[:, None, None, :] == self.keep))


class LinenAttention(linen.Module):
    keep: bool = True
    scale: float = 1.0

    @linen.compact
    def __call__(self, x, mask):
        h = linen.LayerNorm(epsilon=1e-5, name="norm", **F64)(x) * self.scale
        attn = linen.MultiHeadDotProductAttention(3, name="attn", **F64)
        return linen.Dense(4, name="out", **F64)(attn(h, mask=mask[:, None, None, :] == self.keep))


SEQUENCES = {"x": normal(2, 7, 15), "mask": np.arange(7) < np.array([[7], [3]])}
ATTENTION = {
    "nnx": (NNXAttention, "flax.nnx.MultiHeadAttention"),
    "linen": (LinenAttention, "flax.linen.MultiHeadDotProductAttention"),
}


def attention_pair(style, **options):
    kind, layout = ATTENTION[style]
    ours, theirs = drawn(TorchAttention()), kind(**options)
    flat = attention_arrays(torch_impl.to_arrays(ours))
    if style == "linen":
        theirs = theirs, {"params": traverse_util.unflatten_dict(flat)}
    else:
        nnx.update(theirs, nnx.from_flat_state({path: nnx.Param(array) for path, array in flat.items()}))
    return (ours, theirs), {"layouts": {"attn": ("torch.nn.MultiheadAttention", layout)}}


def attention_arrays(arrays):
    """torch's stacked projections as Flax's, one per role: (in, heads, size)."""
    flat = {("norm", "scale"): arrays["norm.weight"], ("norm", "bias"): arrays["norm.bias"]}
    flat |= {("out", "kernel"): arrays["out.weight"].T, ("out", "bias"): arrays["out.bias"]}
    stacked = zip(*(np.split(arrays[f"attn.in_proj_{kind}"], 3) for kind in ("weight", "bias")), strict=True)
    for name, (weight, bias) in zip(("query", "key", "value"), stacked, strict=True):
        flat["attn", name, "kernel"] = weight.T.reshape(15, 3, 5)
        flat["attn", name, "bias"] = bias.reshape(3, 5)
    flat["attn", "out", "kernel"] = arrays["attn.out_proj.weight"].T.reshape(3, 5, 15)
    flat["attn", "out", "bias"] = arrays["attn.out_proj.bias"]
    return {path: jnp.asarray(array) for path, array in flat.items()}


@pytest.mark.parametrize("style", ATTENTION)
def test_attention_agrees_though_its_weights_are_packed_otherwise(style):
    pair, how = attention_pair(style)
    report = crosscheck.compare(*pair, SEQUENCES, updates=2, **how)
    assert report.agrees, str(report)
    assert not report.inner_differences


@pytest.mark.parametrize(
    ("mistake", "module"), [({"keep": False}, "TorchAttention.attn"), ({"scale": 1.01}, "TorchAttention")]
)
@pytest.mark.parametrize("style", ATTENTION)
def test_a_mistake_at_an_attention_is_found(style, mistake, module):
    pair, how = attention_pair(style, **mistake)
    report = crosscheck.compare(*pair, SEQUENCES, **how)
    assert report.first_divergence[:2] == (module, "forward"), str(report)


def test_the_fused_attention_of_flax_is_no_float64_attention():
    pair, how = attention_pair("nnx", attention=nnx.dot_product_attention)
    report = crosscheck.compare(*pair, SEQUENCES, **how)
    assert report.first_divergence[:2] == ("TorchAttention.attn", "forward")


@pytest.mark.parametrize("style", ATTENTION)
def test_modules_are_told_apart_by_themselves_where_each_side_calls_them_in_its_own_way(style):
    pair, how = attention_pair(style, keep=False)
    ours, mask = {"x": SEQUENCES["x"]}, SEQUENCES["mask"]
    found = locate(*pair, ours, torch_arguments={"mask": mask}, jax_arguments={"mask": jnp.asarray(mask)}, **how)
    assert found.first_divergence[:2] == ("TorchAttention.attn", "forward")
    alone = {line.path: line.by_itself for line in found.modules}
    assert not alone["attn"].agrees
    assert alone["norm"].agrees
