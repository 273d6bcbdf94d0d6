"""Batch normalisation's running averages are compared in train mode, and so are changes that hooks make to a module."""

import jax
import jax.numpy as jnp
import pytest
import torch
from flax import linen, nnx
from own_pairs import Case, drawn, normal

import crosscheck
from crosscheck.causes.hints import hint
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights
from shared.errors import IsogradError, WeightsError

X = normal(4, 5, 3)


class TorchAveraging(torch.nn.Module):
    """One layer with running statistics called twice, another with a different momentum."""

    def __init__(self):
        super().__init__()
        self.bn, self.other = torch.nn.BatchNorm1d(5), torch.nn.BatchNorm1d(5, momentum=0.03)

    def forward(self, x):
        return self.other(torch.tanh(self.bn(torch.tanh(self.bn(x)))))


class FlaxAveraging(nnx.Module):
    def __init__(self, rngs, momentum=0.97, fast=True):
        self.bn = nnx.BatchNorm(5, momentum=0.9, use_fast_variance=fast, rngs=rngs)
        self.other = nnx.BatchNorm(5, momentum=momentum, use_fast_variance=fast, rngs=rngs)

    def __call__(self, x):
        x = jnp.moveaxis(x, 1, -1)
        return jnp.moveaxis(self.other(jnp.tanh(self.bn(jnp.tanh(self.bn(x))))), -1, 1)


class LinenAveraging(linen.Module):
    momentum: float = 0.97

    @linen.compact
    def __call__(self, x, train=False):
        how = {"use_running_average": not train, "param_dtype": jnp.float64}
        bn = linen.BatchNorm(momentum=0.9, epsilon=1e-5, name="bn", **how)
        x = jnp.tanh(bn(jnp.tanh(bn(jnp.moveaxis(x, 1, -1)))))
        return jnp.moveaxis(linen.BatchNorm(momentum=self.momentum, epsilon=1e-5, **how)(x), -1, 1)


AVERAGING = Case(TorchAveraging, FlaxAveraging, X)
RULES = {r"^BatchNorm_0\.": "other."}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_running_statistics_agree_up_to_the_divisor_of_the_variance_which_the_report_says(dtype):
    report = crosscheck.compare(*AVERAGING.pair(dtype), X, train=True)
    assert report.agrees, str(report)
    assert {row.tensor.removesuffix(" (biased)") for row in report.rows if row.kind == "running statistic"} == {
        f"{layer}.running_{what}" for layer in ("bn", "other") for what in ("mean", "var")
    }
    assert dtype != "float64" or "2 running variances are biased in Flax, unbiased in torch (D22)" in str(report)


@pytest.mark.parametrize("momentum", [0.03, 0.99])
def test_another_momentum_is_found_at_its_layer_and_explained(momentum):
    explanation = explain(*AVERAGING.pair(momentum=momentum), X, train=True)
    report = explanation.report
    assert report.first_divergence == ("TorchAveraging.other", "update", "other.running_mean"), str(report)
    assert "momentum=0.1 in torch is momentum=0.9 in Flax" in hint(report)
    assert momentum == 0.99 or explanation.divergence.id == "D21"
    assert crosscheck.compare(*AVERAGING.pair(momentum=momentum), X).agrees  # eval mode averages nothing


@pytest.mark.parametrize(("fast", "row"), [(True, "D20"), (False, None)])
def test_the_fast_variance_of_a_batch_in_float32_is_named(fast, row):
    explanation = explain(*AVERAGING.pair("float32", fast=fast), X + 300, train=True)
    assert (explanation.divergence and explanation.divergence.id) == row, str(explanation)
    assert explanation.report.agrees == (row is None)


@pytest.mark.parametrize(("momentum", "place"), [(0.97, None), (0.5, ("TorchAveraging.other", "update"))])
def test_statistics_of_a_linen_module_are_compared_too(momentum, place):
    with jax.enable_x64(True):
        ours, module = drawn(TorchAveraging()), LinenAveraging(momentum)
        theirs = copy_weights(ours, (module, module.init(jax.random.key(0), X)), RULES)
    report = crosscheck.compare(ours, theirs, X, rules=RULES, train=True, jax_arguments={"train": True})
    assert (report.first_divergence and report.first_divergence[:2]) == place, str(report)


# Hooks, shapes and names


class Doubled(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.register_forward_hook(lambda *call: 2 * call[2])


class FlaxDoubled(nnx.Linear):
    def __init__(self, rngs):
        super().__init__(3, 2, rngs=rngs)

    def __call__(self, x):
        return 2 * super().__call__(x)


def test_hooks_of_the_whole_torch_module_run_as_they_do_for_its_user():
    report = crosscheck.compare(*Case(Doubled, FlaxDoubled, X).pair(), X)
    assert report.agrees, str(report)


class TorchPositions(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.slope = torch.nn.Parameter(torch.zeros(1, 5, 3)), torch.nn.PReLU()
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 2))

    def forward(self, x):
        return self.net(self.slope(x + self.table))


class FlaxPositions(nnx.Module):
    def __init__(self, rngs):
        self.table, self.slope = nnx.Param(jnp.zeros((5, 3))), nnx.PReLU()
        self.net = nnx.Sequential(nnx.Linear(3, 2, rngs=rngs))

    def __call__(self, x):
        return self.net(self.slope(x + self.table[...]))


POSITIONS = Case(TorchPositions, FlaxPositions, X, rules={r"negative_slope$": "weight", r"^net\.layers\.": "net."})


def test_a_parameter_may_lack_axes_of_length_one():
    report = crosscheck.compare(*POSITIONS.pair(), X, rules=POSITIONS.rules, updates=1)
    assert report.agrees, str(report)


def test_names_that_do_not_pair_up_come_with_an_example_of_a_rule():
    with pytest.raises(WeightsError, match=r'for example rules=\{r"\^net\\\.layers\\\.0\\\.": "net\.0\."\}'):
        crosscheck.compare(*POSITIONS.pair(), X, rules={r"negative_slope$": "weight"})


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"(": "x"}, r"'\(' is not a valid regular expression: missing \)"),
        ([("a", "b")], "rules must be a dict of .*, got list"),
    ],
)
def test_rules_that_can_not_be_read_are_one_sentence(rules, words):
    with pytest.raises(IsogradError, match=words):
        crosscheck.compare(*POSITIONS.pair(), X, rules=rules)


def test_a_class_in_the_place_of_a_module_is_one_sentence():
    with pytest.raises(IsogradError, match="got the class TorchPositions: create an instance first"):
        crosscheck.compare(TorchPositions, POSITIONS.pair()[1], X)


class TorchPacked(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = torch.nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x):
        return self.attn(x, x, x, need_weights=False)[0]


def test_packed_parameters_come_with_the_layouts_that_read_them():
    with pytest.raises(WeightsError, match=r"layouts=\{'attn': \('torch.nn.MultiheadAttention', 'flax.nnx.Multi"):
        crosscheck.compare(drawn(TorchPacked()), POSITIONS.pair()[1], X)
