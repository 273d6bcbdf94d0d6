"""Building a twin: with drawn weights, abstract or empty, by one function a side, with one error for bad arguments."""

import inspect

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn import ModuleList

import torch_impl
from jax_impl import build as jax_build
from jax_impl import weights as jax_weights
from shared.errors import IsogradError
from shared.registry import TWINS
from torch_impl import build as torch_build
from torch_impl import weights as torch_weights

SIDES = {"torch": (torch_build, torch_weights), "jax": (jax_build, jax_weights)}
NAME = "Transformer"
TWIN = TWINS[NAME]


@pytest.mark.parametrize("side", SIDES)
def test_names_and_shapes_are_the_same_however_a_twin_is_built(side):
    build, weights = SIDES[side]
    drawn = weights.parameter_shapes(build.build_twin(TWIN, TWIN.arguments))
    assert drawn == weights.parameter_shapes(build.build_twin(TWIN, TWIN.arguments, abstract=True))
    assert drawn == weights.parameter_shapes(build.empty_twin(TWIN, TWIN.arguments))


@pytest.mark.parametrize("side", SIDES)
def test_a_drawn_twin_has_numbers(side):
    build, weights = SIDES[side]
    drawn = weights.to_arrays(build.build_twin(TWIN, TWIN.arguments))
    assert all(array.any() for name, array in drawn.items() if "norm" not in name)


def test_an_abstract_twin_has_no_memory():
    module = torch_build.build_twin(TWIN, TWIN.arguments, abstract=True)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    state = nnx.state(jax_build.build_twin(TWIN, TWIN.arguments, abstract=True), nnx.Param)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(state))


def test_an_empty_twin_of_torch_has_one_zero_a_parameter():
    module = torch_build.empty_twin(TWIN, TWIN.arguments)
    assert all(p.untyped_storage().nbytes() == p.element_size() for p in module.parameters())
    assert not any(array.any() for array in torch_weights.to_arrays(module).values())


def test_an_empty_twin_of_jax_has_no_numbers_until_it_has_weights():
    state = nnx.state(jax_build.empty_twin(TWIN, TWIN.arguments), nnx.Param)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(state))


def test_an_empty_twin_runs_once_it_has_weights():
    twin = TWINS["MLP"]
    x = np.random.default_rng(0).standard_normal((2, 3, 21)).astype(np.float32)
    torch_twin, jax_twin = (build.empty_twin(twin, twin.arguments) for build in (torch_build, jax_build))
    arrays = torch_weights.to_arrays(torch_build.build_twin(twin, twin.arguments))
    torch_weights.load_arrays(torch_twin, arrays)
    jax_weights.load_arrays(jax_twin, arrays)
    torch_twin.eval()
    jax_twin.eval()
    assert torch_twin(torch.from_numpy(x)).any()
    assert jax_twin(jax.numpy.asarray(x)).any()


@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_arguments_that_a_twin_does_not_take_are_named(side, abstract):
    with pytest.raises(IsogradError, match=r"Linear can't be built with the arguments .*'colour': 3"):
        SIDES[side][0].build_twin(TWINS["Linear"], {**TWINS["Linear"].arguments, "colour": 3}, abstract)


WITH_LAYERS = [
    name
    for name in {twin.public_name for twin in TWINS.values() if not twin.function}
    if "ModuleList" in inspect.getsource(getattr(torch_impl, name))
]


@pytest.mark.parametrize("name", sorted(WITH_LAYERS))
def test_every_list_of_layers_is_longer_than_one_in_some_twin(name):
    """What is wrong from the second layer on is seen in no twin of one."""
    twins = [twin for twin in TWINS.values() if twin.public_name == name]
    built = [torch_build.build_twin(twin, twin.arguments) for twin in twins]
    lists = [(key, inner) for each in built for key, inner in each._modules.items() if isinstance(inner, ModuleList)]
    assert lists
    assert {key for key, inner in lists if len(inner) > 1} == {key for key, _ in lists}
