"""Weights of torch.nn.GRU, nn.MultiheadAttention and Flax's cells convert to our layers and back bit for bit."""

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from flax import linen, traverse_util

from crosscheck.criterion import prove
from jax_impl import build as jax_build
from jax_impl.weights import load_arrays as load_jax
from shared.errors import IsogradError, WeightsError
from shared.foreign_layouts import LAYOUTS, REFUSED, from_foreign, to_foreign, written_out
from shared.foreign_tables import Row
from shared.registry import TWINS
from torch_impl import build as torch_build
from torch_impl.weights import load_arrays as load_torch
from torch_impl.weights import parameter_shapes, to_numpy

pytestmark = pytest.mark.usefixtures("float64_in_jax")

OURS = {  # layout -> twin and arguments that it is a layout of
    "torch.nn.GRU": ("GRU", {"input_size": 5, "hidden_size": 7, "num_layers": 3}),
    "torch.nn.GRU(bidirectional=True)": ("BidirectionalGRU", {"input_size": 5, "hidden_size": 7, "num_layers": 2}),
    "torch.nn.MultiheadAttention": ("MultiHeadedAttention", {"head_size": 5, "num_heads": 3}),
    "flax.linen.GRUCell": ("GRUCell", {"input_size": 5, "hidden_size": 7}),
    "torch.nn.GRUCell": ("GRUCell", {"input_size": 5, "hidden_size": 7}),
}
GPT_SIZES = {"vocabulary_size": 11, "sequence_length": 7, "embed_dim": 6, "num_heads": 2, "num_layers": 3}
OURS |= {
    "transformers.GPT2Model": ("GPT", GPT_SIZES),
    "transformers.GPT2LMHeadModel": ("GPT", GPT_SIZES),
    "transformers.GPT2LMHeadModel(tie_word_embeddings=False)": ("GPT", {**GPT_SIZES, "tied": False}),
}
OURS["torch.nn.Transformer"] = (
    "PostNormTransformer",
    {"embed_dim": 6, "hidden_dim": 5, "num_heads": 2, "num_layers": 2},
)
BARE = {  # layers without a twin or gates: the paths of their cells
    "torch.nn.RNN": ("cells.0.",),
    "torch.nn.RNN(bidirectional=True)": ("forward_cells.0.", "backward_cells.0."),
    "torch.nn.RNNCell": ("",),
    "flax.linen.SimpleCell": ("",),
    "flax.nnx.SimpleCell": ("",),
}
LSTMS = {  # layers without a twin: the paths of their cells, with four gates each
    "torch.nn.LSTM": ("cells.0.",),
    "torch.nn.LSTM(bidirectional=True)": ("forward_cells.0.", "backward_cells.0."),
    "torch.nn.LSTMCell": ("",),
    "flax.linen.LSTMCell": ("",),
    "flax.nnx.LSTMCell": ("",),
    "flax.nnx.OptimizedLSTMCell": ("",),
}
LSTM_CELL = {
    "input_proj.weight": (28, 5),
    "hidden_proj.weight": (28, 7),
    "input_proj.bias": (28,),
    "hidden_proj.bias": (28,),
}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape)


def pair_of(layout: str):
    """Both twins in float64, with meaningless values until weights are loaded."""
    name, arguments = OURS[layout]
    return [build.build_twin(TWINS[name], arguments) for build in (torch_build, jax_build)]


def canonical_shapes(layout: str) -> dict[str, tuple[int, ...]]:
    if layout in BARE:
        cells = {name: (7, *shape[1:]) for name, shape in LSTM_CELL.items()}
        return {f"{cell}{name}": shape for cell in BARE[layout] for name, shape in cells.items()}
    if layout in LSTMS:
        return {f"{cell}{name}": shape for cell in LSTMS[layout] for name, shape in LSTM_CELL.items()}
    name, arguments = OURS[layout]
    return parameter_shapes(torch_build.build_twin(TWINS[name], arguments, abstract=True))


def random_canonical(layout: str, dtype: str = "float64") -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = {key: generator.standard_normal(shape).astype(dtype) for key, shape in canonical_shapes(layout).items()}
    if layout == "flax.linen.GRUCell":
        arrays["hidden_proj.bias"][:14] = 0
    if layout.startswith("flax.") and layout in LSTMS:
        arrays["input_proj.bias"][:] = 0
    if layout.startswith("flax.") and layout in BARE:
        arrays["hidden_proj.bias"][:] = 0
    return arrays


def state_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: to_numpy(tensor) for name, tensor in module.state_dict().items()}


def assert_equal_outputs(ours, theirs) -> None:
    for our, their in zip(ours, theirs, strict=True):
        our, their = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (our, their))
        assert our.shape == their.shape
        assert prove(their, our, floor=0.0).agrees


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.c_contiguous


@pytest.mark.parametrize(("layout", "layers"), [("torch.nn.GRU", 3), ("torch.nn.GRU(bidirectional=True)", 2)])
def test_the_weights_of_torch_gru_give_its_outputs_in_both_twins(layout, layers):
    both_ways = "bidirectional" in layout
    theirs = torch.nn.GRU(5, 7, layers, bidirectional=both_ways, batch_first=True, dtype=torch.float64)
    canonical = from_foreign(layout, state_of(theirs))
    inputs = normal(4, 6, 5)
    states = normal(layers * (1 + both_ways), 4, 7)
    expected = theirs(torch.tensor(inputs), torch.tensor(states))
    torch_twin, jax_twin = pair_of(layout)
    load_torch(torch_twin, canonical)
    load_jax(jax_twin, canonical)
    assert_equal_outputs(torch_twin(torch.tensor(inputs), torch.tensor(states)), expected)
    assert_equal_outputs(jax_twin(jax.numpy.array(inputs), jax.numpy.array(states)), expected)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in to_foreign(layout, canonical).items()})


def test_a_row_outside_of_the_layers_stands_once():
    table = Row("scale", "scale"), Row("w{}", "layers.{}.weight"), Row("top.w{}", "top.layers.{}.weight")
    rows = written_out(table, ["scale", "w0", "w1", "w2", "top.w0", "top.w1"], foreign=True)
    assert sorted(row.foreign for row in rows) == ["scale", "top.w0", "top.w1", "w0", "w1", "w2"]


def test_the_weights_of_torch_attention_give_its_outputs_in_both_twins():
    theirs = torch.nn.MultiheadAttention(15, 3, batch_first=True, dtype=torch.float64)
    torch.nn.init.normal_(theirs.in_proj_bias)  # torch initialises it to zero
    torch.nn.init.normal_(theirs.out_proj.bias)
    canonical = from_foreign("torch.nn.MultiheadAttention", state_of(theirs))
    x = normal(4, 6, 15)
    mask = np.arange(6) < np.array([[6], [3], [1], [5]])
    tensor = torch.tensor(x)
    expected = theirs(tensor, tensor, tensor, key_padding_mask=torch.tensor(~mask), need_weights=False)[:1]
    torch_twin, jax_twin = pair_of("torch.nn.MultiheadAttention")
    load_torch(torch_twin, canonical)
    load_jax(jax_twin, canonical)
    assert_equal_outputs([torch_twin(tensor, torch.tensor(mask))], expected)
    assert_equal_outputs([jax_twin(jax.numpy.array(x), jax.numpy.array(mask))], expected)


def test_the_weights_of_a_linen_cell_give_its_outputs_in_both_twins():
    theirs = linen.GRUCell(7, param_dtype=np.float64, dtype=np.float64, bias_init=linen.initializers.normal())
    x, h = normal(4, 5), normal(4, 7)
    parameters = theirs.init(jax.random.key(0), h, x)
    flat = traverse_util.flatten_dict(parameters["params"], sep="/")
    canonical = from_foreign("flax.linen.GRUCell", {name: np.asarray(leaf) for name, leaf in flat.items()})
    expected = theirs.apply(parameters, h, x)[1:]
    torch_twin, jax_twin = pair_of("flax.linen.GRUCell")
    load_torch(torch_twin, canonical)
    load_jax(jax_twin, canonical)
    assert_equal_outputs([torch_twin(torch.tensor(x), torch.tensor(h))], expected)
    assert_equal_outputs([jax_twin(jax.numpy.array(x), jax.numpy.array(h))], expected)
    assert_same(to_foreign("flax.linen.GRUCell", canonical), {name: np.asarray(leaf) for name, leaf in flat.items()})


@pytest.mark.parametrize("dtype", ["float32", "float64", ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_and_back_is_the_same_to_the_byte(layout, dtype):
    canonical = random_canonical(layout, dtype)
    foreign = to_foreign(layout, canonical)
    assert_same(from_foreign(layout, foreign), canonical)
    assert_same(to_foreign(layout, from_foreign(layout, foreign)), foreign)


@pytest.mark.parametrize("gate", [0, 1])
def test_a_linen_cell_has_no_hidden_bias_on_its_gates_so_weights_with_one_are_refused(gate):
    canonical = random_canonical("flax.linen.GRUCell")
    canonical["hidden_proj.bias"][7 * gate + 3] = 1e-300
    with pytest.raises(IsogradError, match=f"no place for part {gate + 1} of 3 of hidden_proj.bias"):
        to_foreign("flax.linen.GRUCell", canonical)


@pytest.mark.parametrize("layout", [layout for layout in LSTMS if layout.startswith("flax.")])
def test_a_flax_lstm_has_one_bias_for_two_so_weights_with_both_are_refused(layout):
    canonical = random_canonical(layout)
    canonical["input_proj.bias"][3] = 1e-300
    with pytest.raises(IsogradError, match="no place for part 1 of . of input_proj.bias, which must be zero"):
        to_foreign(layout, canonical)


@pytest.mark.parametrize("convert", [from_foreign, to_foreign])
def test_the_nnx_cell_is_refused_with_the_reason(convert):
    assert "flax.nnx.GRUCell" in REFUSED
    with pytest.raises(IsogradError, match="no bias b_hn"):
        convert("flax.nnx.GRUCell", {})


@pytest.mark.parametrize("convert", [from_foreign, to_foreign])
def test_an_unknown_layout_names_the_nearest(convert):
    with pytest.raises(IsogradError, match=r"did you mean 'torch.nn.GRU'"):
        convert("torch.nn.GRUs", {})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("foreign", [True, False])
def test_missing_and_unused_names_are_told_together(layout, foreign):
    arrays = random_canonical(layout)
    arrays = to_foreign(layout, arrays) if foreign else arrays
    missing = list(arrays)[1]
    arrays = {name: array for name, array in arrays.items() if name != missing} | {"stray": np.ones(3)}
    with pytest.raises(WeightsError, match=f"missing {missing}; unused stray"):
        (from_foreign if foreign else to_foreign)(layout, arrays)


def test_another_layer_is_no_form_of_a_layout():
    arrays = to_foreign("torch.nn.MultiheadAttention", random_canonical("torch.nn.MultiheadAttention"))
    with pytest.raises(WeightsError) as error:
        from_foreign("torch.nn.GRUCell", arrays)
    assert "these are the names of" not in str(error.value)


TWO_TOWERS = (  # a table that begins outside of its layers, and has two lists of them
    Row("words", "text.embedding.weight"),
    *(Row(f"{tower}_{{}}_{kind}", f"{tower}.blocks.{{}}.{kind}") for tower in ("text", "image") for kind in ("w", "b")),
    Row("head", "head.weight", transposed=True),
)
DEPTHS = {"text": 3, "image": 2}


@pytest.fixture
def two_towers(monkeypatch):
    monkeypatch.setitem(LAYOUTS, "two towers", TWO_TOWERS)
    blocks = [f"{tower}.blocks.{n}.{kind}" for tower, depth in DEPTHS.items() for n in range(depth) for kind in "wb"]
    names = ("text.embedding.weight", *blocks, "head.weight")
    return {name: normal(2, 3) + number for number, name in enumerate(names)}


@pytest.mark.parametrize("foreign", [True, False])
def test_a_head_that_a_layout_lacks_names_the_layout_that_has_it(foreign):
    layout, untied = (f"transformers.GPT2LMHeadModel{form}" for form in ("", "(tie_word_embeddings=False)"))
    arrays = random_canonical(untied)
    arrays = to_foreign(untied, arrays) if foreign else arrays
    with pytest.raises(WeightsError, match=r"unused lm_head.weight; these .* of .*\(tie_word_embeddings=False\)$"):
        (from_foreign if foreign else to_foreign)(layout, arrays)


def test_layers_are_counted_row_by_row_and_a_row_outside_of_them_stands_once(two_towers):
    foreign = to_foreign("two towers", two_towers)
    assert foreign.keys() == {"words", "head"} | {
        f"{tower}_{n}_{kind}" for tower, depth in DEPTHS.items() for n in range(depth) for kind in "wb"
    }
    assert_same(from_foreign("two towers", foreign), two_towers)


@pytest.mark.parametrize("missing", ["text_1_w", "text_2_b", "image_0_w", "words"])
def test_an_array_that_one_of_several_layers_lacks_is_missing(two_towers, missing):
    foreign = to_foreign("two towers", two_towers)
    del foreign[missing]
    with pytest.raises(WeightsError, match=f"missing {missing}; unused none"):
        from_foreign("two towers", foreign)


def test_a_gru_without_biases_is_refused_by_name():
    theirs = torch.nn.GRU(5, 7, bias=False)
    with pytest.raises(WeightsError, match="missing bias_ih_l0, bias_hh_l0"):
        from_foreign("torch.nn.GRU", state_of(theirs))


def test_parts_that_do_not_pair_up_are_refused():
    canonical = random_canonical("torch.nn.MultiheadAttention")
    canonical["q_proj.weight"] = canonical["q_proj.weight"].astype(np.float32)
    with pytest.raises(WeightsError, match="the parts of in_proj_weight differ in shape or dtype"):
        to_foreign("torch.nn.MultiheadAttention", canonical)
    foreign = to_foreign("torch.nn.MultiheadAttention", random_canonical("torch.nn.MultiheadAttention"))
    foreign["in_proj_weight"] = foreign["in_proj_weight"][:-1]
    with pytest.raises(WeightsError, match="expected the first axis of in_proj_weight to be a multiple of 3"):
        from_foreign("torch.nn.MultiheadAttention", foreign)


def test_numbers_of_layers_may_have_two_digits():
    module = torch_build.build_twin(TWINS["GPT"], {**GPT_SIZES, "num_layers": 12}, abstract=True)
    arrays = {name: normal(*shape) for name, shape in parameter_shapes(module).items()}
    foreign = to_foreign("transformers.GPT2Model", arrays)
    assert np.array_equal(foreign["h.11.ln_1.weight"], arrays["blocks.11.attention_norm.weight"])
    assert_same(from_foreign("transformers.GPT2Model", foreign), arrays)
