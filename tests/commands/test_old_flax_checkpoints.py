"""Flax checkpoints that transformers 4 itself wrote come home: its torch models give the numbers of its Flax models."""

import os
import subprocess
import sys

import flax
import numpy as np
import old_flax
import pytest
import torch
import transformers
from bounds import roundings_of_a_whole_run
from places import ROOT

from crosscheck.criterion import difference, prove
from experiments.cli import main

PORTS = ROOT / ".ports"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PORTS.is_dir(), reason="transformers 4 is not there: `make ports` installs it"),
]
CASTS = ("CLIPModel",)  # compute a softmax in float32, whatever their dtype, in torch


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flax")
    environment = {**os.environ, "PYTHONPATH": f"{PORTS}{os.pathsep}{ROOT}", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "ignore", old_flax.__file__, str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    return folder


def leaves(content):
    """Path -> dtype, shape and bytes of every array of a saved tree."""
    tree = flax.traverse_util.flatten_dict(flax.serialization.msgpack_restore(content))
    return {path: (str(array.dtype), array.shape, array.tobytes()) for path, array in tree.items()}


@pytest.mark.parametrize("name", old_flax.MODELS)
def test_a_checkpoint_of_transformers_4_is_ported_home(name, written, tmp_path):
    home, again = tmp_path / "home", tmp_path / "again"
    assert main(["port", str(written / name), str(home), "--to", "hf", "--verify"]) == 0
    model, loading = getattr(transformers, name).from_pretrained(
        home, attn_implementation="eager", dtype=torch.float64, output_loading_info=True
    )
    assert not any(loading.values())
    given = {key: torch.from_numpy(array) for key, array in old_flax.inputs(name).items()}
    with torch.no_grad():
        found = model.eval()(**given)[old_flax.MODELS[name][2]].numpy()
    with np.load(written / name / "outputs.npz") as arrays:
        expected = arrays["output"]
    if name in CASTS:
        assert difference(expected, found) <= roundings_of_a_whole_run("float32")
    else:
        assert prove(expected, found, 0.0).agrees
    assert main(["port", str(home), str(again), "--to", "linen"]) == 0
    ours, theirs = (leaves((folder / "flax_model.msgpack").read_bytes()) for folder in (again, written / name))
    assert ours == theirs
