"""`isograd port` between folders of transformers, trees of its Flax models and our formats: no byte is lost."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization, traverse_util
from safetensors.numpy import load_file, save_file
from transformers_models import MODELS, folder_of_transformers

import jax_impl
from experiments.porting.port import port
from shared.errors import IsogradError
from shared.lazy.arrays import lazy
from shared.lazy.msgpack_trees import open_msgpack, write_msgpack
from torch_impl import to_arrays
from torch_impl.pretrained import from_pretrained

HOPS = (("linen",), ("safetensors", "nnx"), ("torch", "safetensors"), ("linen", "orbax"))


def bytes_of(folder):
    arrays = load_file(folder / "model.safetensors")
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def cast_files(folder, dtype):
    arrays = load_file(folder / "model.safetensors")
    save_file({n: a.astype(dtype) for n, a in arrays.items()}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("hops", HOPS, ids="-".join)
@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "RobertaForMaskedLM", "GPT2LMHeadModel", "CLIPModel"]
)
def test_every_way_round_ends_with_the_same_bytes(name, hops, tmp_path):
    folder_of_transformers(tmp_path / "0", name)
    dtypes = {"safetensors": "bfloat16", "orbax": "float16"}
    cast_files(tmp_path / "0", np.dtype(dtypes.get(hops[-1], "float32")))
    told = {}
    for index, to in enumerate((*hops, "hf")):
        report = port(tmp_path / str(index), tmp_path / str(index + 1), to=to, **told)
        told = {"model": report.twin, "arguments": report.arguments} if to == "torch" else {}
    assert bytes_of(tmp_path / str(len(hops) + 1)) == bytes_of(tmp_path / "0")


def test_a_state_of_nnx_that_a_user_saved_comes_home_and_one_of_ours_is_restored_by_orbax(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertForSequenceClassification")
    cast_files(tmp_path / "hf", np.dtype("float32"))
    module = jax_impl.from_pretrained(tmp_path / "hf", dtype=None)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "theirs", nnx.state(module))  # with the streams of its dropout
    told = {"model": "BertForSentenceClassification", "arguments": vars(module.config)}
    port(tmp_path / "theirs", tmp_path / "home", to="hf", **told)
    assert bytes_of(tmp_path / "home") == bytes_of(tmp_path / "hf")
    port(tmp_path / "hf", tmp_path / "ours", to="nnx")
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(tmp_path / "ours", nnx.state(module, nnx.Param))
    nnx.update(module, state)
    found = {name: array.tobytes() for name, array in jax_impl.to_arrays(module).items()}
    assert found == {n: a.tobytes() for n, a in to_arrays(from_pretrained(tmp_path / "hf", dtype=None)).items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_tree_of_flax_holds_what_the_folder_of_pytorch_does(name, tmp_path):
    folder_of_transformers(tmp_path / "hf", name)
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    both = [to_arrays(from_pretrained(tmp_path / kind, dtype=None)) for kind in ("hf", "linen")]
    assert {n: a.tobytes() for n, a in both[0].items()} == {n: a.tobytes() for n, a in both[1].items()}


def test_the_tree_has_the_names_and_axes_of_the_flax_models_of_transformers_4(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertForMaskedLM")
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    tree = serialization.msgpack_restore((tmp_path / "linen" / "flax_model.msgpack").read_bytes())
    theirs = load_file(tmp_path / "hf" / "model.safetensors")
    layer, path = tree["bert"]["encoder"]["layer"]["0"], "bert.encoder.layer.0"
    assert np.array_equal(layer["intermediate"]["dense"]["kernel"], theirs[f"{path}.intermediate.dense.weight"].T)
    assert np.array_equal(layer["output"]["LayerNorm"]["scale"], theirs[f"{path}.output.LayerNorm.weight"])
    words = tree["bert"]["embeddings"]["word_embeddings"]["embedding"]
    assert np.array_equal(words, theirs["bert.embeddings.word_embeddings.weight"])
    assert np.array_equal(tree["cls"]["predictions"]["bias"], theirs["cls.predictions.bias"])


def test_packed_projections_and_patches_lie_as_in_flax(tmp_path):
    for name in ("GPT2LMHeadModel", "CLIPModel"):
        folder_of_transformers(tmp_path / name, name)
        port(tmp_path / name, tmp_path / f"{name}-linen", to="linen")
    trees = {
        name: serialization.msgpack_restore((tmp_path / f"{name}-linen" / "flax_model.msgpack").read_bytes())
        for name in ("GPT2LMHeadModel", "CLIPModel")
    }
    gpt2, clip = (load_file(tmp_path / name / "model.safetensors") for name in trees)
    packed = trees["GPT2LMHeadModel"]["transformer"]["h"]["1"]["attn"]["c_attn"]["kernel"]
    assert np.array_equal(packed, gpt2["transformer.h.1.attn.c_attn.weight"].T)
    patches = trees["CLIPModel"]["vision_model"]["embeddings"]["patch_embedding"]["kernel"]
    theirs = clip["vision_model.embeddings.patch_embedding.weight"]
    assert np.array_equal(patches, theirs.transpose(2, 3, 1, 0))


def test_a_checkpoint_of_flax_below_params_and_without_its_prefix_comes_home(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertModel")
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    path = tmp_path / "linen" / "flax_model.msgpack"
    tree = serialization.msgpack_restore(path.read_bytes())
    path.write_bytes(serialization.to_bytes({"params": {"bert": tree}}))
    port(tmp_path / "linen", tmp_path / "home", to="hf")
    assert bytes_of(tmp_path / "home") == bytes_of(tmp_path / "hf")


def test_a_checkpoint_of_flax_in_shards_comes_home_and_one_that_lacks_a_shard_does_not(tmp_path):
    """The shards of transformers 4, which numbers them and names every array by its path."""
    folder_of_transformers(tmp_path / "hf", "BertModel")
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    path = tmp_path / "linen" / "flax_model.msgpack"
    flat, shards = traverse_util.flatten_dict(serialization.msgpack_restore(path.read_bytes()), sep="/"), {}
    for number, name in enumerate(flat):
        shards.setdefault(f"flax_model-0000{number % 3 + 1}-of-00003.msgpack", {})[name] = flat[name]
    for shard, arrays in shards.items():
        content = serialization.to_bytes(traverse_util.unflatten_dict(arrays, sep="/"))
        (tmp_path / "linen" / shard).write_bytes(content)
    names = {name: shard for shard, arrays in shards.items() for name in arrays}
    (tmp_path / "linen" / f"{path.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    path.unlink()
    assert port(tmp_path / "linen", tmp_path / "home", to="hf").source_format == "linen"
    assert bytes_of(tmp_path / "home") == bytes_of(tmp_path / "hf")
    (tmp_path / "linen" / shard).unlink()
    with pytest.raises(IsogradError, match="flax_model-00003-of-00003.msgpack', which flax_model.msgpack.index.json"):
        port(tmp_path / "linen", tmp_path / "out", to="hf")


def test_the_file_of_a_flax_model_is_named_for_its_folder_and_refused_without_its_config(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertModel")
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    port(tmp_path / "linen" / "flax_model.msgpack", tmp_path / "home", to="hf")
    assert bytes_of(tmp_path / "home") == bytes_of(tmp_path / "hf")
    (tmp_path / "linen" / "config.json").unlink()
    for source, sentence in (("", "no config.json beside it"), ("flax_model.msgpack", "which does not tell its model")):
        with pytest.raises(IsogradError, match=sentence):
            port(tmp_path / "linen" / source, tmp_path / "out", to="hf")


def test_a_dry_run_names_every_array_in_both_formats_and_writes_nothing(tmp_path):
    folder_of_transformers(tmp_path / "hf", "GPT2LMHeadModel")
    report = port(tmp_path / "hf", tmp_path / "linen", to="linen", dry_run=True)
    assert not (tmp_path / "linen").exists()
    pairs = dict(report.mapping)
    assert pairs["transformer.h.0.attn.c_attn.weight[1/3]"] == "transformer/h/0/attn/c_attn/kernel[1/3]"
    assert "nothing was written" in str(report)
    assert len(report.mapping) == report.tensors


def test_floats_are_cast_only_when_that_is_asked_for(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertModel")
    port(tmp_path / "hf", tmp_path / "same", to="hf")
    port(tmp_path / "hf", tmp_path / "half", to="hf", dtype="bfloat16")
    assert bytes_of(tmp_path / "same") == bytes_of(tmp_path / "hf")
    assert {str(dtype) for dtype, _, _ in bytes_of(tmp_path / "half").values()} == {"bfloat16"}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.slow
def test_a_verified_port_compares_outputs_and_gradients(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertForSequenceClassification")
    report = port(tmp_path / "hf", tmp_path / "linen", to="linen", verify=True)
    assert report.agrees
    assert report.identical
    assert {output.name.partition(" ")[0] for output in report.outputs} == {"output", "parameter"}


def test_an_encoder_can_be_chosen_and_what_is_left_out_is_told(tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertForMaskedLM")
    report = port(tmp_path / "hf", tmp_path / "encoder", to="hf", model="BertModel")
    assert "left out: cls.predictions.bias" in report.notes
    assert report.twin == "BertModel"


@pytest.mark.parametrize("damage", ["truncated", "no tree", "an object"])
def test_a_damaged_tree_is_refused_and_nothing_is_written(damage, tmp_path):
    folder_of_transformers(tmp_path / "hf", "BertModel")
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    path = tmp_path / "linen" / "flax_model.msgpack"
    contents = {
        "truncated": path.read_bytes()[:-50],
        "no tree": b"\x93\x01\x02\x03",
        "an object": serialization.msgpack_serialize({"encoder": {"bias": "text"}}),
    }
    path.write_bytes(contents[damage])
    with pytest.raises(IsogradError, match="can't read"):
        port(tmp_path / "linen", tmp_path / "out", to="hf")
    assert not (tmp_path / "out").exists()


def test_trees_are_written_as_flax_reads_them_and_read_as_flax_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr("shared.lazy.msgpack_trees.CHUNK", 64)
    monkeypatch.setattr("flax.serialization.MAX_CHUNK_SIZE", 64)
    generator = np.random.default_rng(0)
    arrays = {"a/b": generator.standard_normal((5, 7)), "a/c": np.arange(3), "d": np.array(2.5, np.float32)}
    write_msgpack(tmp_path / "ours", lazy(arrays))
    tree = serialization.msgpack_restore((tmp_path / "ours").read_bytes())
    assert np.array_equal(tree["a"]["b"], arrays["a/b"])
    (tmp_path / "theirs").write_bytes(serialization.msgpack_serialize(tree))
    for name in ("ours", "theirs"):
        found = {key: array.read() for key, array in open_msgpack(tmp_path / name).items()}
        assert {k: (a.dtype, a.shape, a.tobytes()) for k, a in found.items()} == {
            k: (a.dtype, a.shape, a.tobytes()) for k, a in arrays.items()
        }
