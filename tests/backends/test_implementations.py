"""What the GRU layers of a run are computed by is told, and why; a GPU's kernel serves what it was measured for."""

import pytest
from backend_cases import make_backend

from shared.backend import PACKAGES
from shared.configs.experiment import ModelConfig
from shared.gru_plan import refusal, runs_as
from shared.registry import find_twin

SIZES = {"vocabulary_size": 5, "embedding_size": 4, "hidden_size": 6}
H200 = {"is_narrow": True, "hidden_size": 512, "itemsize": 2, "capability": (9, 0), "processors": 132}
REFUSED = {
    "no GPU": ({"capability": None}, "no GPU for which Triton is installed"),
    "another GPU": ({"capability": (8, 0)}, "the kernel is for H100 and H200"),
    "float64": ({"is_narrow": False, "itemsize": 8}, "the kernel is for float32 and narrower numbers"),
    "a large state": ({"hidden_size": 2049}, "the kernel is for up to 2048 units"),
    "a seventh of a GPU": ({"processors": 15}, "the programs of a group don't fit on this part of a GPU together"),
}


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
