"""What the GRU layers of a run are computed by is told, and why; a GPU's kernel serves what it was measured for."""

from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backend_cases import make_backend
from flax import nnx

from jax_impl.layers import gru as jax_grus
from jax_impl.layers import persistent_gru as jax_kernels
from shared.backend import PACKAGES
from shared.configs.experiment import ModelConfig
from shared.gru_plan import kernel_of, plan_for, refusal, runs_as
from shared.registry import find_twin
from torch_impl.layers import gru as torch_grus
from torch_impl.layers import persistent_gru as torch_kernels

SIZES = {"vocabulary_size": 5, "embedding_size": 4, "hidden_size": 6}
H200 = {"is_narrow": True, "hidden_size": 512, "itemsize": 2, "capability": (9, 0), "processors": 132}
REFUSED = {
    "no GPU": ({"capability": None}, "no GPU for which Triton is installed"),
    "another GPU": ({"capability": (8, 0)}, "the kernel is for H100 and H200"),
    "float64": ({"is_narrow": False, "itemsize": 8}, "the kernel is for float32 and narrower numbers"),
    "a large state": ({"hidden_size": 2049}, "the kernel is for up to 2048 units"),
    "a seventh of a GPU": ({"processors": 15}, "the programs of a group don't fit on this part of a GPU together"),
}
MODULES = {"torch": torch_kernels, "jax": jax_kernels}
NAMES = ("float64", "float32", "float16", "bfloat16")
DTYPES = {
    "torch": dict(zip(NAMES, (torch.float64, torch.float32, torch.float16, torch.bfloat16), strict=True)),
    "jax": {name: jnp.dtype(name) for name in NAMES},
}


def on_an_h200(module, monkeypatch):
    """A device that the module takes for one."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: H200["capability"])
    of_torch = SimpleNamespace(multi_processor_count=H200["processors"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: of_torch)
    monkeypatch.setattr(module, "capability", lambda: H200["capability"], raising=False)
    of_jax = Mock(spec=jax.Device, platform="gpu", core_count=H200["processors"])
    return torch.device("cuda") if module is torch_kernels else of_jax


def drawn(shape, seed):
    """Small whole numbers in float32."""
    return np.float32(np.random.default_rng(seed).integers(-4, 5, shape))


@pytest.mark.parametrize("name", ["GRU", "BidirectionalGRU"])
@pytest.mark.parametrize("implementation", ["library", "fused"])
def test_only_a_fused_layer_may_be_our_kernel(name, implementation, monkeypatch):
    inputs, asked = drawn((2, 3, 4), 0), []
    for module, to, rngs in ((torch_grus, torch.from_numpy, {}), (jax_grus, jnp.asarray, {"rngs": nnx.Rngs(0)})):
        layer = getattr(module, name)(4, 6, implementation=implementation, **rngs)
        layers = module.fused_gru

        def recorded(*given, layers=layers):
            asked.append(given[-1])
            return layers(*given)

        monkeypatch.setattr(module, "fused_gru", recorded)
        layer(to(inputs))
    assert asked == [implementation == "fused"] * 2


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("implementation", ["reference", "library", "fused"])
def test_a_run_tells_what_its_layers_run_as_and_why(name, implementation):
    model = ModelConfig("ReviewClassifierGRU", {**SIZES, "implementation": implementation})
    told = make_backend(name, model=model).describe()[f"{name}_gru"]
    library = {"torch": "PyTorch's loop", "jax": "a loop of XLA"}[name]
    assert (
        told
        == {
            "reference": "step by step, by --implementation reference",
            "library": f"{library}, by --implementation library",
            "fused": f"{library}: no GPU for which Triton is installed",
        }[implementation]
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_a_model_without_such_layers_tells_nothing_of_them(name):
    twin = "ReviewClassifierTransformer"
    described = make_backend(name, model=ModelConfig(twin, find_twin(twin).arguments)).describe()
    assert f"{name}_gru" not in described


@pytest.mark.parametrize(("changed", "words"), REFUSED.values(), ids=REFUSED)
def test_the_kernel_says_why_it_does_not_serve(changed, words):
    assert refusal(**{**H200, **changed}) == words
    assert runs_as("fused", words, "cuDNN", "one kernel") == f"cuDNN: {words}"


@pytest.mark.parametrize("hidden_size", [1, 16, 257, 512, 513, 2048])
@pytest.mark.parametrize("itemsize", [2, 4])
def test_the_kernel_serves_a_whole_gpu(hidden_size, itemsize):
    assert refusal(**{**H200, "hidden_size": hidden_size, "itemsize": itemsize}) == ""
    assert runs_as("fused", "", "cuDNN", "one kernel") == "one kernel"


@pytest.mark.parametrize("name", PACKAGES)
def test_dtype_size_and_compiler_decide_which_kernel_serves(name, monkeypatch):
    module = MODULES[name]
    device = on_an_h200(module, monkeypatch)
    dtypes = DTYPES[name]
    told = {each: module.why_not(dtype, 256, device) for each, dtype in dtypes.items()}
    assert told == {**dict.fromkeys(NAMES, ""), "float64": REFUSED["float64"][1]}
    for compiler in (None, object()):
        monkeypatch.setattr(module, "compiler", lambda compiler=compiler: compiler)
        for each, size in (("bfloat16", 256), ("float32", 256), ("bfloat16", 40)):
            expected = kernel_of(size, dtypes[each].itemsize, compiler is not None)
            assert module.which(dtypes[each], size, device) == expected


@pytest.mark.parametrize("name", PACKAGES)
def test_gradients_of_weights_are_made_of_what_the_kernel_gives_for_its_plan(name, monkeypatch):
    """The kernel's results are drawn; a GPU, and an emulation of one, tell whether they are right."""
    plans, before, d_recurrent = [], drawn((2, 3, 2, 4), 2), drawn((2, 3, 2, 12), 1)

    def launch(way, plan, read, written, trains=None):
        plans.append(plan)
        made = [drawn(each.shape, place) for place, each in enumerate(written)]
        if name == "jax":
            return [each + 0 * jnp.sum(read[0]) for each in made]
        return [each.copy_(torch.from_numpy(other)) for each, other in zip(written, made, strict=True)]

    monkeypatch.setattr(MODULES[name], "_launch", launch)
    given = [drawn(shape, 9) for shape in ((2, 3, 2, 12), (2, 2, 4), (2, 12, 4), (2, 16))]
    if name == "torch":
        arguments = [torch.from_numpy(each).requires_grad_() for each in given]
        outputs, final = MODULES[name].persistent_gru(*arguments, torch.tensor([3, 2]))
        found = torch.autograd.grad(outputs.sum() + final.sum(), arguments)
    else:
        layer = partial(MODULES[name].persistent_gru, lengths=jnp.array([3, 2]))
        results, pull = jax.vjp(layer, *map(jnp.asarray, given))
        found = pull(tuple(map(jnp.ones_like, results)))
    assert plans == [plan_for(way, 2, 3, 2, 4, 4, 1, False) for way in ("forward", "backward")]
    assert [tuple(each.shape) for each in found] == [each.shape for each in given]
    weights = sum(
        d_recurrent[row, step, :, :, None] * before[row, step, :, None] for row in range(2) for step in range(3)
    )
    expected = [drawn((2, 3, 2, 12), 0), drawn((2, 2, 4), 3), weights]
    for ours, theirs in zip(found[:3], expected, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)  # sums of whole numbers
