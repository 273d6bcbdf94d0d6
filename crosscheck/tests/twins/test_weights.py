"""Canonical arrays: both frameworks read and write the same names, layouts and bytes, and refuse what does not fit."""

import functools

import ml_dtypes
import numpy as np
import pytest

from jax_impl import build as jax_build
from jax_impl import weights as jax_weights
from shared import checkpoint
from shared.errors import WeightsError
from shared.registry import TWINS
from torch_impl import build as torch_build
from torch_impl import weights as torch_weights

pytestmark = pytest.mark.usefixtures("float64_in_jax")

CLASSES = [name for name, twin in TWINS.items() if not twin.function]
WITHOUT_PARAMETERS = ("SinusoidalPositions", "SimpleAttentionFree", "RandomFeatureAttention")
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64}
SIDES = {"torch": (torch_build, torch_weights), "jax": (jax_build, jax_weights)}
MODEL = "MultiHeadedAttention"  # square weights, whose shape a missing transpose would not change


@functools.cache
def names_and_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return torch_weights.parameter_shapes(torch_build.build_twin(TWINS[name], TWINS[name].arguments, abstract=True))


def random_arrays(name: str, dtype: str) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        key: generator.standard_normal(shape).astype(DTYPES[dtype]) for key, shape in names_and_shapes(name).items()
    }


def module_of(side: str, name: str, abstract: bool = False):
    return SIDES[side][0].build_twin(TWINS[name], TWINS[name].arguments, abstract)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes(), name
        assert found[name].flags.c_contiguous


@pytest.mark.parametrize("name", CLASSES)
def test_both_frameworks_have_the_same_names_and_shapes(name):
    assert jax_weights.parameter_shapes(module_of("jax", name, abstract=True)) == names_and_shapes(name)
    assert bool(names_and_shapes(name)) == (name not in WITHOUT_PARAMETERS)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("side", SIDES)
def test_arrays_come_back_to_the_byte_in_every_dtype_also_through_a_file(side, name, tmp_path):
    module = module_of(side, name, abstract=side == "jax")  # JAX: parameters are replaced, so abstract ones will do
    for dtype in DTYPES:
        arrays = random_arrays(name, dtype)
        SIDES[side][1].load_arrays(module, arrays)
        assert_same(SIDES[side][1].to_arrays(module), arrays)
        checkpoint.save(tmp_path / dtype, SIDES[side][1].to_arrays(module), {})
        assert_same(checkpoint.load(tmp_path / dtype)[0], arrays)


def test_linear_weights_are_transposed_between_the_frameworks_and_nothing_else_is():
    arrays = random_arrays("GRU", "float64")
    module = module_of("jax", "GRU")
    jax_weights.load_arrays(module, arrays)
    cell = module.cells[0].input_proj
    np.testing.assert_array_equal(np.asarray(cell.kernel[...]), arrays["cells.0.input_proj.weight"].T)
    np.testing.assert_array_equal(np.asarray(cell.bias[...]), arrays["cells.0.input_proj.bias"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
def test_module_and_arrays_share_no_memory(side, dtype):
    module, weights = module_of(side, MODEL), SIDES[side][1]
    arrays = random_arrays(MODEL, dtype)
    kept = {name: array.copy() for name, array in arrays.items()}
    weights.load_arrays(module, arrays)
    for array in arrays.values():
        array[:] = 0
    assert_same(weights.to_arrays(module), kept)
    for array in weights.to_arrays(module).values():
        array[:] = 0
    assert_same(weights.to_arrays(module), kept)


def test_changing_a_torch_module_in_place_changes_no_array_taken_from_it():
    import torch

    module = module_of("torch", MODEL)
    torch_weights.load_arrays(module, random_arrays(MODEL, "float64"))
    arrays = torch_weights.to_arrays(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert_same(arrays, random_arrays(MODEL, "float64"))


@pytest.mark.parametrize("side", SIDES)
def test_all_that_does_not_fit_is_told_at_once_and_the_module_is_unchanged(side):
    module, weights = module_of(side, MODEL), SIDES[side][1]
    before = weights.to_arrays(module)
    arrays = random_arrays(MODEL, "float32")
    del arrays["q_proj.bias"], arrays["k_proj.weight"]
    arrays |= {"stray": np.ones(2, np.float32), "rotary.table": np.ones(2, np.float32)}
    arrays["v_proj.weight"] = np.ones((3, 5), np.float32)
    arrays["out_proj.bias"] = np.ones((7,), np.float32)
    with pytest.raises(WeightsError) as caught:
        weights.load_arrays(module, arrays)
    sentence = str(caught.value)
    assert "missing q_proj.bias, k_proj.weight;" in sentence or "missing k_proj.weight, q_proj.bias;" in sentence
    assert "unused stray, rotary.table;" in sentence
    assert "v_proj.weight (expected (21, 21), got (3, 5))" in sentence
    assert "out_proj.bias (expected (21,), got (7,))" in sentence
    assert_same(weights.to_arrays(module), before)


def test_jax_refuses_float64_arrays_rather_than_rounding_them():
    import jax

    module = module_of("jax", MODEL)
    before = jax_weights.to_arrays(module)
    last = list(before)[-1]
    arrays = {**before, last: before[last].astype(np.float64)}
    with jax.enable_x64(False), pytest.raises(WeightsError, match="jax_enable_x64"):
        jax_weights.load_arrays(module, arrays)
    assert_same(jax_weights.to_arrays(module), before)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
@pytest.mark.parametrize("side", SIDES)
def test_arrays_that_hold_no_floats_are_refused_in_the_same_error(side, dtype):
    module, weights = module_of(side, MODEL), SIDES[side][1]
    before = weights.to_arrays(module)
    arrays = random_arrays(MODEL, "float32")
    del arrays["k_proj.bias"]
    arrays["q_proj.bias"] = np.ones(21, dtype)
    with pytest.raises(WeightsError, match=rf"missing k_proj\.bias; .*not floats q_proj\.bias \({dtype}\)"):
        weights.load_arrays(module, arrays)
    assert_same(weights.to_arrays(module), before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
def test_a_parameter_without_axes_stays_without_axes(side, dtype, tmp_path):
    import jax
    import torch
    from flax import nnx

    module = torch.nn.Module() if side == "torch" else nnx.Module()
    module.temperature = torch.nn.Parameter(torch.ones(())) if side == "torch" else nnx.Param(jax.numpy.ones(()))
    weights, arrays = SIDES[side][1], {"temperature": np.array(2.5, DTYPES[dtype])}
    weights.load_arrays(module, arrays)
    assert_same(weights.to_arrays(module), arrays)
    checkpoint.save(tmp_path / "w", weights.to_arrays(module), {})
    assert_same(checkpoint.load(tmp_path / "w")[0], arrays)
