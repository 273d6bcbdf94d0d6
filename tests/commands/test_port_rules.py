"""`isograd port --rules`: any weights by a table of the user's own, in both directions, without losing a byte."""

import re
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
from shared.errors import IsogradError, WeightsError
from shared.lazy.arrays import lazy
from shared.lazy.msgpack_trees import open_msgpack
from shared.rules.moving import _are_equal, apply, names_of
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


def contents(named):
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in named.items()}


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


@pytest.mark.parametrize("to", ["torch", "orbax", "nnx"])
def test_files_of_a_framework_hold_what_a_table_makes_and_are_read_by_one(to, tmp_path):
    rules, arrays = written(tmp_path / "rules.toml", HEADS), {"bias.0": np.arange(6.0), "bias.1": np.ones(6)}
    arrays |= {f"in_proj_weight.{layer}": np.arange(60.0).reshape(12, 5) + layer for layer in (0, 1)}
    save_file(arrays, tmp_path / "a.safetensors")
    port_by_rules(tmp_path / "a.safetensors", tmp_path / "b", rules, to=to)
    port_by_rules(tmp_path / "b", tmp_path / "c.safetensors", rules)
    assert contents(load_file(tmp_path / "c.safetensors")) == contents(arrays)


def test_a_state_dict_of_torch_is_a_source_and_a_dry_run_writes_nothing(tmp_path, capsys):
    rules = written(tmp_path / "rules.toml", '[[row]]\nsource = "weight"\ntarget = "kernel"\ntransposed = true\n')
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)}, tmp_path / "a.pt")
    command = ["port", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors"), "--rules", str(rules)]
    assert main([*command, "--dry-run"]) == 0
    assert "weight -> kernel" in capsys.readouterr().out
    assert not (tmp_path / "b.safetensors").exists()
    assert main(command) == 0
    assert load_file(tmp_path / "b.safetensors")["kernel"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


HEADS = """
[[row]]
source = "blocks/{}/kernel"
target = "in_proj_weight.{}"
target_part = [0, 2]
axes = "in heads size -> (heads size) in"
sizes = { heads = 3 }

[[row]]
source = "blocks/{}/other"
target = "in_proj_weight.{}"
target_part = [1, 2]
axes = "in heads size -> (heads size) in"
sizes = { heads = 3 }

[[row]]
source = "biases"
target = "bias.{}"
stacked = true
axes = "heads size -> (heads size)"
sizes = { heads = 3 }
"""


def test_axes_by_name_part_and_join_heads_there_and_back(tmp_path, capsys):
    rules, draw = written(tmp_path / "rules.toml", HEADS), np.random.default_rng(0).standard_normal
    kernels = {f"blocks/{layer}/{name}": draw((5, 3, 2)) for layer in (0, 1) for name in ("kernel", "other")}
    arrays = {**kernels, "biases": draw((2, 3, 2))}
    save_file(arrays, tmp_path / "a.safetensors")
    port_by_rules(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rules)
    moved = load_file(tmp_path / "b.safetensors")
    expected = [arrays[f"blocks/1/{name}"].reshape(5, 6).T for name in ("kernel", "other")]
    assert np.array_equal(moved["in_proj_weight.1"], np.concatenate(expected))
    assert np.array_equal(moved["bias.1"], arrays["biases"][1].reshape(6))
    port_by_rules(tmp_path / "b.safetensors", tmp_path / "c.safetensors", rules)
    assert contents(load_file(tmp_path / "c.safetensors")) == contents(arrays)
    command = ["port", str(tmp_path / "b.safetensors"), str(tmp_path / "d.safetensors"), "--rules", str(rules)]
    assert main([*command, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "in_proj_weight.1[1/2] -> blocks/1/other\n" in told
    assert "bias.1 -> biases[1]\n" in told


def rows_of(names, **settings):
    """A table that renames, each row with the same settings."""
    more = "".join(f"{name} = {value}\n" for name, value in settings.items())
    return "".join(f"[[row]]\nsource = '{source}'\ntarget = '{target}'\n{more}" for source, target in names.items())


def moved(tmp_path, arrays, rules):
    """The arrays after a table, which then takes them back to the byte; those left out stay away."""
    save_file(arrays, tmp_path / "a.safetensors")
    port_by_rules(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rules)
    port_by_rules(tmp_path / "b.safetensors", tmp_path / "c.safetensors", rules)
    back = contents(load_file(tmp_path / "c.safetensors"))
    assert back == {name: each for name, each in contents(arrays).items() if name in back}
    return load_file(tmp_path / "b.safetensors"), arrays.keys() - back.keys()


def drawn(**shapes):
    return {name: np.random.default_rng(len(name)).standard_normal(shape) for name, shape in shapes.items()}


def test_a_kernel_that_is_turned_by_its_axes_leaves_the_table_as_it_is_written(tmp_path):
    settings = {"stacked": "true", "axes": "'outputs inputs -> inputs outputs'"}
    table = written(tmp_path / "r.toml", rows_of({"weights": "layers.{}.kernel"}, **settings))
    arrays = drawn(weights=(3, 5, 2))
    found, _ = moved(tmp_path, arrays, table)
    assert np.array_equal(found["layers.1.kernel"], arrays["weights"][1].T)


def test_layers_keep_the_numbers_that_their_names_have_and_every_list_its_length(tmp_path):
    names = ["conv.1.w", "conv.2.w", "conv.10.w", "enc.0.w", "enc.1.w", "dec.0.w", "dec.1.w", "dec.2.w"]
    rules = written(
        tmp_path / "r.toml", rows_of({f"{part}.{{}}.w": f"{part}_{{}}/w" for part in ("conv", "enc", "dec")})
    )
    found, lost = moved(tmp_path, drawn(**dict.fromkeys(names, (2, 3))), rules)
    assert (found.keys(), lost) == ({re.sub(r"\.(\d+)\.", r"_\1/", name) for name in names}, set())


def test_a_stack_lacks_no_layer(tmp_path):
    rules = written(tmp_path / "r.toml", rows_of({"w": "layers.{}.w"}, stacked="true"))
    save_file(drawn(**{"layers.0.w": (2,), "layers.2.w": (2,)}), tmp_path / "a.safetensors")
    with pytest.raises(IsogradError, match=r"missing layers.1.w"):
        port_by_rules(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rules)


def test_tied_arrays_are_ported_once_and_come_back_under_all_of_their_names(tmp_path, capsys):
    table = written(tmp_path / "r.toml", "tied = [['embed', 'encoder.embed', 'head']]\n" + rows_of({"embed": "e"}))
    (embed,) = drawn(embed=(5, 2)).values()
    found, lost = moved(tmp_path, {"embed": embed, "encoder.embed": embed, "head": embed}, table)
    assert (contents(found), lost) == (contents({"e": embed}), set())
    save_file({"head": embed}, tmp_path / "one.safetensors")  # as files are that keep one of tied names
    port_by_rules(tmp_path / "one.safetensors", tmp_path / "two.safetensors", table)
    assert contents(load_file(tmp_path / "two.safetensors")) == contents(found)
    save_file({"embed": embed, "encoder.embed": embed, "head": -embed}, tmp_path / "untied.safetensors")
    assert (
        main(["port", str(tmp_path / "untied.safetensors"), str(tmp_path / "d.safetensors"), "--rules", str(table)])
        == 2
    )
    assert "ties head to embed, but their numbers differ" in capsys.readouterr().err


def test_what_a_table_leaves_out_is_told_and_stays_away(tmp_path, capsys):
    table = written(tmp_path / "r.toml", "left_out = ['bn{}.count']\n" + rows_of({"bn{}.weight": "bn{}/scale"}))
    arrays = {**drawn(**{"bn1.weight": (3,)}), "bn1.count": np.array(7)}
    found, lost = moved(tmp_path, arrays, table)
    assert (found.keys(), lost) == ({"bn1/scale"}, {"bn1.count"})
    assert (
        main(
            [
                "port",
                str(tmp_path / "a.safetensors"),
                str(tmp_path / "d.safetensors"),
                "--rules",
                str(table),
                "--dry-run",
            ]
        )
        == 0
    )
    assert "bn1.count -> left out\n" in capsys.readouterr().out


def test_a_table_may_go_from_pytorch_to_flax_with_kernels_of_convolutions_and_packed_ones(tmp_path):
    names = {"conv.weight": "conv/kernel"}
    packed = "".join(
        rows_of({name: "qkv/kernel"}, transposed="true", target_part=f"[{part}, 3]") for part, name in enumerate("qkv")
    )
    table = written(tmp_path / "r.toml", rows_of(names, transposed="true") + packed)
    arrays = drawn(**{"conv.weight": (7, 3, 2, 5), "q": (4, 6), "k": (4, 6), "v": (4, 6)})
    found, _ = moved(tmp_path, arrays, table)
    assert np.array_equal(found["conv/kernel"], arrays["conv.weight"].transpose(2, 3, 1, 0))
    assert np.array_equal(found["qkv/kernel"], np.concatenate([arrays[name].T for name in "qkv"], axis=1))


@pytest.mark.parametrize("number", [1, 2])
def test_axes_by_name_may_be_written_from_pytorch_to_flax(tmp_path, number):
    kernel = rows_of({"fc.weight": "fc/kernel"}, transposed="true")
    heads = rows_of({"out.weight": "out/heads"}, axes="'e (h d) -> h d e'", sizes=f"{{ h = {number} }}")
    table = written(tmp_path / "r.toml", kernel + heads)
    arrays = drawn(**{"fc.weight": (4, 3), "out.weight": (5, 6)})
    found, _ = moved(tmp_path, arrays, table)
    assert np.array_equal(found["out/heads"], arrays["out.weight"].reshape(5, number, -1).transpose(1, 2, 0))


def test_arrays_that_are_told_are_left_as_they_are(tmp_path):
    table = written(tmp_path / "r.toml", "tied = [['a', 'b']]\n" + rows_of({"a": "c"}))
    (array,) = drawn(a=(2, 3)).values()
    arrays = lazy({"a": array, "b": array})
    assert names_of(table, arrays) == [("a", "c"), ("b", "the same as a")]
    apply(table, arrays)
    assert list(arrays) == ["a", "b"]
    with pytest.raises(WeightsError, match="ties b to a, but their numbers differ"):
        names_of(table, lazy({"a": array, "b": -array}))


def test_the_hint_to_name_what_is_unused_stands_only_where_something_is(tmp_path):
    table = written(tmp_path / "r.toml", rows_of({"a": "c", "b": "d"}))
    with pytest.raises(WeightsError, match="missing b; unused none$"):
        apply(table, lazy(drawn(a=(2,))))
    with pytest.raises(WeightsError, match="missing none; unused x, which a row, tied or left_out must name$"):
        apply(table, lazy(drawn(a=(2,), b=(2,), x=(2,))))


def test_what_is_missing_is_told_in_order_and_layers_of_a_stack_by_their_numbers(tmp_path):
    names = "abcdefgh"
    table = written(tmp_path / "r.toml", rows_of(dict(zip(names, names.upper(), strict=True))))
    with pytest.raises(WeightsError, match=r"missing b, c, d, e, f, g, h; unused none$"):
        apply(table, lazy(drawn(a=(2,))))
    stack = rows_of({"w": "{}.w"}, stacked="true")
    with pytest.raises(WeightsError, match=r"missing w\[0\]; unused none$"):
        apply(written(tmp_path / "s.toml", stack + rows_of({"a": "b"})), lazy(drawn(a=(2,))))
    with pytest.raises(WeightsError, match=r"must use every part of w\[0\] once"):
        apply(written(tmp_path / "t.toml", f"{stack}source_part = [1, 2]\n"), lazy(drawn(w=(1, 2))))


def test_a_stack_of_one_layer_and_parts_in_any_order_come_back(tmp_path):
    stack = rows_of({"w": "layers.{}.w"}, stacked="true")
    parts = "".join(rows_of({name: "qk"}, target_part=part) for name, part in {"k": "[1, 2]", "q": "[0, 2]"}.items())
    arrays = drawn(w=(1, 3), q=(2, 4), k=(2, 4))
    found, lost = moved(tmp_path, arrays, written(tmp_path / "r.toml", stack + parts))
    assert np.array_equal(found["qk"], np.concatenate([arrays["q"], arrays["k"]]))
    assert (found["layers.0.w"].shape, lost) == ((3,), set())


def test_layers_are_told_in_order_and_a_list_may_have_both_tied_and_left_out(tmp_path):
    text = "tied = [['a', 'b']]\nleft_out = ['c']\n" + rows_of({"a": "A", "l.{}": "L.{}"})
    table = written(tmp_path / "r.toml", text)
    told = names_of(table, lazy(drawn(**dict.fromkeys(["a", "l.8", "l.1", "c"], (2,)))))
    assert [name for name, _ in told] == ["a", "l.1", "l.8", "c"]


def test_a_file_goes_before_a_ready_table_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / ready()[0], rows_of({"own": "name"}))
    assert [row.canonical for row in read_table(Path(ready()[0])).rows] == ["name"]


ROW = "[[row]]\nsource = 'q'\ntarget = 'r'\n"
REST = rows_of({"embed/embedding": "e", "k": "l", "layers/attention/kernel": "m"})
BAD = [
    ("[[row]]\nsource = 'a'\n", "row 1: expected source and target"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\nsum = true\n", "row 1: there is no sum, only source, target"),
    ("[[row]]\nsource = 'a'\ntarget = 'b.{}'\n", "the layer {} must stand once in source and target"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\nsource_part = [2, 2]\n", "source_part must be [which, of how many]"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\nsource_part = [0.0, 2]\n", "source_part must be [which, of how many]"),
    ("[[row]]\nsource = 'a'\ntarget = 'b'\ntransposed = 1\n", "transposed must be of type bool, got 1"),
    (f"{ROW}axes = 'a b'\n", "the same names on both sides of ->"),
    (f"{ROW}axes = 'a b -> b c'\n", "the same names on both sides of ->"),
    (f"{ROW}axes = 'a a -> a a'\n", "the same names on both sides of ->"),
    (f"{ROW}axes = 'a -> a'\nsizes = {{ b = 2 }}\n", "sizes has b, which are no axes"),
    (f"{ROW}axes = 'a -> a'\nsizes = {{ a = 0 }}\n", "sizes must be whole numbers above 0"),
    (f"{ROW}axes = 'a -> a'\ntransposed = true\n", "leave transposed out"),
    (f"{ROW}sizes = {{ a = 2 }}\n", "sizes are those of axes"),
    (f"{ROW}axes = 'a -> a'\n{ROW}axes = 'a -> a'\nsizes = {{ a = 2 }}\n", "axes of q differ from row to row"),
    (f"{ROW}axes = 'a b c -> c b a'\n", "q has the shape (2, 4), but the axes a b c"),
    (f"{ROW}axes = 'a (b c) -> a b c'\n", "q: (b c) can be parted if sizes tells b or c"),
    (f"{ROW}axes = 'a (b c) -> a b c'\nsizes = {{ b = 3 }}\n", "which a (b c) with {'b': 3} is not"),
    ("row = 3\n", "expected [[row]] tables"),
    ("tied = ['q']\n" + ROW, "tied must be lists of the names of one array, got ['q']"),
    ("tied = [['q', 1]]\n" + ROW, "tied must be lists of the names of one array, got [['q', 1]]"),
    ("tied = [['q']]\n" + ROW, "tied must be lists of the names of one array"),
    ("tied = [['x', 'y']]\n" + ROW, "x: in no row, though the first of tied names"),
    ("tied = [['q', 'r']]\n" + ROW, "r: in a row, and tied to another or left out"),
    ("left_out = ['k', 'k']\n" + ROW, "k: more than once in tied and left_out"),
    ("left_out = 'k'\n" + ROW, "left_out must be a list of names, got 'k'"),
    (ROW + "left_out = ['k']\n", "row 1: left_out stands above the first row"),
    ("part = 2\n" + ROW, "and tied or left_out above them, got part, row"),
    (rows_of({"q": "r", "embed/embedding": "r", "k": "l", "layers/attention/kernel": "m"}), "every part of r once"),
    (REST + ROW + ROW.replace("'r'", "'s'"), "every part of q once"),
    (REST + ROW + "source_part = [0, 2]\n", "every part of q once"),
    (REST + rows_of({"q": "a.kernel", "r.kernel": "s"}, transposed="true"), "write all rows from Flax to PyTorch"),
    ("[[row]\n", "is not valid TOML"),
    ("[[row]]\nsource = 'embed/embedding'\ntarget = 'b'\n", "unused k, layers/attention/kernel, q"),
    ("[[row]]\nsource = 'x'\ntarget = 'b'\n", "missing x"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[f"{number}: {row[1]}" for number, row in enumerate(BAD)])
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
        assert read_table(Path(name)).rows
    with pytest.raises(IsogradError, match="or one of bert-flax-torch, clip-flax-torch"):
        read_table(Path("bart"))


@pytest.mark.parametrize(
    "other", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.int32), np.full((2, 3), -0.0, np.float32)]
)
def test_arrays_are_equal_by_shape_dtype_and_every_bit(other):
    arrays = lazy({"ours": np.zeros((2, 3), np.float32), "again": np.zeros((2, 3), np.float32), "other": other})
    assert _are_equal(arrays["ours"], arrays["again"])
    assert not _are_equal(arrays["ours"], arrays["other"])
