"""Example inputs: the shapes of the registry's descriptions, in every case, for different arguments too."""

import numpy as np
import pytest
from bounds import is_standard_normal

from shared.example_inputs import cases, example_inputs
from shared.registry import BATCH, CLASSES, STEPS, TWINS

SQUARE = ("apply_causal_mask", "contrastive_loss")  # by design, as images and masks over one sequence are
EVERY_CASE = [(name, case) for name, twin in TWINS.items() for case in cases(twin)]


@pytest.mark.parametrize("name", TWINS)
def test_no_two_axes_of_an_array_have_the_same_size(name):
    for key, array in example_inputs(TWINS[name]).items():
        is_square = name in SQUARE or key == "pixels" or TWINS[name].inputs[key].startswith("visible")
        assert len(set(array.shape)) == array.ndim or is_square


@pytest.mark.parametrize(("name", "case"), EVERY_CASE)
def test_inputs_are_a_function_of_the_seed_and_have_plain_dtypes(name, case):
    first, again, other = (example_inputs(TWINS[name], case, seed) for seed in (0, 0, 1))
    for key, array in first.items():
        np.testing.assert_array_equal(array, again[key])
        assert array.dtype in (np.float64, np.int64, np.bool_)
        drawn = array.dtype == np.float64 and key not in ("weights", "mask")  # which follow a pattern
        assert not drawn or not np.array_equal(array, other[key])


def test_a_variant_has_one_case_and_a_layer_with_a_mask_those_that_make_sense_for_it():
    assert cases(TWINS["GRU:two_layers"]) == ["odd_sizes"]
    of_all, of_masks = ["odd_sizes", "one_step", "one_example"], ["masked_row", "fractional_mask"]
    assert cases(TWINS["MultiHeadedAttention"]) == [*of_all, *of_masks, "far_scores"]
    assert cases(TWINS["LayerNorm"]) == [*of_all, "mean_5000", "equal_entries"]
    assert cases(TWINS["Encoder"]) == [*of_all, "length_0"]
    assert cases(TWINS["make_causal_mask"]) == ["odd_sizes"]
    assert "masked_row" not in cases(TWINS["apply_causal_mask"])  # no row of a causal mask is masked throughout


def test_the_sources_of_a_translator_end_at_places_of_their_own():
    mask = example_inputs(TWINS["Translator"])["source_mask"]
    assert mask.sum(1).tolist() == [mask.shape[1] - 2 * row for row in range(len(mask))]


def test_each_case_is_what_its_name_says():
    attention, norm = TWINS["MultiHeadedAttention"], TWINS["LayerNorm"]
    shapes = {case: example_inputs(attention, case)["hidden_states"].shape for case in cases(attention)}
    assert shapes["odd_sizes"] == shapes["masked_row"] == (BATCH, STEPS, 21)
    assert shapes["one_step"] == (BATCH, 1, 21)
    assert shapes["one_example"] == (1, STEPS, 21)
    assert example_inputs(attention, "one_example").keys() == {"hidden_states"}
    assert not example_inputs(attention, "masked_row")["mask"][0].any()
    assert {example_inputs(attention, case)["mask"].dtype for case in ("odd_sizes", "masked_row")} == {
        np.dtype(bool),
        np.dtype(np.int64),
    }
    assert example_inputs(TWINS["cross_entropy"], "large_scores")["logits"].min() > np.log(np.finfo(np.float64).max)
    assert set(example_inputs(attention, "fractional_mask")["mask"].flat) == {0.0, -0.25, 0.5, -0.75, 1.0}
    assert example_inputs(attention)["mask"].any(axis=1).all()
    far = example_inputs(TWINS["attn_softmax"], "far_scores")["A"]
    assert np.exp(-np.ptp(far[1::2]), dtype=np.float32) == 0
    assert is_standard_normal(far[::2])
    assert not np.ptp(example_inputs(TWINS["predicted_classes"], "equal_entries")["logits"], axis=-1).any()
    assert not np.ptp(example_inputs(norm, "equal_entries")["inputs"], axis=-1).any()
    assert np.ptp(example_inputs(norm, "equal_entries")["inputs"])
    assert example_inputs(TWINS["GRU"], "length_0")["lengths"][0] == 0
    assert is_standard_normal(example_inputs(norm, "mean_5000")["inputs"] - 5000)


def test_masks_of_more_axes_hide_some_keys_of_some_queries():
    axes = {"mask_of_3_axes": (3, STEPS, STEPS), "mask_of_4_axes": (BATCH, 1, STEPS, STEPS)}
    for variant, shape in axes.items():
        mask = example_inputs(TWINS[f"MultiHeadedAttention:{variant}"])["mask"]
        assert mask.shape == shape
        assert mask.dtype == bool
        assert set(mask.flat) == {False, True}


def test_ids_masks_and_lengths_are_consistent():
    inputs = example_inputs(TWINS["ReviewClassifierGRU"])
    np.testing.assert_array_equal(inputs["inputs"] > 0, inputs["mask"])
    np.testing.assert_array_equal(inputs["mask"].sum(axis=1), inputs["lengths"])
    assert inputs["mask"][-1].all()
    assert not inputs["mask"].all()
    assert not example_inputs(TWINS["ReviewClassifierGRU"], "one_example")["inputs"].all()  # it has padding too
    np.testing.assert_array_equal(example_inputs(TWINS["apply_causal_mask"])["mask"], np.tri(STEPS, dtype=bool))


def test_labels_are_classes_and_weights_have_padding_rows():
    labels = example_inputs(TWINS["cross_entropy"])["labels"]
    assert set(labels) == set(range(CLASSES))  # otherwise a missing class would pass
    weights = {case: example_inputs(TWINS["weighted_mean"], case)["weights"] for case in cases(TWINS["weighted_mean"])}
    assert not weights["odd_sizes"].all()
    assert len(set(weights["odd_sizes"])) > len({0.0, 1.0})  # otherwise a mean that only counts rows would pass
    assert np.array_equal(weights["odd_sizes"], [0 if row % 2 else 2 / (2 + row) for row in range(BATCH)])
    assert weights["one_example"].all()
    assert not weights["no_real_row"].any()


def test_different_arguments_give_fitting_inputs():
    sizes = {"input_size": 4, "hidden_size": 6, "num_layers": 3}
    shapes = {key: a.shape for key, a in example_inputs(TWINS["BidirectionalGRU"], arguments=sizes).items()}
    assert shapes == {"inputs": (BATCH, STEPS, 4), "hidden_states": (6, BATCH, 6), "lengths": (BATCH,)}
    ids = example_inputs(TWINS["Transformer"], arguments={"vocabulary_size": 3, "sequence_length": 2})["inputs"]
    assert ids.shape == (BATCH, 2)
    assert ids.max() == 2
