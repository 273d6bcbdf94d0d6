"""Recordings of one side: a file to compare on another machine, and the messages for a bad file."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
from bounds import roundings
from flax import nnx
from own_pairs import drawn, normal

import crosscheck
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.recording import jax_side
from crosscheck.recording.recording_file import NOT_KEPT
from crosscheck.recording.values import Options, cotangent
from shared import checkpoint
from shared.errors import IsogradError

X = normal(4, 5)


class TorchTower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj, self.norm = torch.nn.Linear(5, 7), torch.nn.LayerNorm(7)

    def forward(self, x):
        return {"hidden": self.proj(x), "normed": self.norm(self.proj(x))}


class FlaxTower(nnx.Module):
    def __init__(self, epsilon=1e-5):
        self.proj, self.norm = nnx.Linear(5, 7, rngs=nnx.Rngs(0)), nnx.LayerNorm(7, epsilon=epsilon, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return {"hidden": self.proj(x), "normed": self.norm(self.proj(x))}


def pair_of(dtype="float64", **mistake):
    with jax.enable_x64(dtype == "float64"):
        ours = drawn(TorchTower(), dtype)
        return ours, copy_weights(ours, FlaxTower(**mistake))


@pytest.fixture
def files(tmp_path):
    """Both sides of an equal float64 pair, as files."""
    for side, module in zip(("torch", "jax"), pair_of(), strict=True):
        crosscheck.record(module, X, tmp_path / side)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("live", ["torch", "jax", "neither"])
def test_a_file_stands_for_its_side_and_gives_the_same_report(tmp_path, dtype, live):
    for mistake in ({}, {"epsilon": 1e-3}):
        sides = dict(zip(("torch", "jax"), pair_of(dtype, **mistake), strict=True))
        expected = crosscheck.compare(*sides.values(), X, updates=1)
        for side, module in sides.items():
            if side != live:
                crosscheck.record(module, X, tmp_path / side, updates=1)
                sides[side] = tmp_path / side
        report = crosscheck.compare(*sides.values())
        assert report.agrees == (not mistake)
        assert report.first_divergence == expected.first_divergence
        assert report.rows == expected.rows


def test_a_recording_comes_back_from_its_file_as_it_was(tmp_path):
    recording = crosscheck.record(pair_of("float32")[0], X, tmp_path / "torch", updates=2)
    found = crosscheck.Recording.load(tmp_path / "torch")
    assert (found.side, found.name, found.options, found.versions) == (
        recording.side,
        recording.name,
        recording.options,
        recording.versions,
    )
    assert found.noise.movement == recording.noise.movement
    for values, loaded in ((recording.values, found.values), (recording.noise.oracle, found.noise.oracle)):
        assert (loaded.calls, loaded.hidden) == (
            (values.calls, values.hidden) if values is recording.values else ({}, [])
        )
        for field in ("inputs", "parameters", "intermediates", "outputs", "parameter_gradients", "updates"):
            before, after = getattr(values, field), getattr(loaded, field)
            assert list(after) == list(before)
            assert all(after[name].tobytes() == array.tobytes() for name, array in before.items())


def test_every_option_comes_back_from_the_file(tmp_path):
    options = Options(
        np.dtype("f4"), True, False, "cuda", 2, "decode", (7, 2**32 - 9), None, True, 3, False, ("float32",), 5, "GRU"
    )
    assert all(getattr(options, f.name) != f.default for f in fields(Options) if f.name not in NOT_KEPT)
    replace(crosscheck.record(torch.sin, X), options=options).save(tmp_path / "torch")
    assert crosscheck.Recording.load(tmp_path / "torch").options == options


class State(NamedTuple):
    h: Any
    c: Any


def test_nested_and_plain_inputs_are_kept_and_given_to_the_other_side(tmp_path):
    def function(state, x, scale, mode=None):
        return state["h"][0] * x * scale + (state["c"] if mode == "on" else 0)

    inputs = {"state": {"h": (X, X + 1), "c": X * 2}, "x": X, "scale": 2, "mode": "on"}
    crosscheck.record(function, inputs, tmp_path / "torch")
    report = crosscheck.compare(tmp_path / "torch", function)
    assert report.agrees
    assert {row.tensor for row in report.rows if row.kind == "input"} == {"state.h[0]", "state.h[1]", "state.c", "x"}


def test_inputs_that_no_file_holds_must_be_given_again(tmp_path):
    def function(state, x):
        return state.h * x + state.c

    inputs = {"state": State(X, X + 1), "x": X}
    recording = crosscheck.record(function, inputs, tmp_path / "torch")
    with pytest.raises(IsogradError, match="has no inputs: pass the inputs it was recorded with"):
        crosscheck.compare(tmp_path / "torch", function)
    for ours in (tmp_path / "torch", recording):
        assert crosscheck.compare(ours, function, inputs).agrees


def test_a_plain_function_is_recorded_as_torchs_unless_it_says_otherwise():
    double = crosscheck.record(lambda x, by: x * by, X, arguments={"by": torch.tensor(2.0)})
    assert crosscheck.compare(double, lambda x: x * 2).agrees
    for sine in (crosscheck.record(jnp.sin, X, side="jax"), crosscheck.record(jax.jit(jnp.sin), X)):
        assert crosscheck.compare(torch.sin, sine).agrees
    with pytest.raises(IsogradError, match="unknown side 'JAX': did you mean 'torch' or 'jax'"):
        crosscheck.record(jnp.sin, X, side="JAX")


def another_version(path):
    arrays, metadata = checkpoint.load(path)
    metadata["recording"]["format"] = "isograd recording 99"
    checkpoint.save(path, arrays, metadata)


def without_an_array(path):
    arrays, metadata = checkpoint.load(path)
    checkpoint.save(path, {name: arrays[name] for name in list(arrays)[1:]}, metadata)


DAMAGE = {  # damage to the file of the torch side, and the message
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a valid safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "missing": (Path.unlink, "there is no such file"),
    "torch's own file": (lambda path: torch.save({"a": torch.ones(2)}, path), "this is a torch or zip file"),
    "foreign": (lambda path: safetensors.numpy.save_file({"a": np.ones(2)}, path), "got 'a different kind of file'"),
    "of another version": (another_version, "expected 'isograd recording 1', got 'isograd recording 99'"),
    "without an array": (without_an_array, "the file lacks"),
    "of the other side": (lambda path: path.write_bytes((path.parent / "jax").read_bytes()), "swap the two"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_no_use_is_refused_in_one_sentence(files, damage):
    harm, words = DAMAGE[damage]
    harm(files / "torch")
    with pytest.raises(IsogradError, match=words) as caught:
        crosscheck.compare(files / "torch", files / "jax")
    assert "\n" not in str(caught.value)


REFUSED = {  # options for comparing a float64 file in eval mode without updates, and the message
    "other inputs": ({"inputs": X + 1}, r"recorded with different inputs \(0 differ\)"),
    "inputs by other names": ({"inputs": {"x": X}}, r"recorded with different inputs \(0, x differ\)"),
    "train mode": ({"train": True}, "recorded with train=False, so it can't be compared with train=True"),
    "updates": ({"updates": 2}, "recorded with updates=0, so it can't be compared with updates=2"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_comparison_that_a_file_can_not_answer_is_refused(files, how):
    options, words = REFUSED[how]
    with pytest.raises(IsogradError, match=words):
        crosscheck.compare(files / "torch", pair_of()[1], **options)


@pytest.mark.parametrize(
    ("setting", "made"), [("train", {"train": True}), ("updates", {"updates": 1}), ("gradients", {"gradients": False})]
)
def test_two_files_that_were_made_otherwise_are_refused(files, setting, made):
    crosscheck.record(pair_of()[1], X, files / "jax", **made)
    with pytest.raises(IsogradError, match=f"the two recordings can't be compared: {setting} is"):
        crosscheck.compare(files / "torch", files / "jax")


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(files, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in files.iterdir()}
    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crosscheck.record(pair_of("float32")[0], X, files / "torch")
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_float16_on_a_processor_that_xla_can_not_compile_it_for_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr("crosscheck.recording.record.xla_compiles", lambda dtype: False)
    pair = crosscheck.build_pair("Linear", dtype="float16")
    with pytest.raises(IsogradError, match="JAX can't compute in float16 on this processor"):
        crosscheck.compare(pair.torch, pair.jax, pair.inputs)


def test_each_output_is_multiplied_by_numbers_of_its_own():
    options = Options(np.dtype(np.float64))
    first, second, again = (cotangent(name, (3, 4), options.dtype, options) for name in ("0", "1", "0"))
    assert np.array_equal(first, again)
    assert (first != second).all()


class Doubled(nnx.Module):
    def __call__(self, x):
        return 2 * x


class OfConstants(nnx.Module):
    def __init__(self):
        self.used, self.unused = Doubled(), Doubled()

    def __call__(self, ids):
        self.unused(jnp.ones(3))
        return self.used(jnp.ones(3)) * ids


@pytest.mark.parametrize("seed", [None, 0], ids=["as it is", "rounded at random"])
@pytest.mark.usefixtures("float64_in_jax")
def test_tensors_of_constants_have_gradients_and_those_that_nothing_depends_on_have_zeros(seed):
    options, ids = Options(np.dtype("float64"), rounding_seed=seed), np.arange(3)
    found = jax_side.evaluate(OfConstants(), ((ids,), {}), options).intermediate_gradients
    slope = ids * cotangent("output", (3,), options.dtype, options)
    expected = {"unused in[0]": 0 * ids, "unused out[0]": 0 * ids, "used in[0]": 2 * slope, "used out[0]": slope}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.abs(found[name] - gradient).max() <= roundings(8) * np.abs(gradient).max(), name
