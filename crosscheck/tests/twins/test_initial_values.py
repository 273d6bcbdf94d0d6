"""Constructors of both twins draw as SPEC.md says; no check sees it, since both sides get equal weights.

Where weights come from (seed, name), as in every run, the tests of shared/initial_weights.py cover them.
"""

import re

import numpy as np
import pytest
import torch
from bounds import is_of_one_law

import jax_impl
import torch_impl
from crosscheck.faults.fault import Change
from crosscheck.faults.planting import planted
from jax_impl import build as jax_build
from shared.registry import TWINS
from torch_impl import build as torch_build

CLASSES = [name for name, twin in TWINS.items() if not twin.function]

LINEAR, CELL = "bound = in_features**-0.5 if", "self.input_proj = Linear(input_size, 3 * hidden_size, bound=hidden"
DRAWS = {
    "torch": "torch.randn(vocabulary_size, embedding_size)",
    "jax": "jax.random.normal(rngs.params(), (vocabulary_size, embedding_size), jnp.float32)",
}
PADDING = {
    "torch": ("nn.init.zeros_(self.weight[padding_idx])", "pass"),
    "jax": ("table if padding_idx is None else table.at[padding_idx].set(0.0)", "table"),
}
MISTAKES = [  # (twin, file, what each side reads, what it should not read)
    ("Attn", "layers/linear.py", LINEAR, LINEAR.replace("in_", "out_")),
    ("Attn", "layers/linear.py", LINEAR, LINEAR.replace("0.5", "1")),
    ("GRUCell", "layers/gru.py", CELL, CELL.replace("bound=hidden", "bound=input")),
    ("LayerNorm", "layers/layer_norm.py", "ones(hidden_size", "zeros(hidden_size"),
    ("Embedding", "layers/embedding.py", DRAWS, {s: f"{draw} * embedding_size**-0.5" for s, draw in DRAWS.items()}),
    ("Embedding", "layers/embedding.py", *({s: pair[i] for s, pair in PADDING.items()} for i in (0, 1))),
]


def uniform(fan):
    """U(-1 / sqrt(n), 1 / sqrt(n)); n of a name and all shapes."""
    return lambda generator, name, shapes: generator.uniform(
        -(fan(name, shapes) ** -0.5), fan(name, shapes) ** -0.5, shapes[name]
    )


def small_normal(generator, name, shapes):
    return 0.02 * generator.standard_normal(shapes[name])


GPTS = r"^(GPT|GPTBlock|CausalSelfAttention|FeedForward|AttentionFree|NonlinearProjection|MLPProjection)\.(.*\.)?"


def normal_by_width(generator, name, shapes):
    return generator.standard_normal(shapes[name]) / shapes[name][-1] ** 0.5


ENCODERS = r"^(Bert\w+|CLIP\w+|P\w+NormLayer|SelfAttention|ActivatedMLP)\.(.*\.)?"
LAWS = (  # of SPEC.md; the first pattern found in "class.name" applies
    (GPTS + r"out_proj\.weight$", lambda *drawn: small_normal(*drawn) / 2),  # sqrt(2 L), L = 2
    (GPTS + r"(\w_proj|in_proj|last_proj|lm_head|\w+_embedding)\.weight$|^Normal\w+\.weight$", small_normal),
    (GPTS + r"\w+_proj\.bias$|^NormalLinear\.bias$", lambda generator, name, shapes: np.zeros(shapes[name])),
    (ENCODERS + r"(\w+_proj|pooler|head|\w+_embedding)\.weight$|^PatchEmbedding\.weight$", small_normal),
    (ENCODERS + r"(\w+_proj|pooler|head|head_)\.?bias$", lambda generator, name, shapes: np.zeros(shapes[name])),
    (r"^Projection|_projection|class_embedding$|^PositionedLetters|letters\.characters", normal_by_width),
    (r"logit_scale$", lambda generator, name, shapes: np.float32([2.6592])[0] + np.zeros(shapes[name])),
    (r"hidden_(gates|candidate)$", uniform(lambda name, shapes: shapes[name][-1])),
    (r"(input|hidden)_proj", uniform(lambda name, shapes: shapes[name][0] // 3)),
    (
        r"([Ee]mbedding|[Pp]ositions|characters)\.weight$|cls_token$",
        lambda generator, name, shapes: generator.standard_normal(shapes[name]),
    ),
    (r"[Nn]orm(s\.\d)?\.weight$", lambda generator, name, shapes: np.ones(shapes[name])),
    (r"[Nn]orm(s\.\d)?\.bias$", lambda generator, name, shapes: np.zeros(shapes[name])),
    (r"", uniform(lambda name, shapes: shapes[re.sub("bias$", "weight", name)][-1])),
)


def specified(twin, shapes):
    """Every parameter drawn anew; row 0 of an embedding is zero where it is that of padding."""
    generator, drawn = np.random.default_rng(0), {}
    for name in shapes:
        law = next(law for pattern, law in LAWS if re.search(pattern, f"{twin.public_name}.{name}"))
        drawn[name] = law(generator, name, shapes)
        if f"{twin.public_name}.{name}".endswith("mbedding.weight") and not has_no_padding(twin):
            drawn[name][0] = 0.0
    return drawn


def has_no_padding(twin) -> bool:
    return re.search("Transformer|GPT|Normal|Bert|CLIP|Patch|CausalSelf|AttentionFree", twin.public_name) is not None


def differences(name: str) -> set[str]:
    twin = TWINS[name]
    torch.manual_seed(0)
    sides = (
        torch_impl.to_arrays(torch_build.build_twin(twin, twin.arguments)),
        jax_impl.to_arrays(jax_build.build_twin(twin, twin.arguments)),
    )
    expected = specified(twin, {name: array.shape for name, array in sides[0].items()})
    return {name for arrays in sides for name in expected if not is_of_one_law(arrays[name], expected[name])}


@pytest.mark.parametrize("name", CLASSES)
def test_both_sides_draw_initial_values_by_the_law_of_the_specification_for(name):
    assert not differences(name)


@pytest.mark.parametrize("sides", [("torch",), ("jax",), ("torch", "jax")], ids="+".join)
@pytest.mark.parametrize(("name", "file", "old", "new"), MISTAKES)
def test_a_mistake_in_initial_values_is_seen_on_one_side_or_on_both(sides, name, file, old, new):
    texts = {side: [text if isinstance(text, str) else text[side] for text in (old, new)] for side in sides}
    with planted([Change(f"{side}_impl/{file}", *texts[side]) for side in sides]):
        assert differences(name)
