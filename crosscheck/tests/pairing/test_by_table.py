"""Tables that pack, stack and reshape arrays, for compare and copy_weights: the tables that `isograd port` reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import crosscheck
from crosscheck.pairing.stacks import below
from shared.errors import WeightsError

WIDTH, HEADS, LAYERS = 6, 2, 3
STACKED = "\n".join(
    f'[[row]]\nsource = "blocks/qkv/{kind}"\ntarget = "layers.{{}}.{part}.{ours}"\nstacked = true\n'
    f"source_part = [{number}, 3]\n" + ("transposed = true\n" if kind == "kernel" else "")
    for number, part in enumerate("qkv")
    for kind, ours in (("kernel", "weight"), ("bias", "bias"))
)
NORMS = """
[[row]]
source = "blocks/norm/scale"
target = "layers.{}.norm.weight"
stacked = true

[[row]]
source = "blocks/norm/bias"
target = "layers.{}.norm.bias"
stacked = true
"""
PACKED = "\n".join(
    f'[[row]]\nsource = "{name}/{kind}"\ntarget = "in_proj_{ours}"\naxes = "{axes}"\nsizes = {{ heads = {HEADS} }}\n'
    f"target_part = [{number}, 3]\n"
    for number, name in enumerate(("query", "key", "value"))
    for kind, ours, axes in (
        ("kernel", "weight", "in heads size -> (heads size) in"),
        ("bias", "bias", "heads size -> (heads size)"),
    )
)
OUT = f"""
[[row]]
source = "out/kernel"
target = "out_proj.weight"
axes = "heads size out -> out (heads size)"
sizes = {{ heads = {HEADS} }}

[[row]]
source = "out/bias"
target = "out_proj.bias"
"""


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm = torch.nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x):
        return self.norm(x + torch.tanh(self.q(x) * self.k(x)) - self.v(x))


class TorchStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([TorchBlock() for _ in range(LAYERS)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class FlaxBlock(nnx.Module):
    def __init__(self, rngs):
        self.qkv = nnx.Linear(WIDTH, 3 * WIDTH, param_dtype=jnp.float64, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, use_fast_variance=False, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, x):
        q, k, v = jnp.split(self.qkv(x), 3, axis=-1)
        return self.norm(x + jnp.tanh(q * k) - v)


class FlaxStack(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.vmap(FlaxBlock, in_axes=0)(rngs.split(LAYERS))

    def __call__(self, x):
        return nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)


class TorchAttention(torch.nn.MultiheadAttention):
    def __init__(self):
        super().__init__(WIDTH, HEADS, batch_first=True)

    def forward(self, x):
        return super().forward(x, x, x, need_weights=False)[0]


class FlaxAttention(nnx.MultiHeadAttention):
    def __init__(self, rngs):
        super().__init__(HEADS, WIDTH, decode=False, param_dtype=jnp.float64, rngs=rngs)


PAIRS = {
    "stacked layers of packed projections": (TorchStack, FlaxStack, STACKED + NORMS),
    "heads packed in one array": (TorchAttention, FlaxAttention, PACKED + OUT),
}


@pytest.fixture(params=PAIRS, ids=lambda name: name.replace(" ", "-"))
def pair(request, tmp_path):
    """Both modules with different weights, and the table."""
    ours, theirs, text = PAIRS[request.param]
    torch.manual_seed(0)
    module = ours().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    (tmp_path / "table.toml").write_text(text)
    with jax.enable_x64(True):
        return module, theirs(nnx.Rngs(0)), tmp_path / "table.toml"


def inputs():
    return np.random.default_rng(0).standard_normal((2, 4, WIDTH))


def test_weights_are_copied_and_everything_is_compared_under_the_names_of_torch(pair):
    ours, theirs, table = pair
    with jax.enable_x64(True):
        crosscheck.copy_weights(ours, theirs, rules=table)
        report = crosscheck.compare(ours, theirs, inputs(), rules=table, updates=1, widen=True)
    assert report.agrees, str(report)
    names = {name for name, _ in ours.named_parameters()}
    assert {row.tensor for row in report.rows if row.kind == "parameter"} == names
    assert {row.tensor for row in report.rows if row.kind == "parameter gradient"} == names
    assert {row.tensor.split("/", 2)[2] for row in report.rows if row.kind == "update"} >= names


def test_a_weight_that_differs_is_named(pair):
    ours, theirs, table = pair
    with jax.enable_x64(True):
        crosscheck.copy_weights(ours, theirs, rules=str(table))
        name, parameter = list(ours.named_parameters())[-3]
        parameter.data.view(-1)[-1] += 1
        report = crosscheck.compare(ours, theirs, inputs(), rules=str(table))
    assert [row.tensor for row in report.rows if row.kind == "parameter" and not row.agrees] == [name]


def test_the_first_divergence_in_a_stack_is_named_by_its_layer(tmp_path):
    (tmp_path / "table.toml").write_text(STACKED + NORMS)
    ours = TorchStack().double()
    with jax.enable_x64(True):
        theirs = FlaxStack(nnx.Rngs(0))
        crosscheck.copy_weights(ours, theirs, rules=tmp_path / "table.toml")
        ours.layers[1].norm.eps = 1e-3
        report = crosscheck.compare(ours, theirs, inputs(), rules=tmp_path / "table.toml")
    assert report.first_divergence.module == "TorchStack.layers.1.norm"


def test_tables_are_read_from_either_side_and_leave_parameters_out(tmp_path):
    (tmp_path / "table.toml").write_text(
        'left_out = ["more.weight"]\n\n[[row]]\nsource = "maps.{}.weight"\ntarget = "maps/{}/kernel"\n'
        'axes = "out in -> in out"\n'
    )
    ours = torch.nn.Module()
    ours.maps = torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False) for _ in range(2)])
    ours.more = torch.nn.Linear(2, 2, bias=False)
    theirs = nnx.Module()
    theirs.maps = nnx.List([nnx.Linear(2, 2, use_bias=False, rngs=nnx.Rngs(number)) for number in range(2)])
    crosscheck.copy_weights(ours, theirs, rules=tmp_path / "table.toml")
    for mine, other in zip(ours.maps, theirs.maps, strict=True):
        assert np.array_equal(mine.weight.detach(), other.kernel[...].T)


class TorchTied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(3, 2)
        self.head = torch.nn.Linear(2, 3, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.table(ids))


class FlaxTied(nnx.Module):
    def __init__(self, rngs):
        self.words = nnx.Embed(3, 2, rngs=rngs)

    def __call__(self, ids):
        return self.words.attend(self.words(ids))


def test_tied_arrays_are_one(tmp_path):
    (tmp_path / "table.toml").write_text(
        'tied = [["table.weight", "head.weight"]]\n\n[[row]]\nsource = "words/embedding"\ntarget = "table.weight"\n'
        'axes = "ids size -> ids size"\n'
    )
    ours, theirs = TorchTied(), FlaxTied(nnx.Rngs(0))
    crosscheck.copy_weights(ours, theirs, rules=tmp_path / "table.toml")
    report = crosscheck.compare(ours, theirs, np.array([[0, 2]]), rules=tmp_path / "table.toml")
    assert report.agrees, str(report)


def test_a_table_whose_arrays_have_other_shapes_is_refused(tmp_path):
    (tmp_path / "table.toml").write_text((PACKED + OUT).replace(f"heads = {HEADS}", "heads = 3"))
    with (
        pytest.raises(WeightsError, match=r"wrong shape query/kernel \(expected \(6, 2, 3\), got \(6, 3, 2\)\)"),
        jax.enable_x64(True),
    ):
        crosscheck.copy_weights(TorchAttention(), FlaxAttention(nnx.Rngs(0)), rules=tmp_path / "table.toml")


def test_everything_is_below_the_root():
    weights = {"weight": np.ones(1), "norm.weight": np.zeros(1)}
    assert list(below("", weights, lambda inside: {f"layers.{name}": each for name, each in inside.items()})) == [
        f"layers.{name}" for name in weights
    ]
