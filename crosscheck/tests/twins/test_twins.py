"""Every pair of twins agrees, in every case, mode and dtype, and with its formula; both behave as SPEC says in edge
cases."""

import functools
import itertools
import re
from dataclasses import asdict, replace

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import torch
from bounds import is_share, is_standard_normal, is_uniform
from flax import nnx
from places import ROOT
from processor import skip_unless_compiled
from proofs import assert_proven
from wholes import LAYERS_OF_LAYERS, MODELS_OF_LAYERS, WHOLES

import crosscheck
import jax_impl
import torch_impl
from crosscheck.runs.compare_runs import trainable
from crosscheck.twins import suite
from crosscheck.twins.formulas.table import evaluate
from jax_impl import build as jax_build
from jax_impl.weights import parameter_shapes as jax_shapes
from shared.configs.gpt import PRESETS
from shared.errors import IsogradError
from shared.example_inputs import cases
from shared.registry import TWINS
from torch_impl import build as torch_build
from torch_impl.weights import parameter_shapes as torch_shapes

COUNTS = [  # SPEC.md, section 2
    ("ReviewClassifierGRU", {"encoder_only": True}, 8_603_650),
    ("ReviewClassifierGRU", {"with_attention": False}, 8_998_402),
    ("ReviewClassifierGRU", {}, 9_195_522),
    ("ReviewClassifierTransformer", {}, 8_672_258),
    ("ReviewClassifierTransformer", {"block": "postnorm"}, 8_672_258),
    ("ReviewClassifierTransformer", {"num_layers": 4}, 9_463_810),
    ("ReviewClassifierGRU", {"num_classes": 5}, 9_196_293),
    ("ReviewClassifierTransformer", {"num_classes": 5}, 8_673_029),
    ("BertForSentenceClassification", {"num_classes": 5}, 109_486_085),
    *(
        ("GPT", {**asdict(config), "vocabulary_size": 50257}, count)
        for config, count in ((PRESETS["nano"], 2_546_400), (PRESETS["gpt2"], 124_439_808))
    ),
]


def product_of_twins_and_dtypes():
    """Below float64 a model or a variant shows what its layers show: their product with the dtypes is exhaustive. So
    are modules in float16, which the noise rule holds as it holds them in bfloat16; functions are in every dtype.
    """
    for name, dtype in itertools.product(TWINS, suite.DTYPES):
        is_composed = TWINS[name].module.startswith("models.") or name != TWINS[name].public_name
        marks = [pytest.mark.slow] * (not TWINS[name].function)
        is_short = dtype == "float16" and not TWINS[name].function
        is_shown = dtype != "float64" and (is_composed or name in LAYERS_OF_LAYERS)
        marks += [pytest.mark.exhaustive] * (name in WHOLES or is_short or is_shown)
        yield pytest.param(name, dtype, marks=marks)


def checks_of_a_model(name, are_first):
    """Those of odd sizes in float64 come first; the others show what the model's layers show."""
    return [each for each in of_one_twin(name, "float64") if (each.case == "odd_sizes") == are_first]


def of_one_twin(name, dtype):
    """What is planned for a twin, without its variants: they have their own tests. One that drops nothing is the same
    in training, which is checked.
    """
    of_it = [each for each in suite.planned([name], [dtype]) if each.twin == name]
    is_same = not TWINS[name].function and not drops(name)
    return [each for each in of_it if not is_same or (each.case, each.mode) != ("odd_sizes", "eval")]


@functools.cache
def drops(name):
    layers = torch_build.build_twin(TWINS[name], TWINS[name].arguments, abstract=True).modules()
    return any(isinstance(layer, torch_impl.dropout.Dropout) for layer in layers)


MODELLED = [
    path
    for side in ("torch_impl", "jax_impl")
    for pattern in ("dropout.py", "layers/**/*.py", "models/**/*.py")
    for path in (ROOT / side).glob(pattern)
]
SPECIFIED = (("odd_sizes", "eval"), ("odd_sizes", "train"))


def assert_as_specified(report):
    """What JAX computed is what the formula says; the torch twin meets it in every case (test_specification.py)."""
    ours, theirs = report.recordings
    _, inputs = ours.arguments
    assert_proven(theirs.values, evaluate(report.name, ours.values.parameters, inputs, ours.options))


@pytest.mark.parametrize(("name", "dtype"), list(product_of_twins_and_dtypes()))
def test_twins_agree(name, dtype):
    skip_unless_compiled(dtype)
    is_first = dtype == "float64" and name in MODELS_OF_LAYERS
    for planned in checks_of_a_model(name, True) if is_first else of_one_twin(name, dtype):
        is_specified = dtype == "float64" and (planned.case, planned.mode) in SPECIFIED
        report = replace(planned, keep_values=is_specified).run()
        assert report.agrees, str(report)
        if is_specified:
            assert_as_specified(report)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(MODELS_OF_LAYERS))
def test_models_agree_in_every_other_case(name):
    for planned in checks_of_a_model(name, False):
        report = planned.run()
        assert report.agrees, str(report)


def test_only_dropout_reads_whether_it_is_trained():
    readers = [path for path in MODELLED if re.search(r"\.training\b|\bdeterministic\b", path.read_text())]
    assert readers == [path for path in MODELLED if path.name == "dropout.py"]
    assert [drops(name) for name in ("MLP", "GRU")] == [True, False]


def test_every_case_of_a_model_is_one_of_a_layer_whose_test_is_not_exhaustive():
    of_layers = {
        check.case
        for name, twin in TWINS.items()
        if twin.module.startswith("layers.") and name not in WHOLES | MODELS_OF_LAYERS
        for check in of_one_twin(name, "float64")
    }
    others = [check for name in MODELS_OF_LAYERS for check in checks_of_a_model(name, False)]
    assert {check.case for check in others} <= of_layers
    assert {(check.dtype, check.mode) for check in others} == {("float64", "eval")}


def test_shapes_are_checked_here():
    with pytest.raises(jaxtyping.TypeCheckError):
        torch_impl.merge_heads(torch.zeros(3))
    with pytest.raises(jaxtyping.TypeCheckError):
        jax_impl.merge_heads(jnp.zeros(3))


def test_every_twin_is_planned_in_every_case_and_mode():
    planned = {(check.twin, check.case, check.mode) for check in suite.planned(["*"], ["float64"])}
    expected = {(name, case, "eval") for name, twin in TWINS.items() for case in cases(twin)}
    expected |= {(name, "odd_sizes", "train") for name, twin in TWINS.items() if not twin.function}
    expected |= {(name, "odd_sizes", "run") for name in filter(trainable, TWINS)}
    assert planned == expected


@pytest.mark.parametrize(("name", "arguments", "count"), COUNTS)
def test_parameter_counts_are_those_of_the_specification(name, arguments, count):
    shapes = torch_shapes(torch_build.build_twin(TWINS[name], arguments, abstract=True))
    assert shapes == jax_shapes(jax_build.build_twin(TWINS[name], arguments, abstract=True))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == count


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_a_row_that_is_masked_throughout_attends_to_nothing(side):
    pair = crosscheck.build_pair("MultiHeadedAttention", case="masked_row")
    asarray = torch.from_numpy if side == "torch" else jnp.asarray
    module = getattr(pair, side)
    heads = [module.split_heads(asarray(pair.inputs["hidden_states"]))] * 3
    mask = asarray(pair.inputs["mask"])
    assert not np.asarray(module.apply_attention(*heads, mask))[0].any()
    assert not np.asarray(module.get_attention_weights(*heads[:2], mask))[0].any()


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_padding_changes_no_other_output_of_masked_attention(side):
    pair = crosscheck.build_pair("MultiHeadedAttention")
    asarray = torch.from_numpy if side == "torch" else jnp.asarray
    x, mask = pair.inputs["hidden_states"].copy(), pair.inputs["mask"]
    module = getattr(pair, side)
    before = module(asarray(x), asarray(mask))
    x[~mask] = 1e6
    after = module(asarray(x), asarray(mask))
    assert np.array_equal(
        np.asarray(before.detach() if side == "torch" else before)[mask],
        np.asarray(after.detach() if side == "torch" else after)[mask],
    )


@pytest.mark.parametrize("heads", [1, 3])
def test_merge_heads_is_the_inverse_of_split_heads(heads):
    x = np.random.default_rng(0).standard_normal((2, 5, 3 * 7))
    split = torch_impl.split_heads(torch.from_numpy(x), heads)
    assert torch.equal(torch_impl.merge_heads(split), torch.from_numpy(x))
    assert split[1, heads - 1, 2, 1] == x[1, 2, (heads - 1) * (21 // heads) + 1]  # index head * d + k
    assert np.array_equal(jax_impl.merge_heads(jax_impl.split_heads(jnp.asarray(x), heads)), jnp.asarray(x))


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_packed_outputs_are_zero_after_the_length_and_ignore_what_stands_there(side):
    pair = crosscheck.build_pair("BidirectionalGRU")
    asarray = torch.from_numpy if side == "torch" else jnp.asarray
    module, inputs = getattr(pair, side), dict(pair.inputs)
    lengths = inputs["lengths"]
    inside = np.arange(inputs["inputs"].shape[1]) < lengths[:, None]
    changed = {**inputs, "inputs": np.where(inside[..., None], inputs["inputs"], 9.0)}
    both = [module(*map(asarray, given.values())) for given in (inputs, changed)]
    outputs, states = ([np.asarray(o[i].detach() if side == "torch" else o[i]) for o in both] for i in (0, 1))
    assert np.array_equal(*outputs)
    assert np.array_equal(*states)
    assert not outputs[0][~inside].any()


def test_init_qkv_proj_gives_three_independent_square_maps_on_both_sides():
    torch_maps = torch_impl.init_qkv_proj(6)
    jax_maps = jax_impl.init_qkv_proj(6, rngs=nnx.Rngs(0))
    for maps in (torch_maps, jax_maps):
        assert len({id(each) for each in maps}) == 3
    assert all(tuple(each.weight.shape) == (6, 6) for each in torch_maps)
    assert all(each.kernel.shape == (6, 6) for each in jax_maps)


@pytest.mark.parametrize("side", ["torch", "jax"])
@pytest.mark.parametrize("name", ["GRU", "Linear", "LayerNorm", "Embedding", "LearnedPositions"])
def test_a_fresh_module_draws_what_the_specification_says(name, side):
    sizes = {
        "GRU": (40, 50),
        "Linear": (40, 50),
        "LayerNorm": (50,),
        "Embedding": (400, 50, 0),
        "LearnedPositions": (400, 50),
    }
    if side == "torch":
        arrays = torch_impl.to_arrays(getattr(torch_impl, name)(*sizes[name]))
    else:
        arrays = jax_impl.to_arrays(getattr(jax_impl, name)(*sizes[name], rngs=nnx.Rngs(0)))
    bounds = {"GRU": 50**-0.5, "Linear": 40**-0.5}
    for key, array in arrays.items():
        if name in bounds:  # uniform between the bounds, and filling them
            assert is_uniform(array, bounds[name])
        elif name == "LayerNorm":
            assert (array == (1.0 if key == "weight" else 0.0)).all()
        else:
            rows = array.reshape(-1, 50)
            assert not rows[0].any() if name == "Embedding" else rows[0].any()
            assert is_standard_normal(rows[1:])


@pytest.mark.parametrize("build", [
    lambda: torch_impl.Transformer(embed_dim=10, num_heads=3, vocabulary_size=7),
    lambda: jax_impl.Transformer(embed_dim=10, num_heads=3, vocabulary_size=7, rngs=nnx.Rngs(0)),
], ids=["torch", "jax"])  # fmt: skip
def test_a_width_that_heads_do_not_divide_is_refused_with_both_numbers(build):
    with pytest.raises(IsogradError, match=r"embed_dim 10 and num_heads 3"):
        build()


def test_dropout_masks_are_equal_differ_by_layer_and_step_and_keep_the_right_share():
    masks = {}
    for step, rate in itertools.product((0, 1), (0.3, 0.5)):
        key = torch_impl.dropout.rng.fold_in((0, 7), step)
        torch_layer = torch.nn.Sequential(torch_impl.Dropout(rate), torch_impl.Dropout(rate))
        jax_layers = nnx.List([jax_impl.Dropout(rate, rngs=nnx.Rngs(0)) for _ in range(2)])
        torch_impl.seed_dropout(torch_layer, key)
        jax_impl.seed_dropout(jax_layers, key)
        for index in (0, 1):
            ours = torch_layer[index](torch.ones(100, 99)).numpy()
            assert np.array_equal(ours, np.asarray(jax_layers[index](jnp.ones((100, 99), jnp.float32))))
            masks[step, rate, index] = ours.tobytes()
            assert is_share(np.count_nonzero(ours == 0), ours.size, rate)
    assert len(set(masks.values())) == len(masks)


def test_without_a_key_dropout_is_the_frameworks_own():
    torch.manual_seed(0)
    assert (torch_impl.Dropout(0.5)(torch.ones(999)) == 0).any()
    assert (jax_impl.Dropout(0.5, rngs=nnx.Rngs(0))(jnp.ones(999)) == 0).any()
