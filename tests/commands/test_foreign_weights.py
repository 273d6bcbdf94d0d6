"""Weights that were changed, or that no state dict and no header should hold, end in one sentence."""

import json
import struct

import numpy as np
import orbax.checkpoint as ocp
import pytest
import torch
from damage import flip_a_bit
from flax import nnx

from experiments.porting.port import port
from jax_impl import build as jax_build
from jax_impl import orbax_folders
from jax_impl import weight_files as jax_files
from shared import checkpoint
from shared.errors import IsogradError
from shared.registry import TWINS
from torch_impl import build as torch_build
from torch_impl import weight_files as torch_files
from torch_impl.weights import parameter_shapes

NAME = "ReviewClassifierGRU:encoder_only"
ARGUMENTS = dict(TWINS[NAME].arguments)
MODEL = {"model": NAME, "arguments": ARGUMENTS}


@pytest.fixture(scope="module")
def arrays():
    shapes = parameter_shapes(torch_build.build_twin(TWINS[NAME], ARGUMENTS, abstract=True))
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def orbax(arrays, tmp_path):
    module = jax_build.build_twin(TWINS[NAME], ARGUMENTS, abstract=True)
    jax_files.write_weights(tmp_path / "orbax", arrays, module, {"twin": NAME, "arguments": ARGUMENTS})
    return tmp_path / "orbax"


def test_an_orbax_folder_of_ours_comes_back_without_a_note(orbax, tmp_path):
    assert port(orbax, tmp_path / "w.safetensors").notes == []


def test_a_changed_number_in_an_orbax_folder_of_ours_is_named(arrays, orbax, monkeypatch, tmp_path):
    read = orbax_folders.read_leaves

    def changed(path):
        leaves = read(path)
        place = next(iter(leaves))
        leaves[place] = leaves[place].copy()
        leaves[place].reshape(-1).view(np.uint8)[0] ^= 1
        return leaves

    monkeypatch.setattr(orbax_folders, "read_leaves", changed)
    with pytest.raises(IsogradError, match="is damaged: .+ changed since it was written"):
        port(orbax, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()


def test_no_flipped_byte_of_an_orbax_folder_ports_to_different_weights(arrays, orbax, tmp_path):
    largest = max((path for path in orbax.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 8).astype(int):
        largest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            port(orbax, tmp_path / "w.safetensors")
        except IsogradError:
            continue
        found, _ = checkpoint.load(tmp_path / "w.safetensors")
        assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())


def test_a_foreign_orbax_folder_is_read_with_a_note(arrays, tmp_path):
    module = jax_build.build_twin(TWINS[NAME], ARGUMENTS)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    (note,) = port(tmp_path / "orbax", tmp_path / "w.safetensors", **MODEL).notes
    assert "has no digests of its arrays" in note


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_flipped_bit_of_a_number_is_refused_in_one_sentence_and_nothing_is_written(arrays, tmp_path, kind):
    checkpoint.save(tmp_path / "w.safetensors", arrays, {"twin": NAME, "arguments": ARGUMENTS})
    port(tmp_path / "w.safetensors", source := tmp_path / f"source.{kind}")
    flip_a_bit(source, source.read_bytes().index(next(iter(arrays.values())).tobytes()) + 2)
    with pytest.raises(IsogradError, match="source.* is damaged: .+ changed since it was written: ") as caught:
        port(source, tmp_path / "again.pt", **MODEL)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "again.pt").exists()


def test_no_flipped_bit_of_a_torch_file_changes_its_tensors_unnoticed(tmp_path):
    module = torch.nn.Linear(3, 2)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    expected = torch_files.read_weights(tmp_path / "w.pt", module)
    for place in range(len(whole)):
        (tmp_path / "w.pt").write_bytes(whole)
        flip_a_bit(tmp_path / "w.pt", place)
        try:
            found = torch_files.read_weights(tmp_path / "w.pt", module)
        except IsogradError:
            continue
        assert all(found[name].tobytes() == array.tobytes() for name, array in expected.items())


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_torch_file_without_checksums_is_read(tmp_path, options):
    module = torch.nn.Linear(3, 2)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(module.state_dict(), tmp_path / "w.pt", **options)
    finally:
        torch.serialization.set_crc32_options(True)
    found = torch_files.read_weights(tmp_path / "w.pt", module)
    assert found["bias"].tobytes() == module.bias.detach().numpy().tobytes()


UNUSUAL = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "meta": lambda tensor: tensor.to("meta"),
    "float8": lambda tensor: tensor.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_a_tensor_that_is_no_array_is_named(arrays, tmp_path, kind):
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    first = next(iter(tensors))
    torch.save({**tensors, first: UNUSUAL[kind](tensors[first])}, tmp_path / "w.pt")
    with pytest.raises(IsogradError, match=rf"expected dense tensors with their numbers, got {first} \(.*{kind}"):
        port(tmp_path / "w.pt", tmp_path / "w.safetensors", **MODEL)


def test_a_torch_file_is_recognised_by_its_content_whatever_its_name(arrays, tmp_path):
    module = torch_build.build_twin(TWINS[NAME], ARGUMENTS, abstract=True)
    torch_files.write_weights(tmp_path / "w.safetensors", arrays, module, {})
    assert port(tmp_path / "w.safetensors", tmp_path / "w.pt", **MODEL).source_format == "torch"


HEADERS = {
    "a list as metadata": {"__metadata__": {"isograd": "[1]"}},
    "a number as metadata": {"__metadata__": 3},
    "nested brackets": {"__metadata__": {"isograd": "[" * 100_000}},
    "a list as the twin": {"__metadata__": {"isograd": '{"twin": [1]}'}},
    "a text as arguments": {"__metadata__": {"twin": NAME, "arguments": "x"}},
    "a claimed size of 2**60": {"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}},
}


@pytest.mark.parametrize("case", [*HEADERS, "a claimed length of 2**60"])
def test_a_header_of_a_wrong_type_or_size_ends_in_a_sentence(tmp_path, case):
    header = json.dumps(HEADERS.get(case, {})).encode()
    length = len(header) if case in HEADERS else 2**60
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", length) + header)
    with pytest.raises(IsogradError):
        port(tmp_path / "w.safetensors", tmp_path / "w.pt")
