"""`compare` passes equal modules, fails unequal ones at the right place, and states clearly what it can't compare."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import roundings
from flax import nnx

import crosscheck
from crosscheck.explain import explain
from crosscheck.judging.rows import KINDS
from crosscheck.locate import locate
from crosscheck.recording.side import Side
from crosscheck.testing import assert_twins_agree
from jax_impl.layers import attention as jax_attention
from jax_impl.layers import gru as jax_gru
from jax_impl.layers import layer_norm as jax_layer_norm
from shared.errors import IsogradError, WeightsError
from shared.example_inputs import cases
from shared.registry import TWINS


class TorchMLP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(5, 7)
        self.norm = torch.nn.LayerNorm(7)
        self.fc2 = torch.nn.Linear(7, 3)

    def forward(self, x):
        return {"hidden": self.fc1(x), "logits": self.fc2(torch.tanh(self.norm(self.fc1(x))))}


class FlaxMLP(nnx.Module):
    def __init__(self, rngs, epsilon=1e-5):
        self.first = nnx.Linear(5, 7, rngs=rngs)
        self.norm = nnx.LayerNorm(7, epsilon=epsilon, rngs=rngs)
        self.second = nnx.Linear(7, 3, rngs=rngs)

    def __call__(self, x):
        return {"hidden": self.first(x), "logits": self.second(jnp.tanh(self.norm(self.first(x))))}


RULES = {r"^first\.": "fc1.", r"^second\.": "fc2."}
INPUTS = np.random.default_rng(0).standard_normal((11, 5))


def own_pair(dtype="float64", **options):
    with jax.enable_x64(True):
        torch_module, jax_module = TorchMLP().to(getattr(torch, dtype)), FlaxMLP(nnx.Rngs(0), **options)
        for ours, theirs in (("first", "fc1"), ("second", "fc2")):
            layer, parameters = getattr(jax_module, ours), getattr(torch_module, theirs).parameters()
            weight, bias = (p.detach().to(torch.float64).numpy().copy() for p in parameters)
            layer.kernel.set_value(jnp.asarray(weight.T, dtype))
            layer.bias.set_value(jnp.asarray(bias, dtype))
        jax_module.norm.scale.set_value(jnp.ones(7, dtype))
        jax_module.norm.bias.set_value(jnp.zeros(7, dtype))
    return torch_module, jax_module


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_users_own_pair_agrees_once_its_names_are_mapped(dtype):
    report = crosscheck.compare(*own_pair(dtype), INPUTS, rules=RULES)
    assert report.agrees, str(report)
    assert {row.tensor for row in report.rows if row.kind == "output"} == {"output.hidden", "output.logits"}
    assert {row.kind for row in report.rows} == {kind.name for kind in KINDS} - {"running statistic", "update"}


def test_another_epsilon_is_a_disagreement_that_names_the_module_at_fault():
    report = crosscheck.compare(*own_pair(epsilon=1e-6), INPUTS, rules=RULES)
    assert not report.agrees
    assert report.first_divergence == ("TorchMLP.norm", "forward", "norm out[0]")
    text = str(report)
    for word in ("TorchMLP", "output.logits", "(11, 3)", "error", "bound", "worst at", "torch", "jax"):
        assert word in text


def test_names_that_do_not_pair_up_are_all_listed():
    with pytest.raises(WeightsError, match=r"missing fc1.weight.*fc2.bias.*unused.*first.weight"):
        crosscheck.compare(*own_pair(), INPUTS)


def test_unequal_weights_are_the_first_divergence():
    torch_module, jax_module = own_pair()
    with torch.no_grad():
        torch_module.fc2.bias[1] += 1e-9  # far above the proof's bound, far below what a user would notice
    report = crosscheck.compare(torch_module, jax_module, INPUTS, rules=RULES)
    assert report.first_divergence == ("TorchMLP.fc2", "parameters", "fc2.bias")
    assert report.disagreements[0].worst_index == (1,)


def test_inputs_may_be_one_array_a_tuple_or_a_dict():
    pair = own_pair()
    reports = [crosscheck.compare(*pair, inputs, rules=RULES) for inputs in (INPUTS, (INPUTS,), {"x": INPUTS})]
    assert [report.agrees for report in reports] == [True] * 3


@pytest.mark.parametrize("question", [crosscheck.compare, explain, locate])
def test_a_module_is_asked_once_for_what_it_is(question, monkeypatch):
    ask, asked = Side.of, []
    monkeypatch.setattr(Side, "of", lambda name, *given: asked.append(name) or ask(name, *given))
    question(*own_pair(epsilon=1e-6), INPUTS, rules=RULES, layouts={}, name="mine")
    assert asked == ["torch", "jax"]


def test_comparing_leaves_both_modules_and_the_switches_as_they_were():
    torch_module, jax_module = own_pair()
    before = (
        {n: p.clone() for n, p in torch_module.named_parameters()},
        nnx.state(jax_module),
        jax.config.jax_enable_x64,
    )
    crosscheck.compare(torch_module, jax_module, INPUTS, rules=RULES, train=True)
    assert all(torch.equal(p, before[0][n]) and p.grad is None for n, p in torch_module.named_parameters())
    assert jax.tree.all(jax.tree.map(np.array_equal, nnx.state(jax_module), before[1]))
    assert jax.config.jax_enable_x64 == before[2]
    assert torch_module.training


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_value_on_one_side_is_located_and_never_averaged_away(value):
    torch_module, jax_module = own_pair()
    with torch.no_grad():
        torch_module.fc2.bias[2] = value
    report = crosscheck.compare(torch_module, jax_module, INPUTS, rules=RULES)
    output = next(row for row in report.rows if row.tensor == "output.logits")
    assert not output.agrees
    assert output.worst_index[1] == 2
    json.loads(report.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_nan_on_both_sides_does_not_pass():
    report = crosscheck.compare(torch.sqrt, jnp.sqrt, -np.ones(3))
    assert not report.agrees


def test_an_output_without_its_counterpart_is_refused():
    with pytest.raises(IsogradError, match="same nesting"):
        crosscheck.compare(lambda x: (x, x), lambda x: x, INPUTS)


@pytest.mark.parametrize(
    ("twin", "changed", "words"),
    [
        ("Transformer", {"inputs": np.full((5, 11), 99)}, "torch module Transformer.*IndexError"),
        ("Transformer", {"mask": np.ones((5, 3), bool)}, "torch module Transformer fails on these inputs"),
        ("GRU", {"inputs": np.ones((5, 11, 4))}, "torch module GRU fails on these inputs"),
    ],
)
def test_inputs_that_a_module_refuses_are_named_in_one_sentence(twin, changed, words):
    pair = crosscheck.build_pair(twin)
    with pytest.raises(IsogradError, match=words) as caught:
        crosscheck.compare(pair.torch, pair.jax, {**pair.inputs, **changed})
    assert "\n" not in str(caught.value)


def test_outputs_of_other_shapes_disagree():
    assert not crosscheck.compare(lambda x: x.sum(0), lambda x: x.sum(0, keepdims=True), INPUTS).agrees


FAULTS = {  # planted in the JAX twin: (owner, name of the function or method, faulty version, twin that shows it)
    "wrong scale": (jax_attention, "attn_scaled", lambda A, n_embd, n_heads: A / n_embd**0.5, "MultiHeadedAttention"),
    "mask ignored": (
        jax_attention,
        "masked_softmax",
        lambda s, mask, axis: jax.nn.softmax(s, axis),
        "PreNormAttentionBlock",
    ),
    "mask after the softmax": (
        jax_attention,
        "masked_softmax",
        lambda s, mask, axis: jax.nn.softmax(s, axis) * (1 if mask is None else mask),
        "PostNormAttentionBlock",
    ),
    "values not detached": (
        jax_attention,
        "compute_outputs",
        lambda A, V: jnp.einsum("...ts,...sd->...td", jax.lax.stop_gradient(A), V),
        "MultiHeadedAttention",
    ),
    "update gate inverted": (
        jax_gru.GRUCell,
        "step",
        lambda self, projected, h: h - (STEP(self, projected, h) - h),
        "GRU",
    ),
    "variance unbiased": (
        jax_layer_norm.LayerNorm,
        "__call__",
        lambda self, inputs: NORM(self, inputs) * (inputs.shape[-1] - 1) ** 0.5 / inputs.shape[-1] ** 0.5,
        "LayerNorm",
    ),
    "lengths off by one": (
        jax_gru,
        "valid_steps",
        lambda inputs, lengths: VALID(inputs, None if lengths is None else lengths - 1),
        "GRU",
    ),
    "tanh gelu": (jax.nn, "gelu", lambda x, approximate: GELU(x, approximate=True), "MLP"),
}
STEP, VALID, NORM, GELU = jax_gru.GRUCell.step, jax_gru.valid_steps, jax_layer_norm.LayerNorm.__call__, jax.nn.gelu


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, dtype, monkeypatch):
    owner, name, faulty, twin = FAULTS[fault]
    pair = crosscheck.build_pair(twin, dtype=dtype)
    monkeypatch.setattr(owner, name, faulty)
    assert not crosscheck.compare(pair.torch, pair.jax, pair.inputs).agrees


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Embedding", "Encoder", "ReviewClassifierGRU"])
def test_a_gradient_of_the_padding_row_is_caught(name):
    found = []
    for case in cases(TWINS[name]):
        pair = crosscheck.build_pair(name, case=case)
        for _, layer in nnx.iter_modules(pair.jax):
            if hasattr(layer, "padding_idx"):
                layer.padding_idx = None
        report = crosscheck.compare(pair.torch, pair.jax, pair.inputs)
        found += [row.tensor for row in report.disagreements]
    assert any(tensor.endswith("weight") for tensor in found)


def test_a_swap_of_two_square_weights_is_caught():
    pair = crosscheck.build_pair("MultiHeadedAttention")
    pair.jax.q_proj, pair.jax.k_proj = pair.jax.k_proj, pair.jax.q_proj
    assert not crosscheck.compare(pair.torch, pair.jax, pair.inputs).agrees


def test_the_noise_of_a_precision_follows_from_random_roundings():
    pair = crosscheck.build_pair("MLP", dtype="bfloat16")
    bounds = {row.kind: row.bound for row in crosscheck.compare(pair.torch, pair.jax, pair.inputs).rows}
    assert roundings(1, "bfloat16") < bounds["output"] < roundings(16, "bfloat16")


def test_the_page_of_a_report_is_self_contained_and_names_every_tensor():
    pair = crosscheck.build_pair("GRUCell")
    report = crosscheck.compare(pair.torch, pair.jax, pair.inputs)
    page = report.to_html()
    assert "http" not in page
    assert all(row.tensor in page for row in report.rows)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_masks_fill_value_does_not_drown_the_other_entries(dtype):
    def filled(factor, cat, lowest):
        return lambda x: cat([factor * x, lowest(x)])

    torch_side = filled(1, torch.cat, lambda x: torch.full_like(x[:1], torch.finfo(x.dtype).min))
    jax_side = filled(2, jnp.concatenate, lambda x: jnp.full_like(x[:1], jnp.finfo(x.dtype).min))
    assert not crosscheck.compare(torch_side, jax_side, INPUTS.astype(dtype)).agrees


@pytest.mark.parametrize(
    ("call", "option", "words"),
    [
        (crosscheck.compare, {"gradient": False}, "compare has no option gradient: did you mean gradients"),
        (explain, {"rule": {}}, "explain has no option rule: did you mean rules"),
        (locate, {"xyz": 1}, "locate has no option xyz: there are "),
        (assert_twins_agree, {"budgets": 1}, "assert_twins_agree has no option budgets: did you mean budget"),
    ],
)
def test_an_unknown_option_is_refused_in_a_sentence(call, option, words):
    with pytest.raises(IsogradError, match=words):
        call(torch.sqrt, jnp.sqrt, np.ones(3), **option)
