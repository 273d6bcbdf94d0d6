"""`locate` where the two sides call their modules differently: loops, masks, keywords, foreign layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import Case, drawn, normal

import crosscheck
import jax_impl
from crosscheck.judging.isolation import isolate
from crosscheck.locate import locate
from crosscheck.pairing.comparison import Comparison
from crosscheck.recording.side import Side
from crosscheck.recording.values import Options
from shared.foreign_layouts import from_foreign
from torch_impl import to_arrays

EPS = {"eps": 1e-3}


class TorchCell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = torch.nn.Linear(5, 5), torch.nn.LayerNorm(5)

    def forward(self, h, x):
        return torch.tanh(self.norm(self.fc(h) + x))


class TorchLoop(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = TorchCell()

    def forward(self, xs):
        h = torch.zeros_like(xs[0])
        for x in xs:
            h = self.cell(h, x)
        return h


class FlaxCell(nnx.Module):
    def __init__(self, rngs, eps=1e-5, slope=1.0):
        self.fc, self.norm = nnx.Linear(5, 5, rngs=rngs), nnx.LayerNorm(5, epsilon=eps, rngs=rngs)
        self.slope = slope

    def __call__(self, h, x):
        return jnp.tanh(self.norm(self.fc(h) + x) * self.slope)


class FlaxScan(nnx.Module):
    def __init__(self, rngs, **mistake):
        self.cell = FlaxCell(rngs, **mistake)

    def __call__(self, xs):
        return jax.lax.scan(lambda h, x: (self.cell(h, x), None), jnp.zeros_like(xs[0]), xs)[0]


STEPS = {"a short scan": 4, "a scan that is too long to unroll": 70}
IN_A_LOOP = {"TorchLoop.cell.norm": EPS, "TorchLoop.cell": {"slope": 1.001}}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize(("place", "mistake"), IN_A_LOOP.items(), ids=IN_A_LOOP)
def test_a_fault_in_a_module_that_a_scan_calls_is_located(place, mistake, steps):
    case = Case(TorchLoop, FlaxScan, normal(steps, 3, 5))
    location = locate(*case.pair(**mistake), case.inputs)
    assert location.first_divergence[:2] == (place, "forward"), str(location)


def test_modules_below_a_path_are_those_inside_it_and_none_of_a_longer_number():
    rules = {r"layers\.": ""}
    case = Case(
        lambda: torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(2, 2)) for _ in range(11))),
        lambda rngs: nnx.Sequential(*(nnx.Sequential(nnx.Linear(2, 2, rngs=rngs)) for _ in range(11))),
        normal(3, 2),
        rules=rules,
    )
    sides = (Side.of(name, module) for name, module in zip(("torch", "jax"), case.pair(), strict=True))
    found = isolate(Comparison(*sides, ((case.inputs,), {}), Options(np.dtype("float64")), rules), below="1")
    assert list(found) == ["1.0"]


# Masks of the opposite polarity


class TorchAttention(torch.nn.Module):
    def forward(self, x, visible):
        scores = (x @ x.swapaxes(1, 2)).masked_fill(~visible[:, None], -torch.inf)
        return torch.softmax(scores, -1) @ x


class TorchMasked(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.norm, self.fc = TorchAttention(), torch.nn.LayerNorm(5), torch.nn.Linear(5, 5)

    def forward(self, x, mask):
        return self.fc(self.norm(self.attention(x, mask)))


class FlaxAttention(nnx.Module):
    def __call__(self, x, hidden):
        return jax.nn.softmax(jnp.where(hidden[:, None], -jnp.inf, x @ x.swapaxes(1, 2))) @ x


class PairAttention(FlaxAttention):
    def __call__(self, both):
        return (super().__call__(*both),)


class FlaxMasked(nnx.Module):
    def __init__(self, rngs, eps=1e-5, stop=lambda x: x, invert=jnp.logical_not, attention=FlaxAttention):
        self.attention, self.norm = attention(), nnx.LayerNorm(5, epsilon=eps, rngs=rngs)
        self.fc, self.stop, self.invert = nnx.Linear(5, 5, rngs=rngs), stop, invert

    def __call__(self, x, mask):
        hidden = self.invert(mask)
        is_pair = isinstance(self.attention, PairAttention)
        y = self.attention((x, hidden))[0] if is_pair else self.attention(x, hidden)
        return self.fc(self.stop(self.norm(y)))


class FlaxHidden(FlaxMasked):
    """Takes the mask under a different name, with the opposite polarity."""

    def __call__(self, x, hidden):
        return super().__call__(x, ~hidden)


X, VISIBLE = normal(3, 6, 5), np.arange(6) < np.array([[6], [4], [2]])
MASKED = Case(TorchMasked, FlaxMasked, {"x": X, "mask": VISIBLE})
MASKS = {  # mistake: its location; the attention alone reads torch's mask inverted
    "forward": (EPS, ("TorchMasked.norm", "forward")),
    "backward": ({"stop": jax.lax.stop_gradient}, ("TorchMasked", "input gradient")),
    "the mask itself": ({"invert": lambda mask: mask & False}, ("TorchMasked.attention", "forward")),
}


@pytest.mark.parametrize(("mistake", "place"), MASKS.values(), ids=MASKS)
def test_a_module_with_a_mask_of_the_other_polarity_is_not_blamed_for_the_faults_of_others(mistake, place):
    location = locate(*MASKED.pair(**mistake), MASKED.inputs)
    assert location.first_divergence[:2] == place, str(location)


def test_a_module_that_takes_its_arguments_in_another_nesting_is_compared_by_itself():
    location = locate(*MASKED.pair(attention=PairAttention, **EPS), MASKED.inputs)
    assert location.first_divergence[:2] == ("TorchMasked.norm", "forward")
    assert {line.path: line.by_itself and line.by_itself.agrees for line in location.modules} == {
        "": None, "attention": True, "norm": False, "fc": True,
    }  # fmt: skip


def test_keywords_of_one_side_are_given_to_its_modules():
    pair = Case(TorchMasked, FlaxHidden, X).pair(**EPS)
    location = locate(*pair, {"x": X}, torch_arguments={"mask": VISIBLE}, jax_arguments={"hidden": ~VISIBLE})
    assert location.first_divergence[:2] == ("TorchMasked.norm", "forward")
    assert location.modules[-1].by_itself.agrees


class TorchLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(5, 5)

    def forward(self, x):
        return torch.tanh(self.fc(x))

    def last(self, x):
        return self.fc(x)


class TorchTwice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = TorchLayer()

    def forward(self, x):
        return self.layer.last(self.layer(x))


class FlaxLayer(nnx.Module):
    def __init__(self, rngs, scale, stop):
        self.fc, self.scale, self.stop = nnx.Linear(5, 5, rngs=rngs), scale, stop

    def __call__(self, x):
        return jnp.tanh(self.fc(x))

    def last(self, x):
        return self.scale * self.stop(self.fc(x))


class FlaxTwice(nnx.Module):
    def __init__(self, rngs, scale=1.0, outer=1.0, stop=lambda x: x):
        self.layer, self.outer = FlaxLayer(rngs, scale, stop), outer

    def __call__(self, x):
        return self.outer * self.layer.last(self.layer(x))


def test_a_module_whose_gradient_is_wrong_is_not_blamed_for_a_forward_pass_that_differs_around_it():
    location = locate(*Case(TorchTwice, FlaxTwice, X).pair(outer=1.01, stop=jax.lax.stop_gradient), X)
    assert location.first_divergence[:2] == ("TorchTwice", "forward")


def test_a_module_is_as_wrong_as_the_worst_of_its_methods():
    location = locate(*Case(TorchTwice, FlaxTwice, X).pair(scale=1.01), X)
    by_path = {line.path: line.by_itself for line in location.modules}
    assert not by_path["layer"].agrees
    assert by_path["layer.fc"].agrees


# Foreign layers and recordings


class TorchRecurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.rnn = torch.nn.LayerNorm(5), torch.nn.GRU(5, 7, batch_first=True)

    def forward(self, x):
        return self.rnn(self.norm(x))[0]


class FlaxRecurrent(nnx.Module):
    def __init__(self, rngs, eps=1e-5):
        self.norm, self.rnn = nnx.LayerNorm(5, epsilon=eps, rngs=rngs), jax_impl.GRU(5, 7, rngs=rngs)

    def __call__(self, x):
        return self.rnn(self.norm(x))[0]


def test_a_foreign_layer_is_compared_by_itself_in_its_layout():
    ours = drawn(TorchRecurrent())
    rnn = {f"rnn.{name}": array for name, array in from_foreign("torch.nn.GRU", to_arrays(ours.rnn)).items()}
    norm = {f"norm.{name}": array for name, array in to_arrays(ours.norm).items()}
    with jax.enable_x64(True):
        theirs = FlaxRecurrent(nnx.Rngs(0), **EPS)
        jax_impl.load_arrays(theirs, rnn | norm)
    location = locate(ours, theirs, X, layouts={"rnn": "torch.nn.GRU"})
    assert location.first_divergence[:2] == ("TorchRecurrent.norm", "forward")
    assert [line.by_itself.agrees for line in location.modules if line.path in ("norm", "rnn")] == [False, True]


@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)], ids=["torch", "jax", "both"])
def test_a_recording_is_located_by_what_is_on_record(sides):
    pair = MASKED.pair(**EPS)
    given = [
        crosscheck.record(module, MASKED.inputs) if is_recorded else module
        for module, is_recorded in zip(pair, sides, strict=True)
    ]
    location = locate(*given, None)
    assert location.first_divergence[:2] == ("TorchMasked.norm", "forward")
    assert not any(line.by_itself for line in location.modules)
