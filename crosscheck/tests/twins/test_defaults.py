"""The default of every argument is that of SPEC.md: no check sees a default that is wrong on both sides."""

import inspect
from dataclasses import fields

import pytest

import jax_impl
import torch_impl
from jax_impl import build as jax_build
from shared.configs.encoder import EncoderConfig
from shared.errors import IsogradError
from shared.registry import TWINS
from torch_impl import build as torch_build

FUSED = {"implementation": "fused"}
OF_GRUS = {
    "vocabulary_size": 30522,
    "embedding_size": 256,
    "hidden_size": 256,
    "num_layers": 1,
    "dropout": 0.0,
    **FUSED,
}
OF_TRANSFORMERS = {
    "vocabulary_size": 30522,
    "sequence_length": 256,
    "embed_dim": 256,
    "hidden_dim": 256,
    "num_heads": 4,
    "num_layers": 2,
    "block": "prenorm",
    "dropout": 0.3,
}
DEFAULTS = {  # of SPEC.md, sections 1 and 2; all other arguments must be given
    "Linear": {"bound": None},
    "Embedding": {"padding_idx": None},
    "LayerNorm": {"eps": 1e-5},
    "GRU": {"num_layers": 1, **FUSED},
    "BidirectionalGRU": {"num_layers": 1, **FUSED},
    "Attn": {"hidden_size": 256, "dropout": 0.0, "pooling": "none"},
    "Encoder": OF_GRUS,
    "DecoderAttn": {**OF_GRUS, "with_attention": True},
    "EncoderDecoder": {**OF_GRUS, "encoder_only": False, "with_attention": True},
    "ReviewClassifierGRU": {**OF_GRUS, "encoder_only": False, "with_attention": True, "num_classes": 2},
    "MLP": {"dropout": 0.0},
    "PreNormAttentionBlock": {"dropout": 0.0},
    "PostNormAttentionBlock": {"dropout": 0.0},
    "Transformer": OF_TRANSFORMERS,
    "ReviewClassifierTransformer": {**OF_TRANSFORMERS, "num_classes": 2},
    "NormalLinear": {"deviation": 0.02},
    "NormalEmbedding": {"padding_idx": None},
    "RNNAttentionDecoder": {"attention_type": "scaled_dot"},
    "PostNormFeedForward": {"dropout": 0.0},
    "PostNormEncoder": {"dropout": 0.0},
    "PostNormDecoder": {"dropout": 0.0},
    "PostNormTransformer": {"dropout": 0.0},
    "PositionedLetters": {"dropout": 0.0},
    "LinearRNN": {"backward": "by_hand"},
    "projected_attention": {"normalised": True},
    "self_attention": {"n_heads": 1, "causal": True},
}
REFUSED = (  # what no component can be built with, and how it says so
    ("GRU", {"implementation": "fuse"}, "unknown implementation 'fuse': did you mean 'fused'"),
    ("BidirectionalGRU", {"implementation": "fuse"}, "unknown implementation 'fuse': did you mean 'fused'"),
    ("LinearRNN", {"backward": "by_han"}, "unknown backward 'by_han': did you mean 'by_hand'"),
    ("RNNAttentionDecoder", {"attention_type": "additiv"}, "unknown attention 'additiv': did you mean 'additive'"),
    ("Transformer", {"block": "prenom"}, "unknown block 'prenom': did you mean 'prenorm'"),
    (
        "Transformer",
        {"embed_dim": 10, "num_heads": 3},
        "divisible by num_heads, got embed_dim 10 and num_heads 3",
    ),
    ("BertModel", {"activation": "gelo"}, "unknown activation 'gelo': did you mean 'gelu'"),
    ("BertModel", {"pooler_activation": "tan"}, "unknown pooler_activation 'tan': did you mean 'tanh'"),
    ("BertForMaskedLM", {"activation": "gelo"}, "unknown activation 'gelo': did you mean 'gelu'"),
    ("BertForMaskedLM", {"head_activation": "gelo"}, "unknown head_activation 'gelo': did you mean 'gelu'"),
    ("BertModel", {"positions": "absolut"}, "unknown positions 'absolut': did you mean 'absolute'"),
)
NAMES = sorted({twin.public_name for twin in TWINS.values()})


@pytest.mark.parametrize("package", [torch_impl, jax_impl], ids=["torch", "jax"])
@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_specification(name, package):
    twin = getattr(package, name)
    arguments = inspect.signature(twin.__init__ if inspect.isclass(twin) else twin).parameters.values()
    found = {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}
    assert found == DEFAULTS.get(name, {})


MADE = {  # what takes the options of a model
    name: twin.config or getattr(torch_impl, twin.public_name)
    for name, twin in TWINS.items()
    if twin.config or twin.task
}


@pytest.mark.parametrize("made", sorted(set(MADE.values()), key=lambda made: made.__name__))
def test_every_option_of_a_model_is_another_than_its_default_in_some_twin(made):
    """An option that a model leaves out has its default: no check sees it where that is what was asked for."""
    arguments = inspect.signature(made).parameters.values()
    defaults = {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}
    twins = [TWINS[name].arguments for name in MADE if MADE[name] is made]
    asked = {option for sizes in twins for option in sizes if sizes[option] != defaults.get(option)}
    assert not defaults.keys() - asked


def test_no_option_of_one_tower_of_clip_is_that_of_the_other():
    sizes = TWINS["CLIPModel"].arguments
    texts = {name: value for name, value in sizes.items() if name.startswith("text_")}
    assert texts.keys() == {f"text_{field.name}" for field in fields(EncoderConfig) if field.name != "dropout"}
    assert not {name for name, value in texts.items() if sizes[name.replace("text", "vision")] == value}


@pytest.mark.parametrize("build", [torch_build, jax_build], ids=["torch", "jax"])
@pytest.mark.parametrize(("name", "wrong", "sentence"), REFUSED)
def test_what_no_component_can_be_built_with_is_refused_alike(name, wrong, sentence, build):
    with pytest.raises(IsogradError, match=sentence):
        build.build_twin(TWINS[name], {**TWINS[name].arguments, **wrong}, abstract=True)
