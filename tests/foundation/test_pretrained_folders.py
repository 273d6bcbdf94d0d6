"""Folders of Hugging Face: written for transformers, read whatever their names, refused with a sentence if damaged."""

import json
import logging
import os
import pickle
import re
import warnings
from contextlib import nullcontext
from functools import reduce

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file
from tiny_bert import write_bert
from transformers_models import MODELS, folder_of_transformers

import torch_impl
from shared.errors import IsogradError, WeightsError
from shared.foreign_tables import Row
from shared.lazy.arrays import DTYPES, cast_floats, contiguous_bytes, lazy, open_safetensors, write_safetensors
from shared.lazy.layouts import lazily_from, lazily_to
from shared.pretrained.folder import Pretrained, read_config
from shared.pretrained.table import FAMILIES
from shared.process import process_memory
from torch_impl.pretrained import from_pretrained, save_pretrained

NAMES = tuple(MODELS)


def changed_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        (config[outer] if inner else config)[inner or outer] = value
    path.write_text(json.dumps(config))


def renamed(folder, rename):
    """The tensors of the folder under other names; None leaves one out."""
    arrays = load_file(folder / "model.safetensors")
    moved = {rename(name): array for name, array in arrays.items()}
    save_file({name: array for name, array in moved.items() if name}, folder / "model.safetensors")
    return arrays


def arrays_of(folder, **options):
    return torch_impl.to_arrays(from_pretrained(folder, dtype=None, **options))


def sharded(folder, shards):
    """The tensors of the folder in files by name, and their index."""
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(arrays)
    parts = {shard: names[i :: len(shards)] for i, shard in enumerate(shards)}
    for shard, part in parts.items():
        if not os.path.isabs(shard) and ".." not in shard and "\0" not in shard:
            save_file({name: arrays[name] for name in part}, folder / shard)
    index = {"weight_map": {name: shard for shard, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return arrays


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_what_transformers_saved_and_loads_again_without_a_warning(
    name, tmp_path, caplog, monkeypatch
):
    theirs = folder_of_transformers(tmp_path / "theirs", name)
    save_pretrained(from_pretrained(tmp_path / "theirs", dtype=None), tmp_path / "ours")
    expected = load_file(tmp_path / "theirs" / "model.safetensors")
    found = load_file(tmp_path / "ours" / "model.safetensors")
    assert {key: (array.shape, array.tobytes()) for key, array in found.items()} == {
        key: (array.shape, array.tobytes()) for key, array in expected.items()
    }
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    logging.Logger.warning_once.cache_clear()  # each warning again
    caplog.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    assert not caplog.messages
    assert {key: p.tolist() for key, p in again.named_parameters()} == {
        key: p.tolist() for key, p in theirs.named_parameters()
    }
    fields = {key: value for key, value in again.config.to_dict().items() if not key.startswith(("_", "transformers"))}
    own = theirs.config.to_dict()
    numbers = {key: value for key, value in fields.items() if isinstance(value, int | float | str)}
    assert numbers == {key: own[key] for key in numbers}
    assert fields.get("label2id") == own.get("label2id")


CONFIGS = {
    "bert": transformers.BertConfig,
    "roberta": transformers.RobertaConfig,
    "distilbert": transformers.DistilBertConfig,
    "gpt2": transformers.GPT2Config,
    "clip": transformers.CLIPConfig,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_field_that_a_config_leaves_out_has_the_value_that_transformers_gives_it(name):
    theirs, family = CONFIGS[name](), FAMILIES[name]
    ours = {field: default for field, (_, default) in family.fields.items()}
    assert ours == {field: reduce(getattr, field.split("."), theirs) for field in ours}
    fixed = {field: values[0] for field, values in family.fixed.items() if hasattr(theirs, field)}
    assert fixed == {field: getattr(theirs, field) for field in fixed}


SHAPES_NOTHING = {  # fields of transformers' configs that change no number of our twins, and why
    "transformers_version architectures model_type _name_or_path dtype": "names",
    "output_hidden_states output_attentions return_dict": "what is handed out",
    "chunk_size_feed_forward": "the same numbers in parts",
    "initializer_range initializer_factor logit_scale_init_value": "initial weights, which the folder replaces",
    "use_cache": "what is kept for the next token",
    "bos_token_id eos_token_id text_config.bos_token_id text_config.pad_token_id": "what a text begins and ends with",
    "is_encoder_decoder": "which classes of transformers generate",
    "id2label label2id": "the number of labels is honoured; their names are the user's",
    "problem_type pad_token_id": "where there are no labels, or no padding: otherwise they are judged",
    "qa_dropout": "a head that is not here",
    "summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout": "likewise",
    "text_config.projection_dim vision_config.projection_dim": "of towers on their own",
}


def fields_of(config):
    """Every field of a config of transformers; those of towers with a dot."""
    for name, value in config.to_dict().items():
        if name.endswith("_config"):
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


@pytest.mark.parametrize("name", FAMILIES)
def test_every_field_of_a_config_is_honoured_or_refused_by_name_or_changes_nothing(name):
    family, idle = FAMILIES[name], {field for names in SHAPES_NOTHING for field in names.split()}
    judged = {*family.fields, *family.fixed, *(field for fixed in family.fixed_for.values() for field in fixed)}
    left = {field for field in fields_of(CONFIGS[name]()) if field not in judged | idle}
    towers = {field for field in left if field.partition(".")[2] in idle}  # fields that all configs have
    assert sorted(left - towers) == []


RENAMES = {
    "the prefix of a model with a head": lambda name: f"bert.{name}",
    "gamma and beta": lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    ),
}


@pytest.mark.parametrize("kind", RENAMES)
def test_old_names_and_additional_prefixes_are_read(kind, tmp_path):
    folder_of_transformers(tmp_path, "BertModel")
    before = arrays_of(tmp_path)
    renamed(tmp_path, RENAMES[kind])
    after = arrays_of(tmp_path)
    assert {n: a.tobytes() for n, a in before.items()} == {n: a.tobytes() for n, a in after.items()}


def test_the_encoder_of_a_model_with_a_head_is_read_alone(tmp_path):
    folder_of_transformers(tmp_path, "BertForSequenceClassification")
    whole, encoder = arrays_of(tmp_path), arrays_of(tmp_path, twin="BertModel")
    assert {f"bert.{name}" for name in encoder} == {name for name in whole if not name.startswith("head")}
    assert all(whole[f"bert.{name}"].tobytes() == array.tobytes() for name, array in encoder.items())


def test_a_twin_of_another_family_is_refused(tmp_path):
    folder_of_transformers(tmp_path, "BertModel")
    with pytest.raises(IsogradError, match="unknown twin of bert 'GPT'"):
        from_pretrained(tmp_path, twin="GPT")


def test_buffers_and_repeated_tied_tensors_are_left_out_and_an_absent_pooler_is_absent(tmp_path):
    folder_of_transformers(tmp_path, "BertModel")
    arrays = renamed(tmp_path, lambda name: name)
    arrays = {name: array for name, array in arrays.items() if not name.startswith("pooler")}
    save_file({**arrays, "embeddings.position_ids": np.arange(19)[None]}, tmp_path / "model.safetensors")
    found = Pretrained(tmp_path)
    assert found.left_out == ["embeddings.position_ids"]
    assert not found.arguments["pooler"]


@pytest.mark.parametrize("shards", [("a.safetensors", "b.safetensors"), ("only.safetensors",)])
def test_shards_are_read_as_one(shards, tmp_path):
    folder_of_transformers(tmp_path, "BertModel")
    before = arrays_of(tmp_path)
    sharded(tmp_path, shards)
    assert {n: a.tobytes() for n, a in arrays_of(tmp_path).items()} == {n: a.tobytes() for n, a in before.items()}


def test_a_state_dict_of_torch_is_read_and_a_pickle_with_code_is_refused_and_never_run(tmp_path):
    model = folder_of_transformers(tmp_path, "BertModel")
    before = arrays_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert {n: a.tobytes() for n, a in arrays_of(tmp_path).items()} == {n: a.tobytes() for n, a in before.items()}

    class Code:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Code()}))
    with pytest.raises(IsogradError, match="refused to read|can't read"):
        from_pretrained(tmp_path)
    assert not (tmp_path / "executed").exists()


FIELDS = [
    ("BertModel", {"hidden_act": "mish"}, "unknown activation 'mish'"),
    (
        "BertModel",
        {"position_embedding_type": "relative_key"},
        "position_embedding_type 'relative_key' is",
    ),
    ("BertModel", {"is_decoder": True}, "is_decoder True is not supported"),
    ("BertModel", {"hidden_size": "15"}, "hidden_size must be of type int, got '15'"),
    ("BertModel", {"layer_norm_eps": "tiny"}, "layer_norm_eps must be a number, got 'tiny'"),
    ("BertModel", {"vocab_size": 10**12}, "wrong shape .*token_embedding.weight"),
    ("BertModel", {"num_hidden_layers": 10**9}, "only 39 tensors"),
    ("BertModel", {"layer_norm_eps": float("inf")}, "eps must be finite and above 0, got inf"),
    ("BertModel", {"vocab_size": 36}, "wrong shape .*token_embedding.weight"),
    ("BertModel", {"architectures": ["BertForTokenClassification"]}, "no architecture BertForTokenClassification here"),
    ("BertModel", {"quantization_config": {"load_in_8bit": True}}, "quantization_config {.*} is not supported"),
    ("BertModel", {"model_type": "t5"}, "unknown model_type 't5'"),
    ("BertModel", {"model_type": None}, "model_type must be one of bert, roberta"),
    ("BertModel", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
    ("BertForMaskedLM", {"tie_word_embeddings": False}, "tie_word_embeddings False is not supported"),
    ("BertForSequenceClassification", {"classifier_dropout": "no"}, "classifier_dropout must be a number, got 'no'"),
    ("BertForSequenceClassification", {"problem_type": "regression"}, "problem_type 'regression' is not supported"),
    ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True"),
    ("GPT2LMHeadModel", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn True is not supported"),
    ("GPT2LMHeadModel", {"scale_attn_weights": False}, "scale_attn_weights False is not supported"),
    ("GPT2LMHeadModel", {"add_cross_attention": True}, "add_cross_attention True is not supported"),
    ("GPT2LMHeadModel", {"activation_function": "relu"}, "activation_function 'relu' is not supported"),
    ("GPT2LMHeadModel", {"attn_pdrop": 0.3}, "attn_pdrop must equal dropout 0.1, got 0.3"),
    ("GPT2LMHeadModel", {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon 1e-06 is not supported"),
    ("DistilBertModel", {"sinusoidal_pos_embds": "yes"}, "sinusoidal_pos_embds 'yes' is not supported"),
    ("CLIPModel", {"projection_dim": 12}, "wrong shape text_projection.weight"),
    ("CLIPModel", {"vision_config__image_size": [10, 12]}, "vision_config.image_size must be of type int"),
    ("CLIPModel", {"text_config__hidden_act": 3}, "text_config.hidden_act must be of type str, got 3"),
]


@pytest.mark.parametrize(("name", "changes", "sentence"), FIELDS, ids=[str(row[1]) for row in FIELDS])
def test_a_field_that_would_change_the_numbers_is_refused_by_its_name(name, changes, sentence, tmp_path):
    folder_of_transformers(tmp_path, name)
    changed_config(tmp_path, **changes)
    with pytest.raises(IsogradError, match=sentence):
        from_pretrained(tmp_path)


def without_config(folder):
    (folder / "config.json").unlink()


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def with_a_missing_shard(folder):
    sharded(folder, ("a.safetensors", "b.safetensors"))
    (folder / "b.safetensors").unlink()


def with_a_shard_named(folder, name):
    sharded(folder, ("a.safetensors", "b.safetensors"))
    path = folder / "model.safetensors.index.json"
    path.write_text(path.read_text().replace("b.safetensors", json.dumps(name)[1:-1]))


def with_a_tensor_twice(folder):
    arrays = sharded(folder, ("a.safetensors", "b.safetensors"))
    save_file(arrays, folder / "b.safetensors")


def with_a_link_out(folder):
    outside = folder.parent / "outside.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)


def with_a_folder_that_is_a_link_out(folder):
    outside = folder.parent / "outside"
    outside.mkdir()
    sharded(folder, ("a.safetensors", "b.safetensors"))
    (folder / "b.safetensors").rename(outside / "b.safetensors")
    (folder / "sub").symlink_to(outside)
    index = (folder / "model.safetensors.index.json").read_text()
    (folder / "model.safetensors.index.json").write_text(index.replace("b.safetensors", "sub/b.safetensors"))


def with_an_array_of_integers(folder):
    arrays = load_file(folder / "model.safetensors")
    name = "cls.predictions.bias"
    save_file({**arrays, name: arrays[name].astype(np.int64)}, folder / "model.safetensors")


def with_an_untied_head(folder):
    arrays = load_file(folder / "model.safetensors")
    other = arrays["bert.embeddings.word_embeddings.weight"] + 1
    save_file({**arrays, "cls.predictions.decoder.weight": other}, folder / "model.safetensors")


DAMAGES = [
    (without_config, "has no config.json"),
    (truncated, "it is truncated, or no safetensors file"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has no weights: expected model.safetensors"),
    (with_a_missing_shard, "has no 'b.safetensors', which model.safetensors.index.json names"),
    (with_a_tensor_twice, "as another shard does: expected each tensor once"),
    (lambda folder: sharded(folder, ("../x.safetensors",)), "'../x.safetensors' is not a file of the folder"),
    (lambda folder: sharded(folder, ("/tmp/x.safetensors",)), "'/tmp/x.safetensors' is not a file of the folder"),
    (lambda folder: with_a_shard_named(folder, "b" * 999), "is not a file of the folder: .* too long"),
    (lambda folder: with_a_shard_named(folder, "b\n"), r"has no 'b\\n', which"),
    (lambda folder: sharded(folder, ("a.safetensors", "b\0")), "is not a file of the folder"),
    (with_a_link_out, "is a link to .*outside of the folder"),
    (with_a_folder_that_is_a_link_out, "sub/b.safetensors is a link to .*outside of the folder"),
    (with_an_array_of_integers, "weights are floats, got cls.predictions.bias .int64."),
    (with_an_untied_head, "cls.predictions.decoder.weight must repeat"),
    (
        lambda folder: renamed(folder, lambda n: None if "query.bias" in n else n),
        "missing bert.encoder.layer.0",
    ),
    (lambda folder: renamed(folder, lambda n: n + "x" if "pos" in n else n), "unused .*position_embeddings.weightx"),
    (lambda folder: (folder / "config.json").write_text("{"), "is not valid JSON"),
    (lambda folder: (folder / "config.json").write_text("[]"), "must be a JSON object, got list"),
]


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES, ids=[row[1] for row in DAMAGES])
def test_a_damaged_or_malicious_folder_is_refused_in_one_sentence(damage, sentence, tmp_path):
    folder = tmp_path / "folder"
    folder_of_transformers(folder, "BertForMaskedLM")
    damage(folder)
    with pytest.raises(IsogradError, match=sentence):
        from_pretrained(folder)


@pytest.mark.parametrize("shape", [(9, 4), ()], ids=str)
@pytest.mark.parametrize("turned", [True, False])
def test_what_does_not_divide_along_its_outputs_is_refused_however_long_its_other_axis(turned, shape):
    rows = [
        Row("kernel", name, (part, 3), transposed=True) if turned else Row(name, "kernel", canonical_block=(part, 3))
        for part, name in enumerate("qkv")
    ]
    kernel, convert = (shape, lazily_from) if turned else (shape[::-1], lazily_to)
    with pytest.raises(WeightsError, match=re.escape(f"not of equal parts kernel {kernel}")):
        convert("a model", rows, lazy({"kernel": np.zeros(kernel)}))


PLACES = {"models--a/snapshots/1": True, "models--a/other/1": False, "a/snapshots/1": False}  # -> is it the hub's cache


@pytest.mark.parametrize("place", PLACES)
def test_links_lead_to_files_beside_a_snapshot_of_the_hub_and_nowhere_else(place, tmp_path):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder.parent.parent / "blob").write_text("{}")
    (folder / "config.json").symlink_to(folder.parent.parent / "blob")
    with nullcontext() if PLACES[place] else pytest.raises(IsogradError, match="outside of the folder"):
        assert read_config(folder) == {}


def test_a_model_that_transformers_does_not_have_is_not_written(tmp_path):
    with pytest.raises(IsogradError, match="transformers has no model for GRU"):
        save_pretrained(torch_impl.GRU(3, 4), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_lazy_arrays_are_written_as_safetensors_itself_reads_them(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {name: generator.standard_normal((3, 5)).astype(name) for name in ("float64", "float32", "float16")}
    arrays |= {"turned": np.arange(12.0).reshape(3, 4).T, "scalar": np.array(3.5), "int64": np.arange(3)}
    write_safetensors(tmp_path / "a.safetensors", lazy(arrays), {})
    found = load_file(tmp_path / "a.safetensors")
    again = {name: array.read() for name, array in open_safetensors(tmp_path / "a.safetensors").items()}
    for read in (found, again):
        assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in read.items()} == {
            n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()
        }
    assert all(array.flags.aligned for array in again.values())


@pytest.mark.parametrize("order", "<>")
def test_arrays_of_either_order_of_bytes_are_written_alike(order):
    array = np.arange(6.0, dtype=f"{order}f4").reshape(2, 3)
    assert bytes(contiguous_bytes(lazy({"a": array})["a"])) == np.arange(6.0, dtype="<f4").tobytes()


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_of_floats_are_cast_and_others_stay(name):
    array = np.arange(6).astype(DTYPES[name])
    found = cast_floats(lazy({"a": array}), np.dtype(np.float32))["a"]
    is_float = "F" in name
    assert found.dtype == found.read().dtype == (np.float32 if is_float else DTYPES[name])
    assert found.read().tolist() == array.tolist()


def test_arrays_that_were_read_leave_the_memory_of_the_process(tmp_path):
    arrays = {str(number): np.ones(2**20) for number in range(8)}
    save_file(arrays, tmp_path / "a.safetensors")
    opened, before = open_safetensors(tmp_path / "a.safetensors"), process_memory()["steady_bytes"]
    most = max(process_memory()["steady_bytes"] - before for array in opened.values() if array.read().sum())
    assert most < sum(array.nbytes for array in arrays.values()) - arrays["0"].nbytes


def test_an_array_is_a_view_of_its_file_wherever_it_lies_there(tmp_path):
    numbers, header = np.arange(5, dtype=np.float32), '{"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}}'
    header += " " * (5 - len(header) % 4)  # the numbers begin at an odd place
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header.encode() + numbers.tobytes())
    array = open_safetensors(tmp_path / "a")["a"]
    assert np.shares_memory(array.read(), array.read())
    assert np.array_equal(array.read(), numbers)
    assert not array.read().flags.writeable


def test_a_loaded_model_is_pages_of_its_file_that_no_training_writes_to(tmp_path):
    write_bert(tmp_path / "bert")
    before = (tmp_path / "bert" / "model.safetensors").read_bytes()
    module, again = from_pretrained(tmp_path / "bert"), from_pretrained(tmp_path / "bert")
    first = torch_impl.to_arrays(again)
    storages = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    assert all(array.mapped is not None for array in open_safetensors(tmp_path / "bert" / "model.safetensors").values())
    assert len(storages) == len(list(module.parameters()))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(3.0)
    assert (tmp_path / "bert" / "model.safetensors").read_bytes() == before
    assert all(np.array_equal(array, first[name]) for name, array in torch_impl.to_arrays(again).items())


def test_a_loaded_model_keeps_its_numbers_when_its_folder_is_written_anew(tmp_path):
    write_bert(tmp_path / "bert")
    module = from_pretrained(tmp_path / "bert")
    before = torch_impl.to_arrays(module)
    other = from_pretrained(tmp_path / "bert")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.neg_()
    save_pretrained(other, tmp_path / "bert")
    assert {name: array.tobytes() for name, array in torch_impl.to_arrays(module).items()} == {
        name: array.tobytes() for name, array in before.items()
    }
    assert all(np.array_equal(array, -before[name]) for name, array in arrays_of(tmp_path / "bert").items())


@pytest.mark.parametrize("shift", [1, 2])
def test_numbers_at_an_odd_place_of_a_file_are_copied(tmp_path, shift):
    """A tensor whose address no number of its dtype may have is slow or forbidden, by the processor."""
    write_bert(tmp_path / "bert")
    path, expected = tmp_path / "bert" / "model.safetensors", arrays_of(tmp_path / "bert")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    path.write_bytes(
        (length + shift).to_bytes(8, "little") + content[8 : 8 + length] + b" " * shift + content[8 + length :]
    )
    assert all(array.mapped is None for array in open_safetensors(path).values())
    assert {n: a.tobytes() for n, a in arrays_of(tmp_path / "bert").items()} == {
        n: a.tobytes() for n, a in expected.items()
    }
