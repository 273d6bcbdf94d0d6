"""`assert_twins_agree` passes equal modules; for others it says briefly where they diverge and what to look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from own_pairs import drawn, normal

from crosscheck import testing
from crosscheck.causes.explanation import Explanation
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.testing import assert_twins_agree
from shared.errors import IsogradError

pytestmark = pytest.mark.usefixtures("float64_in_jax")

X = normal(4, 5)


class TorchTower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj, self.norm, self.out = torch.nn.Linear(5, 5), torch.nn.LayerNorm(5), torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.nn.functional.gelu(self.norm(self.proj(x))))


class FlaxTower(nnx.Module):
    def __init__(self, epsilon=1e-5, approximate=False, power=1.0, stop=lambda x: x):
        self.proj, self.out = (nnx.Linear(5, size, rngs=nnx.Rngs(0)) for size in (5, 3))
        self.norm = nnx.LayerNorm(5, epsilon=epsilon, rngs=nnx.Rngs(0))
        self.approximate, self.power, self.stop = approximate, power, stop

    def __call__(self, x):
        h = jax.nn.gelu(self.norm(self.stop(self.proj(x))), approximate=self.approximate)
        return self.out(h * self.power)


def pair_of(**mistake):
    ours = drawn(TorchTower())
    return ours, copy_weights(ours, FlaxTower(**mistake))


def text_of(*pair, inputs=X, **options):
    """The message of the assertion."""
    with pytest.raises(AssertionError) as caught:
        assert_twins_agree(*pair, inputs, **options)
    return str(caught.value)


def lines_of(text):
    """The lines of a report by their first word."""
    return dict(line.strip().split(": ", 1) for line in text.splitlines()[1:])


def test_equal_modules_pass_and_the_report_comes_back():
    report = assert_twins_agree(*pair_of(), X, train=True, updates=2)
    assert report.agrees
    assert report.mode == "train"


def test_a_disagreement_names_module_phase_tensor_worst_element_statistics_and_a_hint():
    text = text_of(*pair_of(epsilon=1e-3))
    assert text.startswith("TorchTower float64 eval cpu: the twins disagree in 7 of 15 tensors\n")
    lines = lines_of(text)
    assert (lines["module"], lines["phase"]) == ("TorchTower.norm", "forward")
    for words in ("norm out[0] (4, 5): error", "bound 1.00e-12", "worst at (", "torch ", "jax "):
        assert words in lines["tensor"]
    assert all(word in lines[side] for side in ("torch", "jax") for word in ("mean", "std", "from"))
    assert lines["also"].startswith("output, gradient of input 0, gradient of proj.weight")
    assert lines["also"].endswith(", and 2 more")
    assert lines["hint"].startswith("D18 ln-eps: LayerNorm with eps 0.001, and the gap is gone; in JAX: nnx.LayerNorm")


def transposed():
    ours, theirs = pair_of()
    theirs.proj.kernel.set_value(theirs.proj.kernel.get_value().T)
    return ours, theirs


def fresh():
    ours, theirs = pair_of()
    theirs.proj.bias.set_value(theirs.proj.bias.get_value() / 3)
    return ours, theirs


def functions(ours, theirs):
    return lambda: (ours, theirs)


HINTS = {  # a pair, its inputs, and words from its hint
    "the other GELU": (lambda: pair_of(approximate=True), X, "D24 gelu"),
    "an unknown mistake": (
        lambda: pair_of(power=jnp.array([1, 1.01, 0.99, 1.02, 1])),
        X,
        "JAX gelu(norm(...)) * table",
    ),
    "a gradient stopped": (
        lambda: pair_of(stop=jax.lax.stop_gradient),
        X,
        "D93 stopped-gradient|one side has no gradient here",
    ),
    "other weights": (fresh, X, "give both sides the same weights first"),
    "a weight transposed": (transposed, X, "D01 linear-transpose|one is the transpose of the other"),
    "NaN on both sides": (functions(torch.log, jnp.log), X, "NaN never equals itself"),
    "NaN on one side": (functions(torch.log, lambda x: jnp.log(jnp.abs(x))), X, "JAX abs(input 0)"),
    "shapes": (
        functions(lambda x: x.sum(0), lambda x: x.sum(0, keepdims=True)),
        X,
        "over axes (0,), kept as axes of 1",
    ),
    "float32 in between": (
        functions(torch.sin, lambda x: jnp.sin(x.astype("float32")).astype("float64")),
        X,
        "D73|one side computes in float32",
    ),
    "integers cut": (
        functions(lambda i: i % 7, lambda i: (i % 7).astype("int32") + 1),
        np.arange(4),
        "JAX i + 1",
    ),
}


@pytest.mark.parametrize("case", HINTS)
def test_the_hint_says_what_to_look_at(case):
    make, inputs, words = HINTS[case]
    text = text_of(*make(), inputs=inputs)
    assert any(word in lines_of(text)["hint"] for word in words.split("|")), text
    assert "{" not in text


def test_without_explain_the_place_is_told_and_no_cause_is_searched_for(monkeypatch):
    monkeypatch.setattr(testing, "explained", lambda *given, **options: pytest.fail("a cause is searched for"))
    lines = lines_of(text_of(*pair_of(epsilon=1e-3), explain=False))
    assert (lines["module"], lines["phase"]) == ("TorchTower.norm", "forward")
    assert "D18" not in lines["hint"]


def test_what_a_search_notes_is_told(monkeypatch):
    report = testing.compare(*pair_of(epsilon=1e-3), X)
    monkeypatch.setattr(testing, "explained", lambda *given, **options: Explanation(report, None, noted="not alike"))
    assert lines_of(text_of(*pair_of()))["note"] == "not alike"


def test_a_pair_that_can_not_be_compared_is_an_error_and_not_a_disagreement():
    with pytest.raises(IsogradError, match="expected inputs"):
        assert_twins_agree(*pair_of())


def test_pytest_shows_the_test_and_not_the_helper():
    with pytest.raises(AssertionError) as caught:
        assert_twins_agree(*pair_of(power=1.01), X)
    assert [entry.frame.code.name for entry in caught.traceback if not entry.ishidden(caught)] == [
        "test_pytest_shows_the_test_and_not_the_helper"
    ]
