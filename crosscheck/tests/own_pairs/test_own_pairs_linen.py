"""A user's own torch modules and their Linen ports: setup and compact style, statistics, dropout, scan and remat."""

import jax
import jax.numpy as jnp
import pytest
import torch
from flax import linen as nn
from own_pairs import drawn, normal

import crosscheck
from crosscheck.pairing.copy_weights import copy_weights
from shared.errors import IsogradError, WeightsError

pytestmark = pytest.mark.usefixtures("float64_in_jax")

F64 = {"param_dtype": jnp.float64}
INPUTS = normal(4, 5)


class TorchMLP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn = torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7)
        self.drop, self.fc2 = torch.nn.Dropout(0.3), torch.nn.Linear(7, 3)

    def forward(self, x):
        return self.fc2(self.drop(torch.tanh(self.bn(self.fc1(x)))))


class SetupMLP(nn.Module):
    eps: float = 1e-5
    stop: bool = False
    use_statistics: bool = True

    def setup(self):
        self.fc1, self.bn = nn.Dense(7, **F64), nn.BatchNorm(momentum=0.9, epsilon=self.eps, **F64)
        self.drop, self.fc2 = nn.Dropout(0.3), nn.Dense(3, **F64)

    def __call__(self, x, train=False):
        h = jnp.tanh(self.bn(self.fc1(x), use_running_average=self.use_statistics and not train))
        h = jax.lax.stop_gradient(h) if self.stop else h
        return self.fc2(self.drop(h, deterministic=not train))


class CompactMLP(nn.Module):
    eps: float = 1e-5
    stop: bool = False
    use_statistics: bool = True

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.Dense(7, **F64)(x)
        average = self.use_statistics and not train
        h = jnp.tanh(nn.BatchNorm(use_running_average=average, momentum=0.9, epsilon=self.eps, **F64)(h))
        h = jax.lax.stop_gradient(h) if self.stop else h
        h = nn.Dropout(0.3, deterministic=not train)(h)
        return nn.Dense(3, **F64)(h)


class TorchStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([TorchLayer() for _ in range(3)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class TorchLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.fc = torch.nn.LayerNorm(5), torch.nn.Linear(5, 5)

    def forward(self, x):
        return x + torch.tanh(self.fc(self.norm(x)))


class FlaxLayer(nn.Module):
    eps: float = 1e-5
    stop: bool = False

    @nn.compact
    def __call__(self, x, _=None):
        h = nn.LayerNorm(epsilon=self.eps, name="norm", **F64)(x)
        h = jax.lax.stop_gradient(h) if self.stop else h
        return x + jnp.tanh(nn.Dense(5, name="fc", **F64)(h)), None


class RematStack(nn.Module):
    """Three layers, each recomputed in the backward pass."""

    eps: float = 1e-5
    stop: bool = False

    def setup(self):
        self.layers = [nn.remat(FlaxLayer)(self.eps, self.stop) for _ in range(3)]

    def __call__(self, x):
        for layer in self.layers:
            x, _ = layer(x)
        return x


class ScanStack(nn.Module):
    """Three layers with stacked parameters, in a single loop."""

    eps: float = 1e-5
    stop: bool = False

    @nn.compact
    def __call__(self, x):
        lifted = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        return nn.scan(FlaxLayer, length=3, **lifted)(self.eps, self.stop, name="layers")(x, None)[0]


COMPACT = {r"^Dense_0\.": "fc1.", r"^BatchNorm_0\.": "bn.", r"^Dense_1\.": "fc2."}
MLPS = {"setup": (SetupMLP, {}), "compact": (CompactMLP, COMPACT)}
REMAT = {r"^layers_(\d+)\.": r"layers.\1."}
STACKED = {"layouts": {"layers": "flax.stacked"}}
STACKS = {"remat": (RematStack, {"rules": REMAT}), "scan": (ScanStack, STACKED)}


def mlp_pair(style, **mistake):
    kind, rules = MLPS[style]
    module = kind(**mistake)
    ours = drawn(TorchMLP())
    return ours, copy_weights(ours, (module, module.init(jax.random.key(0), INPUTS)), rules), rules


def stack_pair(style, **mistake):
    kind, how = STACKS[style]
    ours, module = drawn(TorchStack()), kind(**mistake)
    return (ours, copy_weights(ours, (module, module.init(jax.random.key(0), INPUTS)), **how)), how


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("style", MLPS)
def test_an_equal_pair_agrees_with_its_statistics_and_dropout(style, train):
    ours, theirs, rules = mlp_pair(style)
    how = {"train": train, "updates": 2 * train, "jax_arguments": {"train": train}}
    report = crosscheck.compare(ours, theirs, INPUTS, rules=rules, **how)
    assert report.agrees, str(report)


@pytest.mark.parametrize(
    ("style", "mistake", "place"),
    [
        ("setup", {"eps": 1e-3}, ("TorchMLP.bn", "forward")),
        ("setup", {"use_statistics": False}, ("TorchMLP.bn", "forward")),
        ("compact", {"eps": 1e-3}, ("TorchMLP.bn", "forward")),
        ("compact", {"stop": True}, ("TorchMLP", "input gradient")),
    ],
)
def test_a_mistake_is_found_at_its_module_and_in_its_phase(style, mistake, place):
    ours, theirs, rules = mlp_pair(style, **mistake)
    report = crosscheck.compare(ours, theirs, INPUTS, rules=rules)
    assert report.first_divergence[:2] == place, str(report)


def test_statistics_that_were_not_copied_are_found_at_the_normalisation():
    ours, (module, variables), _ = mlp_pair("setup")
    fresh = {**variables, "batch_stats": jax.tree.map(jnp.ones_like, variables["batch_stats"])}
    report = crosscheck.compare(ours, (module, fresh), INPUTS)
    assert report.first_divergence[:2] == ("TorchMLP.bn", "forward")


def test_a_bound_module_is_the_pair_of_module_and_variables():
    ours, (module, variables), _ = mlp_pair("setup")
    reports = [crosscheck.compare(ours, theirs, INPUTS) for theirs in (module.bind(variables), (module, variables))]
    assert [report.agrees for report in reports] == [True, True]
    assert reports[0].rows == reports[1].rows


@pytest.mark.parametrize("style", STACKS)
def test_layers_in_loops_and_checkpoints_agree(style):
    pair, how = stack_pair(style)
    report = crosscheck.compare(*pair, INPUTS, updates=1, **how)
    assert report.agrees, str(report)
    assert not any(report.unmatched.values())


@pytest.mark.parametrize(
    ("mistake", "place"),
    [({"eps": 1e-3}, ("layers.0.norm", "forward")), ({"stop": True}, ("layers.2", "input gradient"))],
)
@pytest.mark.parametrize("style", STACKS)
def test_a_mistake_inside_a_loop_or_checkpoint_is_found_in_its_layer(style, mistake, place):
    pair, how = stack_pair(style, **mistake)
    report = crosscheck.compare(*pair, INPUTS, **how)
    assert report.first_divergence[:2] == (f"TorchStack.{place[0]}", place[1]), str(report)


def test_a_module_without_its_variables_is_refused():
    with pytest.raises(IsogradError, match=r"SetupMLP has no variables: pass module.bind\(variables\)"):
        crosscheck.compare(drawn(TorchMLP()), SetupMLP(), INPUTS)


def test_stacked_parameters_without_their_layout_are_refused_by_name():
    pair, _ = stack_pair("scan")
    words = r"missing layers\.0\.norm\.weight.*unused layers\.fc\.bias.*layouts={'layers': 'flax.stacked'}"
    with pytest.raises(WeightsError, match=words):
        crosscheck.compare(*pair, INPUTS)
