"""`isograd port --rules`: any weights by a table of the user's own, in both directions, without losing a byte."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers_models import folder_of_transformers

from experiments.cli import main
from experiments.porting.by_rules import port_by_rules
from experiments.porting.port import port
from shared.errors import IsogradError
from shared.lazy.msgpack_trees import open_msgpack
from shared.rules.tables import read_table, ready

TABLE = """
[[row]]
source = "embed/embedding"
target = "embed.weight"

[[row]]
source = "layers/attention/kernel"
target = "layers.{}.in_proj_weight"
stacked = true
transposed = true

[[row]]
source = "q"
target = "packed"
target_part = [0, 2]

[[row]]
source = "k"
target = "packed"
target_part = [1, 2]
"""


def written(path, text):
    path.write_text(text)
    return path


def contents(arrays):
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def own_arrays():
    draw = np.random.default_rng(0).standard_normal
    return {
        "embed/embedding": draw((7, 5)).astype(np.float16),
        "layers/attention/kernel": draw((3, 5, 15)),
        "q": draw((2, 4)).astype(np.float32),
        "k": draw((2, 4)).astype(np.float32),
    }


def test_names_axes_stacked_layers_and_packed_parts_go_there_and_back(tmp_path):
    rules, arrays = written(tmp_path / "rules.toml", TABLE), own_arrays()
    save_file(arrays, tmp_path / "a.safetensors")
    port_by_rules(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rules)
    moved = load_file(tmp_path / "b.safetensors")
    assert np.array_equal(moved["layers.2.in_proj_weight"], arrays["layers/attention/kernel"][2].T)
    assert np.array_equal(moved["packed"], np.concatenate([arrays["q"], arrays["k"]]))
    port_by_rules(tmp_path / "b.safetensors", tmp_path / "c.safetensors", rules)
    assert contents(load_file(tmp_path / "c.safetensors")) == contents(arrays)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("BertModel", "bert-flax-torch"),
        ("RobertaModel", "roberta-flax-torch"),
        ("GPT2LMHeadModel", "gpt2-flax-torch"),
        ("CLIPModel", "clip-flax-torch"),
    ],
)
def test_a_ready_table_says_what_the_port_of_the_model_does(name, table, tmp_path, capsys):
    folder_of_transformers(tmp_path / "hf", name)
    port(tmp_path / "hf", tmp_path / "linen", to="linen")
    tree = str(tmp_path / "tree.msgpack")
    assert main(["port", str(tmp_path / "hf"), tree, "--rules", table]) == 0
    ours, theirs = open_msgpack(tmp_path / "tree.msgpack"), open_msgpack(tmp_path / "linen" / "flax_model.msgpack")
    assert contents({n: a.read() for n, a in ours.items()}) == contents({n: a.read() for n, a in theirs.items()})


@pytest.mark.parametrize("name", ["ViTModel", "T5EncoderModel"])
def test_a_ready_table_fits_the_names_of_a_model_that_is_not_a_twin(name, tmp_path):
    made = {
        "ViTModel": lambda: transformers.ViTConfig(
            hidden_size=6, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4
        ),
        "T5EncoderModel": lambda: transformers.T5Config(
            vocab_size=9, d_model=6, d_kv=3, d_ff=8, num_layers=2, num_heads=2
        ),
    }[name]()
    options = {"add_pooling_layer": False} if name == "ViTModel" else {}
    model = getattr(transformers, name)(made, **options)
    model.save_pretrained(tmp_path / "hf")
    table = {"ViTModel": "vit-flax-torch", "T5EncoderModel": "t5-encoder-flax-torch"}[name]
    source = tmp_path / "hf" / "model.safetensors"
    port_by_rules(source, tmp_path / "tree.msgpack", Path(table))
    port_by_rules(tmp_path / "tree.msgpack", tmp_path / "home.safetensors", Path(table))
    assert contents(load_file(tmp_path / "home.safetensors")) == contents(load_file(source))


def test_a_state_dict_of_torch_is_a_source_and_a_dry_run_writes_nothing(tmp_path, capsys):
    rules = written(tmp_path / "rules.toml", '[[row]]\nsource = "weight"\ntarget = "kernel"\ntransposed = true\n')
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)}, tmp_path / "a.pt")
    command = ["port", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors"), "--rules", str(rules)]
    assert main([*command, "--dry-run"]) == 0
    assert "weight -> kernel" in capsys.readouterr().out
    assert not (tmp_path / "b.safetensors").exists()
    assert main(command) == 0
    assert load_file(tmp_path / "b.safetensors")["kernel"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


BAD = [
    ("[[row]]\nsource = 'a'\n", "row 1: expected source and target"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\nsum = true\n", "row 1: there is no sum, only source, target"),
    ("[[row]]\nsource = 'a'\ntarget = 'b.{}'\n", "the layer {} must stand once in source and target"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\nsource_part = [2, 2]\n", "source_part must be [which, of how many]"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\ntransposed = 1\n", "transposed must be of type bool, got 1"),
    ("row = 3\n", "expected [[row]] tables"),
    ("[[row]\n", "is not valid TOML"),
    ("[[row]]\nsource = 'embed/embedding'\ntarget = 'b'\n", "unused k, layers/attention/kernel, q"),
    ("[[row]]\nsource = 'x'\ntarget = 'b'\n", "missing x"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[row[1] for row in BAD])
def test_a_table_that_does_not_fit_is_refused_in_one_sentence_and_nothing_is_written(text, sentence, tmp_path, capsys):
    rules = written(tmp_path / "rules.toml", text)
    save_file(own_arrays(), tmp_path / "a.safetensors")
    out = tmp_path / "b.safetensors"
    assert main(["port", str(tmp_path / "a.safetensors"), str(out), "--rules", str(rules)]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_every_ready_table_is_one_and_an_unknown_name_is_refused_with_those_there_are():
    assert len(ready()) == 6
    for name in ready():
        assert read_table(Path(name))[0]
    with pytest.raises(IsogradError, match="or one of bert-flax-torch, clip-flax-torch"):
        read_table(Path("bart"))
