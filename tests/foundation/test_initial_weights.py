"""Initial weights: a function of (seed, name) and nothing else, with the distribution that the name calls for."""

import math
import zlib

import numpy as np
import pytest
from bounds import is_standard_normal, is_uniform

from shared.configs.clip import LOGIT_SCALE
from shared.errors import IsogradError
from shared.initial_weights import initial_weights, small_normal, small_normal_by_depth

SHAPES = {
    "encoder.embedding.weight": (400, 50),
    "encoder.rnn.forward_cells.0.input_proj.weight": (120, 30),
    "encoder.rnn.forward_cells.0.input_proj.bias": (120,),
    "encoder.rnn.forward_cells.0.hidden_proj.weight": (120, 40),
    "encoder.rnn.forward_cells.0.hidden_proj.bias": (120,),
    "decoder.cell.hidden_gates": (80, 40),
    "decoder.cell.hidden_candidate": (50, 64),
    "positions.weight": (1, 300, 20),
    "cls_token": (1, 1, 2000),
    "blocks.0.attention_norm.weight": (50,),
    "blocks.0.attention_norm.bias": (50,),
    "norm.weight": (50,),
    "norm.bias": (50,),
    "blocks.0.attention.q_proj.weight": (60, 25),
    "blocks.0.attention.q_proj.bias": (600,),
    "classifier.weight": (20, 100),
    "classifier.bias": (200,),
}
UNIFORM = {  # part of a name -> the bound: 1 / sqrt(hidden size) in a GRU, 1 / sqrt(inputs) elsewhere
    "forward_cells": 40**-0.5,
    "hidden_gates": 40**-0.5,
    "hidden_candidate": 64**-0.5,
    "q_proj": 25**-0.5,
    "classifier": 100**-0.5,
}
NORMAL = ("embedding.weight", "positions.weight", "cls_token")


def drawn(seed: int = 0, **options) -> dict[str, np.ndarray]:
    return initial_weights(SHAPES, seed, **options)


def names_with(*parts: str) -> list[str]:
    return [name for name in SHAPES if any(part in name for part in parts)]


def test_every_parameter_has_its_shape_and_the_requested_dtype():
    for dtype in (np.float32, np.float64):
        weights = drawn(dtype=dtype)
        assert {name: array.shape for name, array in weights.items()} == SHAPES
        assert {array.dtype for array in weights.values()} == {np.dtype(dtype)}


def test_float32_is_float64_rounded():
    wide, narrow = drawn(dtype=np.float64), drawn()
    for name in SHAPES:
        np.testing.assert_array_equal(narrow[name], wide[name].astype(np.float32))


def test_a_parameter_depends_on_neither_order_nor_other_parameters():
    together = drawn()
    backwards = initial_weights(dict(reversed(SHAPES.items())), 0)
    for name, array in together.items():
        np.testing.assert_array_equal(backwards[name], array)
        own_layer = {other: shape for other, shape in SHAPES.items() if other.startswith(name.rpartition(".")[0])}
        np.testing.assert_array_equal(initial_weights(own_layer, 0)[name], array)


def test_names_and_seeds_draw_different_numbers():
    shapes = {f"{letter}.weight": (7, 5) for letter in "abcdefgh"}
    draws = [array.tobytes() for seed in range(8) for array in initial_weights(shapes, seed).values()]
    assert len(set(draws)) == 64


def test_the_stream_is_numpys_by_seed_and_crc_so_that_runs_can_be_repeated_elsewhere():
    generator = np.random.default_rng([3, zlib.crc32(b"cls_token")])
    np.testing.assert_array_equal(
        initial_weights({"cls_token": (1, 1, 9)}, 3, np.float64)["cls_token"], generator.standard_normal((1, 1, 9))
    )


@pytest.mark.parametrize("part", UNIFORM)
def test_linear_maps_are_uniform_between_their_bounds_and_fill_them(part):
    for name in names_with(part):
        array, bound = drawn(dtype=np.float64)[name], UNIFORM[part]
        assert is_uniform(array, bound)


@pytest.mark.parametrize("name", names_with(*NORMAL))
def test_tables_positions_and_tokens_are_standard_normal(name):
    array = drawn(dtype=np.float64)[name].reshape(-1, SHAPES[name][-1])
    rows = array[1:] if "embedding" in name else array
    assert is_standard_normal(rows)


def test_only_the_first_row_of_a_token_table_the_padding_starts_at_zero():
    table = drawn()["encoder.embedding.weight"]
    assert not table[0].any()
    assert table[1:].all()
    assert drawn()["positions.weight"].all()


@pytest.mark.parametrize("name", names_with("norm"))
def test_norms_start_as_the_identity(name):
    assert (drawn()[name] == (1.0 if name.endswith("weight") else 0.0)).all()


def test_a_name_without_a_rule_is_reported_with_the_place_to_add_one():
    with pytest.raises(IsogradError, match=r"shared/initial_weights\.py .*'decoder\.temperature'.*add a row"):
        initial_weights({"decoder.temperature": (1,)}, 0)


def test_a_bias_without_its_weight_is_reported_by_name():
    with pytest.raises(IsogradError, match=r"'classifier\.bias'.*'classifier\.weight'"):
        initial_weights({"classifier.bias": (2,)}, 0)


@pytest.mark.parametrize(("blocks", "writes"), [(0, 2), (1, 2), (12, 24)])
def test_what_writes_to_the_residual_path_is_smaller_by_the_root_of_how_often_that_is(blocks, writes):
    shapes = {"out": (3, 2)} | {f"gpt.blocks.{n}.{part}.weight": (2,) for n in range(blocks) for part in ("a", "b")}
    found, plain = (law(np.random.default_rng(0), "out", shapes) for law in (small_normal_by_depth, small_normal))
    assert np.array_equal(found, plain / math.sqrt(writes))


def test_vectors_of_letters_are_as_long_whatever_their_width_and_clips_scale_is_its_own():
    found = initial_weights({"letters.characters.weight": (300, 20), "logit_scale": (2,)}, 0, np.float64)
    assert is_standard_normal(found["letters.characters.weight"] * math.sqrt(20))
    assert np.array_equal(found["logit_scale"], [LOGIT_SCALE] * 2)


@pytest.mark.parametrize("part", ["token", "position", "pair", "token_type", "patch"])
def test_tables_of_gpt_bert_and_clip_are_small(part):
    shapes = {"lm_head.weight": (300, 20), f"of.{part}_embedding.weight": (300, 20)}
    assert all(is_standard_normal(array / 0.02) for array in initial_weights(shapes, 0, np.float64).values())
