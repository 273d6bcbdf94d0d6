"""A table in TOML, as `isograd port --rules` reads it, pairs the parameters of two modules for compare."""

import flax.linen
import jax
import pytest
import torch
from flax import nnx

import crosscheck
from crosscheck.pairing.rule_files import as_rules
from shared.errors import IsogradError, WeightsError

ROWS = [
    ("table/embedding", "words.weight", False),
    ("blocks_{}/up/kernel", "layers.{}.inner.weight", True),
    ("blocks_{}/up/bias", "layers.{}.inner.bias", False),
    ("blocks_{}/norm/scale", "layers.{}.norm.weight", False),
    ("blocks_{}/norm/bias", "layers.{}.norm.bias", False),
]


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = torch.nn.Linear(5, 5), torch.nn.LayerNorm(5, eps=1e-6)

    def forward(self, x):
        return self.norm(x + torch.tanh(self.inner(x)))


class TorchModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(7, 5)
        self.layers = torch.nn.ModuleList([TorchBlock(), TorchBlock()])

    def forward(self, ids):
        x = self.words(ids)
        for layer in self.layers:
            x = layer(x)
        return x


class LinenBlock(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        y = flax.linen.tanh(flax.linen.Dense(5, name="up")(x))
        return flax.linen.LayerNorm(epsilon=1e-6, use_fast_variance=False, name="norm")(x + y)


class LinenModel(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, ids):
        x = flax.linen.Embed(7, 5, name="table")(ids)
        for number in range(2):
            x = LinenBlock(name=f"blocks_{number}")(x)
        return x


def write(path, rows, turned=False):
    def line(source, target, transposed):
        source, target = (target, source) if turned else (source, target)
        return f'[[row]]\nsource = "{source}"\ntarget = "{target}"\ntransposed = {str(transposed).lower()}\n'

    path.write_text("\n".join(line(*row) for row in rows))
    return path


@pytest.fixture
def pair():
    torch.manual_seed(0)
    ours, theirs = TorchModel().double(), LinenModel()
    ids = jax.numpy.array([[1, 2, 6]])
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda array: array.astype("float64"), theirs.init(jax.random.key(0), ids))
        params = variables["params"]
        params["table"]["embedding"] = jax.numpy.asarray(ours.words.weight.detach().numpy())
        for number, layer in enumerate(ours.layers):
            block = params[f"blocks_{number}"]
            block["up"]["kernel"] = jax.numpy.asarray(layer.inner.weight.detach().numpy().T)
            block["up"]["bias"] = jax.numpy.asarray(layer.inner.bias.detach().numpy())
    return ours, (theirs, variables), {"ids": torch.tensor([[1, 2, 6]]).numpy()}


@pytest.mark.parametrize("turned", [False, True], ids=["from JAX to torch", "from torch to JAX"])
def test_a_table_pairs_the_parameters_in_either_order(pair, turned, tmp_path):
    ours, theirs, inputs = pair
    report = crosscheck.compare(ours, theirs, inputs, rules=write(tmp_path / "rules.toml", ROWS, turned))
    assert report.agrees, str(report)
    named = {row.tensor for row in report.rows if row.kind == "parameter gradient"}
    assert named == {name for name, _ in ours.named_parameters()}


def test_the_first_divergence_is_named_through_a_table(pair, tmp_path):
    ours, theirs, inputs = pair
    with torch.no_grad():
        ours.layers[1].inner.weight[0, 0] += 1
    report = crosscheck.compare(ours, theirs, inputs, rules=str(write(tmp_path / "rules.toml", ROWS)))
    assert not report.agrees
    assert report.first_divergence.module == "TorchModel.layers.1.inner"


def test_names_that_are_exchanged_are_renamed_once(tmp_path):
    rows = [("a/kernel", "b.weight", True), ("b/kernel", "a.weight", True), ("gain", "norm.gamma", False)]
    rules = as_rules(write(tmp_path / "rules.toml", rows))
    from crosscheck.pairing.renaming import new_name

    names = {name: new_name(name, rules) for name in ("a.weight", "b.weight", "gain", "c.weight")}
    assert names == {"a.weight": "b.weight", "b.weight": "a.weight", "gain": "norm.gamma", "c.weight": "c.weight"}


def test_a_table_that_is_not_there_or_does_not_fit_is_refused(tmp_path):
    module, other = torch.nn.Linear(2, 2), nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(IsogradError, match="no table of rules at nowhere.toml"):
        crosscheck.compare(module, other, rules="nowhere.toml")
    (tmp_path / "packed.toml").write_text(
        '[[row]]\nsource = "kernel"\ntarget = "q"\ntransposed = true\nsource_part = [0, 3]\n'
    )
    with pytest.raises(WeightsError, match="must use every part of kernel once"):
        crosscheck.compare(module, other, torch.ones(1, 2).numpy(), rules=tmp_path / "packed.toml")
