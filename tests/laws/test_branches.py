"""The inputs of the checks reach every function of the twins, and every `if` in both ways.

It is measured on the torch side: the JAX side has the same branches (tests/laws/test_twin_rule.py). A choice inside an
expression is the business of mutation testing, which takes each of its branches.
"""

from fnmatch import fnmatchcase

import pytest
import torch
from branches import one_way, steps_taken
from places import ROOT

import torch_impl
from crosscheck.twins.pair import build_side
from shared import rng
from shared.example_inputs import cases, example_inputs
from shared.initial_weights import initial_weights
from shared.registry import TWINS
from torch_impl import build
from torch_impl.weights import parameter_shapes, to_tensor

PACKAGE = ROOT / "torch_impl"
FILES = [path for at in ("layers/**/*.py", "models/*.py", "losses.py", "dropout.py") for path in PACKAGE.glob(at)]
ELSEWHERE = {  # what no check reaches -> the tests that do
    "layers/persistent_gru.py *": "gpu",
    "layers/fused_gru.py _kernel": "gpu",
    "layers/fused_gru.py _stack": "gpu",
    "layers/fused_gru.py describe_gru": "tests/backends/test_implementations.py",
    "layers/embedding.py *is_cuda*": "gpu",
    "layers/attention.py aligned*": "gpu",
    "layers/attention.py init_qkv_proj": "crosscheck/tests/twins/test_twins.py",
    "models/gpt.py *look": "crosscheck/tests/twins/test_looking.py",
    "models/translator.py *look": "crosscheck/tests/twins/test_looking.py",
    "models/gpt.py GPT.states": "crosscheck/tests/pretrained/test_pretrained.py",
    "models/gpt.py write_keys": "crosscheck/tests/twins/test_generation.py",
    "models/*.py *advance": "crosscheck/tests/twins/test_generation.py",
    "models/*.py *empty_cache": "crosscheck/tests/twins/test_generation.py",
    "models/transformer_translation.py *logits": "crosscheck/tests/twins/test_translation.py",
    "losses.py classify": "tests/backends/test_losses.py",
    "dropout.py seed_dropout*": "tests/backends/test_native_dropout.py",
    "dropout.py *native*": "tests/backends/test_native_dropout.py",
}


def run(name: str) -> None:
    """A twin forward and backward on the inputs of each of its cases, a module also in train mode."""
    twin = TWINS[name]
    shapes = {} if twin.function else parameter_shapes(build.empty_twin(twin, twin.arguments, "cpu"))
    module = build_side("torch", name, initial_weights(shapes, 0, "float64"))
    for case in cases(twin):
        inputs = {key: to_tensor(array, "cpu") for key, array in example_inputs(twin, case, 0).items()}
        for trains in [False] if twin.function else [False, case == "odd_sizes"]:
            if not twin.function:
                module.train(trains)
                torch_impl.seed_dropout(module, rng.key_from_seed(0) if trains else None)
            given = {key: a.double().requires_grad_() if a.is_floating_point() else a for key, a in inputs.items()}
            found = torch.utils._pytree.tree_leaves(module(**given))
            summed = [output.sum() for output in found if isinstance(output, torch.Tensor) and output.requires_grad]
            if summed:
                torch.stack(summed).sum().backward()


@pytest.fixture(scope="module")
def never():
    with steps_taken(FILES) as steps:
        for name in TWINS:
            run(name)
    places = ((path, path.relative_to(PACKAGE).as_posix()) for path in FILES)
    return {f"{place} {said}" for path, place in places for said in one_way(path.read_text(), steps[str(path)])}


def test_every_branch_that_a_cpu_can_run_is_reached_by_a_check(never):
    assert {said for said in never if not any(fnmatchcase(said, pattern) for pattern in ELSEWHERE)} == set()


def test_no_branch_is_listed_that_a_check_reaches(never):
    assert [pattern for pattern in ELSEWHERE if not any(fnmatchcase(said, pattern) for said in never)] == []


def test_the_tests_of_what_no_check_reaches_exist():
    assert [path for path in ELSEWHERE.values() if path != "gpu" and not (ROOT / path).is_file()] == []


SOURCE = """
def chosen(x):
    if x > 0:
        return x
    return -x

def unused():
    pass
"""


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([1], ["chosen: not (x > 0)"]), ([-1], ["chosen: x > 0"]), ([1, -1], []), ([], ["chosen"])],
    ids=str,
)
def test_a_branch_that_is_not_taken_is_told(tmp_path, numbers, expected):
    path = tmp_path / "source.py"
    names: dict = {}
    exec(compile(SOURCE, str(path), "exec"), names)
    with steps_taken([path]) as steps:
        for number in numbers:
            names["chosen"](number)
    assert one_way(SOURCE, steps[str(path)]) == [*expected, "unused"]
