"""Channels first on one side and last on the other: squares, swapped height and width, tensors of different sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import Case, normal

import crosscheck
from crosscheck.pairing.axes import in_order_of
from crosscheck.recording.values import Values

pytestmark = pytest.mark.usefixtures("float64_in_jax")

SOUND = normal(2, 3, 9)
IMAGES = normal(2, 3, 6, 6)


class TorchSound(torch.nn.Module):
    """Seven channels of seven steps: after the second layer, the shape can't tell the axes apart."""

    def __init__(self):
        super().__init__()
        self.front, self.square = torch.nn.Conv1d(3, 7, 3, padding=2), torch.nn.Conv1d(7, 7, 3)
        self.norm, self.head = torch.nn.LayerNorm(7), torch.nn.Linear(7, 2)

    def forward(self, x):
        h = torch.tanh(self.square(self.front(x)[..., :-2]))  # cut off the look-ahead
        return self.head(torch.tanh(self.norm(h.mT)).mean(1))


class FlaxSound(nnx.Module):
    def __init__(self, rngs, eps=1e-5, stop=False, padding="CAUSAL"):
        self.front = nnx.Conv(3, 7, 3, padding=padding, rngs=rngs)
        self.square = nnx.Conv(7, 7, 3, padding="VALID", rngs=rngs)
        self.norm, self.head = nnx.LayerNorm(7, epsilon=eps, rngs=rngs), nnx.Linear(7, 2, rngs=rngs)
        self.stop = stop

    def __call__(self, x):
        h = jnp.tanh(self.square(self.front(jnp.swapaxes(x, 1, 2))))
        h = jnp.tanh(self.norm(h))
        return self.head((jax.lax.stop_gradient(h) if self.stop else h).mean(1))


class TorchPicture(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, (3, 2)), torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


class FlaxPicture(nnx.Module):
    def __init__(self, rngs, order=(0, 2, 3, 1)):
        self.conv = nnx.Conv(3, 4, (3, 2), padding="VALID", rngs=rngs)
        self.head, self.order = nnx.Linear(4, 2, rngs=rngs), order

    def __call__(self, x):
        return self.head(jnp.tanh(self.conv(x.transpose(self.order))).mean((1, 2)))


SOUNDS = Case(TorchSound, FlaxSound, SOUND)
PICTURES = Case(TorchPicture, FlaxPicture, IMAGES)


@pytest.mark.parametrize("case", [SOUNDS, PICTURES])
def test_an_equal_pair_agrees(case):
    report = crosscheck.compare(*case.pair(), case.inputs)
    assert report.agrees, str(report)


@pytest.mark.parametrize(
    ("mistake", "place"),
    [
        ({"eps": 1e-3}, ("TorchSound.norm", "forward")),
        ({"stop": True}, ("TorchSound", "input gradient")),
        ({"padding": "VALID"}, ("TorchSound.front", "forward")),
    ],
)
def test_squares_and_tensors_of_other_sizes_do_not_hide_where_the_mistake_is(mistake, place):
    report = crosscheck.compare(*SOUNDS.pair(**mistake), SOUND)
    assert report.first_divergence[:2] == place, str(report)


def test_height_and_width_that_change_places_are_the_callers_mistake():
    report = crosscheck.compare(*PICTURES.pair(order=(0, 3, 2, 1)), IMAGES)
    assert report.first_divergence[:2] == ("TorchPicture", "forward"), str(report)


def test_what_is_read_in_torchs_order_is_still_what_jax_computed():
    theirs = np.arange(24.0).reshape(2, 4, 3)
    ours = Values(outputs={"output": np.zeros((2, 3, 4))})
    orders = frozenset({(0, 2, 1), (0, 3, 1, 2)})  # the second is of images, which this is none of
    found = in_order_of(Values(outputs={"output": theirs}), ours, orders)
    assert np.array_equal(found.outputs["output"], theirs.transpose(0, 2, 1))
