"""How causes are searched for: runs that end early, flips near the fault first, packed padding, formulas."""

import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from crosscheck import criterion
from crosscheck.causes.flips.flip import Replaced
from crosscheck.causes.flips.mistakes.activations import ACTIVATION_FLIPS
from crosscheck.causes.flips.mistakes.masks import MASKS
from crosscheck.causes.flips.mistakes.order import ORDER_FLIPS
from crosscheck.causes.flips.mistakes.padding import PADDING_FLIPS
from crosscheck.causes.flips.search import Budget, _distance
from crosscheck.compare import compare
from crosscheck.explain import explain
from crosscheck.locate import locate
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording import record
from crosscheck.recording.side import Side
from crosscheck.recording.values import Options
from shared.errors import IsogradError

X = np.random.default_rng(0).standard_normal((4, 6))
F64, F32 = np.dtype(np.float64), np.dtype(np.float32)


@pytest.fixture(autouse=True)
def float64_in_jax():
    with jax.enable_x64(True):
        yield


def test_a_run_that_ends_early_has_recorded_what_comes_before():
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    found = record.run(Side.of("torch", module), ((X,), {}), Options(F64, gradients=False, until="1 out[0]"))
    assert list(found.values.intermediates) == ["0 in[0]", "0 out[0]", "1 in[0]", "1 out[0]"]
    assert set(found.values.parameters) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert not found.values.outputs


def test_a_run_without_noise_measures_none():
    assert record.run(Side.of("torch", nn.Linear(6, 2)), ((X,), {}), Options(F32, noise_runs=0)).noise is None


def test_flips_of_a_modules_own_code_come_first_then_of_what_it_calls():
    callers = [{"other"}, {"mlp.act"}, {"mlp", "other"}]
    assert [_distance("mlp", paths) for paths in callers] == [2, 1, 0]


@pytest.mark.parametrize(("words", "last", "first"), [("one place ahead", 1, -1), ("one place behind", -1, -1)])
def test_a_mask_that_is_off_at_one_end_keeps_the_other_end_of_its_window(words, last, first):
    window, wrong = (torch.ones(5, 5).tril(end).triu(first).bool() for end in (0, last))
    for mask, expected, is_hiding in ((window, wrong, False), (~window, ~wrong, True)):
        assert torch.equal(MASKS[f"a mask that is {words}"](mask, is_hiding)[1:], expected[1:])  # all see something


def test_a_comparison_that_took_all_the_time_leaves_half_of_it_to_the_search():
    budget = Budget(20.0, start=time.monotonic() - 60.0)
    assert budget.is_spent
    budget.leave_half()
    assert budget.take("a flip")


# Modules


class TorchAttention(nn.Module):
    """Returns its probabilities too."""

    def forward(self, x):
        weights = (x @ x.mT / 2).softmax(-1)
        return weights @ x, weights


class FlaxAttention(nnx.Module):
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return jax.nn.softmax(x @ x.swapaxes(-1, -2) * self.scale) @ x


class TorchBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.fc = TorchAttention(), nn.Linear(6, 6)

    def forward(self, x):
        return self.fc(self.attn(x)[0])


class FlaxBlock(nnx.Module):
    def __init__(self, rngs, scale):
        self.attn, self.fc = FlaxAttention(scale), nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return self.fc(self.attn(x))


@pytest.mark.parametrize(("scale", "guilty"), [(1.0, ["attn"]), (0.5, [])])
def test_a_module_that_returns_more_on_one_side_is_run_alone(scale, guilty):
    torch.manual_seed(0)
    ours = TorchBlock().double()
    location = locate(ours, copy_weights(ours, FlaxBlock(nnx.Rngs(0), scale)), X[None])
    assert [each.path for each in location.guilty] == guilty


class TorchPath(nn.Module):
    """Drops whole rows and divides the others by the share that is kept."""

    def forward(self, x):
        return x * (torch.arange(len(x))[:, None] % 2 == torch.randint(0, 2, ())) / 0.5 if self.training else x


class FlaxPath(nnx.Module):
    def __init__(self, factor, drops):
        self.factor, self.drops = factor, drops

    def __call__(self, x):
        return x * self.factor * (jnp.arange(len(x))[:, None] % 2 if self.drops else 1)


class TorchPaths(nn.Module):
    def __init__(self):
        super().__init__()
        self.path = TorchPath()

    def forward(self, x):
        return torch.tanh(self.path(x))


class FlaxPaths(nnx.Module):
    def __init__(self, factor, drops=True):
        self.path = FlaxPath(factor, drops)

    def __call__(self, x):
        return jnp.tanh(self.path(x))


def explained(theirs):
    """The explanation of a pair whose two runs on torch's side differ."""
    for seed in range(100):
        torch.manual_seed(seed)
        found = explain(TorchPaths().double(), theirs, X, train=True)
        if found.noted:
            return found
    raise AssertionError("the torch side never drew two different masks")


def test_paths_that_are_kept_but_not_rescaled_are_named_although_both_sides_are_random():
    found = explained(FlaxPaths(1.0))
    assert found.divergence.id == "D97"
    assert "multiplied by 2 in torch, by 1 in JAX" in found.flipped


def test_paths_that_are_rescaled_alike_are_random_and_nothing_else():
    assert explained(FlaxPaths(2.0)).divergence is None


def test_a_side_that_drops_nothing_is_said_to():
    found = explained(FlaxPaths(1.0, drops=False))
    assert found.divergence is None
    assert "JAX drops nothing" in str(found)


class TorchLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(x)


class FlaxLinear(nnx.Module):
    def __init__(self, rngs):
        self.fc = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        return self.fc(x)


class Scheduled(torch.optim.SGD):
    """Halves its rate after three steps."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1)
        self.rates = iter([0.1, 0.1, 0.05, 0.05, 0.05, 0.05])

    def step(self, closure=None):
        super().step(closure)
        self.param_groups[0]["lr"] = next(self.rates)


def test_the_step_where_two_optimisers_part_is_said():
    torch.manual_seed(0)
    ours = TorchLinear().double()
    theirs = copy_weights(ours, FlaxLinear(nnx.Rngs(0)))
    found = explain(ours, theirs, X, updates=6, optimizers=(Scheduled, optax.sgd(0.1)))
    assert "begins with step 4: the state after step 3 agrees" in str(found)


class FlaxImages(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, x):
        return self.conv(x)


def test_images_in_torchs_order_alone_are_refused_with_the_way_to_give_both():
    ours = nn.Conv2d(3, 4, 3, padding=1).double()
    with pytest.raises(IsogradError, match=r"channels last.*torch_arguments= and jax_arguments="):
        compare(ours, FlaxImages(nnx.Rngs(0)), np.zeros((2, 3, 8, 8)), rules={r"^conv\.": ""})


# Packed sequences

LENGTHS = torch.tensor([5, 3])
SEQUENCES = torch.tensor(np.random.default_rng(1).standard_normal((2, 5, 3)))


def packed(rnn):
    outputs, _ = rnn(pack_padded_sequence(SEQUENCES, LENGTHS, batch_first=True))
    return pad_packed_sequence(outputs, batch_first=True)[0]


@pytest.fixture
def rnn():
    torch.manual_seed(0)
    return nn.LSTM(3, 4, batch_first=True, bidirectional=True).double()


@pytest.mark.parametrize("flip", PADDING_FLIPS, ids=lambda flip: flip.what)
def test_padding_that_is_read_is_what_a_layer_without_packing_reads(rnn, flip):
    valid = (torch.arange(5) < LENGTHS[:, None])[..., None]
    expected = rnn(SEQUENCES)[0]
    with Replaced(flip):
        found = packed(rnn)
    expected = torch.where(valid, expected, 0.0) if "zeros" in flip.what else expected
    assert criterion.prove(expected.detach().numpy(), found.detach().numpy(), 0.0).agrees


def test_a_packed_direction_that_is_not_turned_back_is_reversed_within_its_length(rnn):
    flip = next(flip for flip in ORDER_FLIPS if flip.divergence == "D39")
    expected = packed(rnn)
    for row, length in enumerate(LENGTHS):
        expected[row, :length, 4:] = expected[row, :length, 4:].flip(0)
    with Replaced(flip):
        found = packed(rnn)
    assert criterion.prove(expected.detach().numpy(), found.detach().numpy(), 0.0).agrees


# Formulas


def written_gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


PORTS = {  # what JAX has in the place of a GELU that torch writes out, row
    "the exact one": (functools.partial(jax.nn.gelu, approximate=False), "D24"),
    "SiLU": (jax.nn.silu, "D89"),
}


@pytest.mark.parametrize("port", PORTS)
def test_a_written_out_gelu_is_told_from_others(port):
    theirs, row = PORTS[port]
    found = explain(lambda x: written_gelu(x) @ x.T, lambda x: theirs(x) @ x.T, X)
    assert found.divergence is not None, str(found)
    assert found.divergence.id == row, str(found)


def test_flips_of_formulas_say_what_takes_whose_place():
    words = [flip.what for flip in ACTIVATION_FLIPS if "written-out" in flip.what]
    assert "exact GELU in place of a written-out GELU by tanh" in words
    assert len(words) == len(set(words))


def torch_angles(x):
    angles = torch.arange(4.0, dtype=torch.float64)[:, None] * 1e4 ** (-torch.arange(3.0, dtype=torch.float64) / 3)
    return x * torch.cat([angles.cos(), angles.sin()], -1)


def jax_angles(x):
    frequencies = (1e4 ** (-jnp.arange(3.0) / 3)).astype(jnp.bfloat16).astype(jnp.float64)
    angles = jnp.arange(4.0)[:, None] * frequencies
    return x * jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def test_frequencies_that_are_rounded_are_named():
    found = explain(torch_angles, jax_angles, X)
    assert found.divergence is not None, str(found)
    assert (found.divergence.id, "frequencies rounded to bfloat16" in found.flipped) == ("D86", True), str(found)
