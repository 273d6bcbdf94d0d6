"""Attention whose Flax kernels have a heads axis, (in, heads, size), where torch's are plain matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import linen, nnx, traverse_util
from own_pairs import drawn, normal

import crosscheck

pytestmark = pytest.mark.usefixtures("float64_in_jax")

WIDTH, HEADS = 15, 3
F64 = {"param_dtype": jnp.float64}


class TorchHeads(torch.nn.Module):
    """Attention to a memory, with projections named as in Flax."""

    def __init__(self):
        super().__init__()
        for name in ("query", "key", "value", "out"):
            setattr(self, name, torch.nn.Linear(WIDTH, WIDTH))

    def forward(self, x, memory, mask):
        q, k, v = (p(t).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p, t in zip(
            (self.query, self.key, self.value), (x, memory, memory), strict=True))  # fmt: skip
        return self.out(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))


class TorchReader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.own, self.cross = torch.nn.LayerNorm(WIDTH), TorchHeads(), TorchHeads()

    def forward(self, x, memory, is_valid):
        x = x + self.own(self.norm(x), self.norm(x), torch.ones(x.shape[1], x.shape[1]).tril().bool())
        return x + self.cross(x, memory, is_valid[:, None, None])


def exact_attention(query, key, value, mask, scale=5**-0.5, **_):
    scores = jnp.where(mask, jnp.einsum("bqhd,bkhd->bhqk", query, key) * scale, -jnp.inf)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)


class LinenReader(linen.Module):
    scale: float = 5**-0.5
    reads_itself: bool = False

    @linen.compact
    def __call__(self, x, memory, is_valid):
        def attention(name, scale):
            how = {"attention_fn": functools.partial(exact_attention, scale=scale)}
            return linen.MultiHeadDotProductAttention(HEADS, name=name, **how, **F64)

        h = linen.LayerNorm(epsilon=1e-5, name="norm", **F64)(x)
        x = x + attention("own", 5**-0.5)(h, mask=jnp.tril(jnp.ones((x.shape[1],) * 2, bool)))
        memory, mask = (x, True) if self.reads_itself else (memory, is_valid[:, None, None])
        return x + attention("cross", self.scale)(x, memory, memory, mask=mask)


def reader_pair(**mistake):
    """Both with the same weights: torch's matrices are split into Flax's (in, heads, size) and (heads, size, out)."""
    ours, theirs = drawn(TorchReader()), LinenReader(**mistake)
    arrays = {name: p.detach().numpy() for name, p in ours.named_parameters()}
    shapes = traverse_util.flatten_dict(jax.eval_shape(LinenReader().init, jax.random.key(0), *READ.values())["params"])
    flat = {}
    for path, like in shapes.items():
        *place, kind = path
        array = arrays[".".join([*place, {"kernel": "weight", "scale": "weight"}.get(kind, kind)])]
        flat[path] = jnp.asarray((array.T if kind == "kernel" else array).reshape(like.shape))
    return ours, (theirs, {"params": traverse_util.unflatten_dict(flat)})


READ = {"x": normal(2, 7, WIDTH), "memory": normal(2, 4, WIDTH), "is_valid": np.arange(4) < np.array([[4], [3]])}


def test_kernels_with_an_axis_of_heads_are_torchs_matrices():
    report = crosscheck.compare(*reader_pair(), READ, updates=2)
    assert report.agrees, str(report)


@pytest.mark.parametrize(
    ("mistake", "module"),
    [({"scale": 1.0}, "TorchReader.cross"), ({"reads_itself": True}, "TorchReader")],
    ids=["no scale", "the wrong memory"],
)
def test_a_projection_whose_input_has_heads_apart_is_not_blamed_for_what_comes_before_it(mistake, module):
    report = crosscheck.compare(*reader_pair(**mistake), READ)
    assert report.first_divergence[:2] == (module, "forward"), str(report)


class TorchMix(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wq = torch.nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x):
        return torch.softmax(self.wq(x).unflatten(-1, (HEADS, -1)), -1)


class FlaxMix(nnx.Module):
    """A custom weight for an einsum, which none of Flax's rules transpose."""

    def __init__(self, weight):
        self.wq = nnx.Param(weight)

    def __call__(self, x):
        return jax.nn.softmax(jnp.einsum("btd,dhk->bthk", x, self.wq[...]))


def test_a_weight_with_an_axis_of_heads_that_is_no_kernel_is_torchs_matrix_too():
    ours = drawn(TorchMix())
    theirs = FlaxMix(jnp.asarray(ours.wq.weight.detach().numpy().T.reshape(WIDTH, HEADS, -1)))
    report = crosscheck.compare(ours, theirs, READ["x"], rules={"^wq$": "wq.weight"}, updates=2)
    assert report.agrees, str(report)
