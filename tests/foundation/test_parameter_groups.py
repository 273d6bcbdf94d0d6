"""Parameter groups: the first that fits a name takes it, every name has one, and none is written in vain."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.configs.optimizer import ParameterGroup
from shared.errors import IsogradError
from shared.parameter_groups import by_group, trainable_shapes

NAMES = ["embedding.weight", "blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.1.norm.bias", "classifier.bias"]
BIASES = ParameterGroup(("*.bias",), weight_decay=0.0)
NORMS = ParameterGroup(("*.norm.*",), rate_factor=0.5)
ALL = ParameterGroup(("*",), weight_decay=0.3)
FROZEN_NORMS = ParameterGroup(("*.norm.*",), trainable=False)
OWN = ParameterGroup(("*",))  # what the optimiser itself says
PATTERNS = st.sampled_from(
    ["*", "*.kernel", "*.bias", "*.weight", "*.norm.*", "blocks.?.*", "classifier.bias", "embedding.[vw]*"]
)
GROUPS = st.lists(
    st.lists(PATTERNS, min_size=1, max_size=3).map(lambda patterns: ParameterGroup(tuple(patterns))), max_size=4
)


def fits(name: str, group: ParameterGroup) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in group.patterns)


def fits_any(pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in NAMES)


def test_without_groups_all_parameters_are_the_optimisers_own():
    assert by_group(NAMES, []) == [(OWN, NAMES)]


def test_the_first_group_that_fits_takes_a_name_and_the_rest_comes_last():
    assert by_group(iter(NAMES), (BIASES, NORMS)) == [
        (BIASES, ["blocks.0.norm.bias", "blocks.1.norm.bias", "classifier.bias"]),
        (NORMS, ["blocks.0.norm.weight"]),
        (OWN, ["embedding.weight"]),
    ]
    assert by_group(NAMES, (NORMS, BIASES)) == [
        (NORMS, ["blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.1.norm.bias"]),
        (BIASES, ["classifier.bias"]),
        (OWN, ["embedding.weight"]),
    ]


def test_where_groups_take_every_name_there_is_no_rest():
    assert by_group(NAMES, (BIASES, ALL)) == [
        (BIASES, ["blocks.0.norm.bias", "blocks.1.norm.bias", "classifier.bias"]),
        (ALL, ["embedding.weight", "blocks.0.norm.weight"]),
    ]


def test_a_name_fits_a_group_by_any_of_its_patterns():
    group = ParameterGroup(("embedding.*", "*.0.*.bias"))
    assert by_group(NAMES, [group])[0] == (group, ["embedding.weight", "blocks.0.norm.bias"])


def test_case_counts():
    group = ParameterGroup(("A.*",))
    assert by_group(["a.bias", "A.bias"], [group]) == [(group, ["A.bias"]), (OWN, ["a.bias"])]


def test_two_groups_with_equal_settings_stay_two():
    groups = ParameterGroup(("*.norm.bias",)), ParameterGroup(("classifier.*",))
    assert [group for group, _ in by_group(NAMES, groups)] == [*groups, OWN]


@given(names=st.permutations(NAMES), groups=GROUPS)
def test_every_name_is_in_one_group_which_is_the_first_that_fits_it(names, groups):
    places = [next((i for i, group in enumerate(groups) if fits(name, group)), len(groups)) for name in names]
    members = [[name for name, place in zip(names, places, strict=True) if place == i] for i in range(len(groups) + 1)]
    if all(members[:-1]) and all(fits_any(pattern) for group in groups for pattern in group.patterns):
        expected = [*zip(groups, members[:-1], strict=True)] + [(OWN, members[-1])] * bool(members[-1])
        assert by_group(names, groups) == expected
    else:
        with pytest.raises(IsogradError):
            by_group(names, groups)


@pytest.mark.parametrize("pattern", ["*.kernel", "bias", "*.BIAS", "classifier.bias ", ""])
def test_a_pattern_that_fits_no_name_is_refused(pattern):
    with pytest.raises(IsogradError) as caught:
        by_group(NAMES, [BIASES, ParameterGroup(("*.norm.*", pattern))])
    assert str(caught.value) == (
        f"parameter groups: no parameter fits {pattern!r}: expected patterns of names such as embedding.weight, "
        "blocks.0.norm.weight, blocks.0.norm.bias"
    )


def test_all_patterns_that_fit_no_name_are_named_at_once():
    with pytest.raises(IsogradError, match=r"no parameter fits 'scale', '\*\.kernel':"):
        by_group(NAMES, [ParameterGroup(("scale", "*.bias")), ParameterGroup(("*.kernel",))])


@pytest.mark.parametrize("groups", [(ALL, BIASES), (BIASES, BIASES), (BIASES, ParameterGroup(("classifier.bias",)))])
def test_a_group_whose_names_all_went_to_earlier_ones_is_refused(groups):
    with pytest.raises(
        IsogradError, match=r"nothing is left for \('.*\.bias',\).*put groups with narrower patterns first"
    ):
        by_group(NAMES, groups)


def test_a_group_without_patterns_is_refused():
    with pytest.raises(IsogradError, match=r"nothing is left for \(\)"):
        by_group(NAMES, [ParameterGroup(())])


def test_parameters_outside_frozen_groups_are_trainable_and_keep_their_order():
    shapes = {name: (size,) for size, name in enumerate(NAMES, start=1)}
    assert list(trainable_shapes(shapes, ()).items()) == list(shapes.items())
    assert trainable_shapes(shapes, (FROZEN_NORMS, BIASES)) == {"embedding.weight": (1,), "classifier.bias": (5,)}
    left = trainable_shapes(shapes, (BIASES, FROZEN_NORMS))
    assert list(left) == ["embedding.weight", "blocks.0.norm.bias", "blocks.1.norm.bias", "classifier.bias"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"weight_decay": 0.0}, "weight_decay 0.0 of ('*.norm.*',)"),
        ({"rate_factor": 0.5}, "rate_factor 0.5 of ('*.norm.*',)"),
        (
            {"weight_decay": 0.1, "rate_factor": 0.0},
            "weight_decay 0.1 of ('*.norm.*',), rate_factor 0.0 of ('*.norm.*',)",
        ),
    ],
)
def test_a_frozen_group_with_its_own_decay_or_rate_is_refused(settings, named):
    with pytest.raises(IsogradError) as caught:
        by_group(NAMES, [BIASES, replace(FROZEN_NORMS, **settings)])
    assert str(caught.value) == (
        f"parameter groups: a frozen group can't use {named}: leave it out, or set trainable to True"
    )


@pytest.mark.parametrize("groups", [[ALL], [BIASES, ALL], [FROZEN_NORMS, BIASES, ALL]])
def test_groups_that_freeze_every_parameter_are_refused(groups):
    frozen = [ParameterGroup(group.patterns, trainable=False) for group in groups]
    with pytest.raises(IsogradError) as caught:
        by_group(NAMES, frozen)
    assert str(caught.value) == (
        "parameter groups: every parameter is frozen: expected at least one trainable parameter; narrow the "
        f"patterns of {', '.join(str(group.patterns) for group in frozen)}"
    )
