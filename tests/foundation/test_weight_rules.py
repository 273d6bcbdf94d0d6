"""Weight rules: names and axes as in PyTorch, permuted back to the byte; one error for everything that does not fit."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_impl.weights import to_tensor
from shared.errors import IsogradError, WeightsError
from shared.weight_rules import (
    canonical_name,
    canonical_shape,
    check_arrays,
    check_names,
    from_canonical,
    to_canonical,
)

NAMES = [
    (("classifier", "kernel"), "classifier.weight"),
    (("embedding", "embedding"), "embedding.weight"),
    (("blocks", 1, "attention_norm", "scale"), "blocks.1.attention_norm.weight"),
    (("rnn", "cells", 0, "hidden_proj", "bias"), "rnn.cells.0.hidden_proj.bias"),
    (("cls_token",), "cls_token"),
]
LAYOUTS = [  # (in, out) -> (out, in), and the spatial axes of a convolution from the front to the end
    (("kernel",), (2, 3), (3, 2)),
    (("kernel",), (5, 2, 3), (3, 2, 5)),
    (("kernel",), (5, 7, 2, 3), (3, 2, 5, 7)),
    (("kernel",), (5, 7, 11, 2, 3), (3, 2, 5, 7, 11)),
    (("kernel",), (2,), (2,)),
    (("weight",), (2, 3), (2, 3)),
    (("embedding",), (2, 3), (2, 3)),
    (("bias",), (), ()),
]
SHAPES = st.lists(st.integers(0, 4), max_size=6).map(tuple)
PATHS = st.sampled_from([("a", "kernel"), ("a", 0, "bias"), ("embedding",), ("scale",), ("kernel",)])


@pytest.mark.parametrize(("path", "name"), NAMES)
def test_a_path_becomes_the_name_that_pytorch_gives(path, name):
    assert canonical_name(path) == name


@pytest.mark.parametrize(("path", "shape", "expected"), LAYOUTS)
def test_axes_are_in_the_order_of_pytorch(path, shape, expected):
    assert canonical_shape(path, shape) == expected
    assert to_canonical(path, np.zeros(shape)).shape == expected


def test_a_kernel_of_two_axes_is_transposed():
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(to_canonical(("kernel",), array), array.T)
    np.testing.assert_array_equal(from_canonical(("kernel",), array), array.T)


@given(path=PATHS, shape=SHAPES, seed=st.integers(0, 9))
def test_permuting_there_and_back_keeps_every_byte_and_what_is_canonical_is_contiguous(path, shape, seed):
    array = np.random.default_rng(seed).standard_normal(shape).astype(ml_dtypes.bfloat16)
    canonical = to_canonical(path, array)
    assert canonical.shape == canonical_shape(path, shape)
    back = from_canonical(path, canonical)
    assert (back.shape, back.dtype, back.tobytes()) == (array.shape, array.dtype, array.tobytes())
    assert canonical.flags.c_contiguous


@pytest.mark.parametrize("check", [check_names, check_arrays])
def test_one_error_lists_everything_that_does_not_fit(check):
    arrays = {"a": np.ones((2, 3)), "c": np.ones(1), "d": np.ones(1)}
    with pytest.raises(WeightsError) as caught:
        check({"a": (3, 2), "b": (1,), "d": (1,)}, arrays, "the model")
    sentence = str(caught.value)
    assert sentence.startswith("weights do not fit the model: missing b; unused c; ")
    assert "wrong shape a (expected (3, 2), got (2, 3))" in sentence
    assert isinstance(caught.value, IsogradError)
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_arrays_of_floats_that_fit_pass(dtype):
    check_arrays({"a": (2,)}, {"a": np.ones(2, dtype)}, "the model")


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "object", "<U3", ">f4"])
def test_arrays_that_are_not_floats_are_named_in_the_same_error(dtype):
    with pytest.raises(WeightsError, match=r"missing b; .*not floats .*a \(") as caught:
        check_arrays({"a": (2,), "b": (1,), "c": (1,)}, {"a": np.ones(2, dtype), "c": np.ones(1)}, "the model")
    assert "c (" not in str(caught.value)


def test_a_check_of_names_ignores_dtypes():
    check_names({"step": ()}, {"step": np.array(3)}, "a training state")


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(), (0, 3), (3,), (33, 7), (64, 100), (2, 3, 4)])
def test_an_array_of_jax_has_a_memory_of_its_own_whatever_the_order_of_the_axes(shape, dtype):
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for source in (array, array.T):
        made, expected = to_tensor(source), np.array(source)
        source[...] = 0
        assert np.array_equal(np.asarray(made), expected)
        source[...] = expected
