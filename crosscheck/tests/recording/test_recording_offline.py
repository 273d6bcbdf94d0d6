"""Each side is recorded where the other framework can't be imported, and compared where only one or neither can."""

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

BLOCKED = {"torch": "torch", "jax": "jax,jaxlib,flax,optax,orbax", "both": "torch,jax,jaxlib,flax,optax,orbax"}
SCRIPT = """
import sys
for name in {blocked!r}.split(","):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
import crosscheck
from shared.errors import IsogradError
folder = Path({folder!r})
draw = np.random.default_rng(0).standard_normal
weights = {{"fc.weight": draw((7, 5)), "fc.bias": draw(7), "norm.weight": draw(7), "norm.bias": draw(7)}}
weights = {{name: array.astype("float32") for name, array in weights.items()}}
x = draw((4, 5))
try:
    {code}
except IsogradError as error:
    print("refused:", error)
"""
TORCH = """
    import torch, torch_impl
    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.norm = torch.nn.Linear(5, 7), torch.nn.LayerNorm(7)
        def forward(self, x):
            return self.norm(self.fc(x))
    module = Tower()
    torch_impl.load_arrays(module, weights)
"""
JAX = """
    from flax import nnx
    import jax_impl
    class Tower(nnx.Module):
        def __init__(self, epsilon):
            self.fc, self.norm = nnx.Linear(5, 7, rngs=nnx.Rngs(0)), nnx.LayerNorm(7, epsilon=epsilon, rngs=nnx.Rngs(0))
        def __call__(self, x):
            return self.norm(self.fc(x))
    module, wrong = Tower(1e-5), Tower(1e-3)
    for each in (module, wrong):
        jax_impl.load_arrays(each, weights)
"""


def run_without(framework: str, code: str, folder: Path) -> str:
    """The output of a Python process in which the framework can't be imported."""
    script = SCRIPT.format(blocked=BLOCKED[framework], folder=str(folder), code=code)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of the torch side and the JAX side, each made without the other framework, and the output of each run."""
    folder = tmp_path_factory.mktemp("recordings")
    made = {
        "jax": f"""{TORCH}
    crosscheck.record(module, x, folder / "torch")
    crosscheck.compare(module, lambda x: x, x)
""",
        "torch": f"""{JAX}
    crosscheck.record(module, x, folder / "jax")
    print(crosscheck.compare(folder / "torch", module).agrees)
    print(crosscheck.compare(folder / "torch", wrong).first_divergence)
    crosscheck.record(lambda x: x, x, side="torch")
""",
    }
    for missing, code in made.items():
        (folder / f"without {missing}").write_text(run_without(missing, code, folder))
    return folder


@pytest.mark.slow
def test_a_file_of_torch_is_compared_where_torch_is_not_installed(folder):
    said = (folder / "without torch").read_text().splitlines()
    assert said[:2] == ["True", "Divergence(module='Tower.norm', phase='forward', tensor='norm out[0]')"]


@pytest.mark.parametrize(("missing", "side", "name"), [("torch", "torch", "torch"), ("jax", "jax", "JAX")])
def test_the_side_of_a_missing_framework_is_refused_in_one_sentence(folder, missing, side, name):
    said = (folder / f"without {missing}").read_text().splitlines()[-1]
    assert said.startswith(f"refused: the {name} module can't be run: ")
    assert f"install isograd[{side}], or record that side on a machine that has it" in said


@pytest.mark.slow
def test_a_file_of_jax_is_compared_where_jax_is_not_installed(folder):
    code = f"""{TORCH}
    print(crosscheck.compare(module, folder / "jax").agrees)
    module.norm.eps = 1e-3
    print(crosscheck.compare(module, folder / "jax").first_divergence)
"""
    assert run_without("jax", code, folder).splitlines() == [
        "True",
        "Divergence(module='Tower.norm', phase='forward', tensor='norm out[0]')",
    ]


def test_two_files_are_compared_where_neither_framework_is_installed(folder):
    code = 'print(crosscheck.compare(folder / "torch", folder / "jax"))'
    assert run_without("both", code, folder).startswith("Tower float32 eval cpu: agrees in all 11 tensors")
