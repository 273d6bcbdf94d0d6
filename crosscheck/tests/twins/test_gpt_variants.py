"""Ablations of GPT: none sees a later token, a cache changes no token, and what has no causal form is refused."""

from dataclasses import asdict

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from proofs import SIDES

import crosscheck
import torch_impl
from shared.configs.gpt import GPTConfig
from shared.errors import IsogradError
from shared.registry import TWINS
from torch_impl import build

LEAKS = "CausalSelfAttention:zeroed"  # what it writes hangs on places that hold no token yet
VARIANTS = [name for name in TWINS if name.startswith("CausalSelfAttention:") and name != LEAKS]
CHANGES = {name: TWINS[name].arguments for name in (*VARIANTS, "GPT:sinusoidal", "GPT:without_positions")}
SETTINGS = ("attention", "similarity", "shared", "projection", "positions")
ROW = 2


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", VARIANTS)
def test_no_output_changes_with_a_later_step(name, side):
    pair = crosscheck.build_pair(name)
    module = getattr(pair, side)
    module.eval()
    changed = pair.inputs["x"].copy()
    changed[:, ROW + 1 :] += 1
    array = torch.tensor if side == "torch" else jnp.asarray
    before, after = (module(array(x)) for x in (pair.inputs["x"], changed))
    before, after = (np.asarray(y.detach() if side == "torch" else y) for y in (before, after))
    assert np.array_equal(before[:, : ROW + 1], after[:, : ROW + 1])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("name", CHANGES)
def test_a_cache_gives_the_tokens_of_no_cache(name):
    changes = {setting: CHANGES[name][setting] for setting in SETTINGS if setting in CHANGES[name]}
    sizes = {"vocabulary_size": 31, "sequence_length": 16, "embed_dim": 12, "num_heads": 3, "num_layers": 2}
    torch.manual_seed(0)
    module = build.build_twin(TWINS["GPT"], asdict(GPTConfig(**sizes, **changes))).double()
    for parameter in module.parameters():
        parameter.data *= 20  # so that a wrong position changes what is likeliest
    prompts = np.array([[3, 1, 4, 1, 5], [2, 7, 0, 0, 0]])
    found = [torch_impl.generate(module, prompts, lengths=[5, 2], steps=20, cache=cache) for cache in (True, False)]
    assert torch.equal(*found)


def test_a_linformer_has_no_causal_form():
    with pytest.raises(IsogradError, match="a linformer has no causal form: .* would read tokens to come"):
        GPTConfig(attention="linformer")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"similarity": "cosin"}, "unknown similarity 'cosin': did you mean 'cosine'"),
        ({"projection": "mlps"}, "unknown projection 'mlps': did you mean 'mlp'"),
        ({"attention": "attention_fre"}, "unknown attention 'attention_fre': did you mean 'attention_free'"),
        (
            {"attention": "random_features", "similarity": "cosine"},
            "computes no similarities, so 'cosine' has no effect",
        ),
        ({"shared": "vk"}, "unknown shared 'vk': did you mean"),
        ({"positions": "rotory"}, "unknown positions 'rotory': did you mean 'rotary'"),
        ({"positions": "rotary"}, "expected heads of an even width, got 7"),
    ],
)
def test_settings_that_make_no_model_are_refused(wrong, sentence):
    with pytest.raises(IsogradError, match=sentence):
        build.build_twin(TWINS["GPT"], TWINS["GPT"].arguments | wrong)
