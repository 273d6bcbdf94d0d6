"""`isograd port`: every hop between the formats keeps every byte, says what it did, and refuses what it can't carry."""

import functools
import json
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from places import ROOT

from crosscheck.criterion import PROOF
from experiments.porting.formats import Source
from experiments.porting.port import find_model, port
from experiments.porting.verification import is_identical
from jax_impl import build as jax_build
from jax_impl import weight_files as jax_files
from shared import checkpoint, run_folder
from shared.errors import IsogradError, WeightsError
from shared.lazy.arrays import lazy
from shared.registry import TWINS
from torch_impl import build as torch_build
from torch_impl import weight_files as torch_files
from torch_impl.weights import parameter_shapes

WITHOUT_WEIGHTS = ("SinusoidalPositions", "SimpleAttentionFree", "RandomFeatureAttention")
CLASSES = [name for name, twin in TWINS.items() if not twin.function and name not in WITHOUT_WEIGHTS]
DTYPES = (np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float64))
BUILDS = {torch_files: torch_build, jax_files: jax_build}
SMALL = "ReviewClassifierGRU:encoder_only"


def test_arguments_that_are_given_win_over_those_of_the_source():
    source, known = Source("safetensors", Path("w")), {"input_size": 3, "hidden_size": 4}
    twin, found = find_model(source, {"twin": "GRU", "arguments": known}, None, {"hidden_size": 5})
    assert (twin.name, found) == ("GRU", {"input_size": 3, "hidden_size": 5})


@functools.cache
def built(build, name: str, arguments: str):
    return build.build_twin.uncached(TWINS[name], json.loads(arguments), abstract=True)


@pytest.fixture(autouse=True)
def abstract_modules_are_built_once(monkeypatch):
    """Only their names and shapes are used, and tracing their constructors takes half of a port's time."""
    for build in BUILDS.values():
        uncached = getattr(build.build_twin, "uncached", build.build_twin)

        def build_twin(twin, arguments, abstract=False, build=build, uncached=uncached):
            known = abstract and TWINS.get(twin.name) is twin
            return (
                built(build, twin.name, json.dumps(dict(arguments))) if known else uncached(twin, arguments, abstract)
            )

        build_twin.uncached = uncached
        monkeypatch.setattr(build, "build_twin", build_twin)


def random_arrays(name: str, *dtypes: np.dtype) -> dict[str, np.ndarray]:
    """Every bit pattern is equally likely, including NaN with a payload; the dtypes take turns."""
    generator = np.random.default_rng(0)
    shapes = parameter_shapes(torch_build.build_twin(TWINS[name], TWINS[name].arguments, abstract=True))
    arrays = {}
    for number, (key, shape) in enumerate(shapes.items()):
        dtype = dtypes[number % len(dtypes)]
        arrays[key] = np.frombuffer(generator.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
    return arrays


def plain_arrays(name: str, dtype: np.dtype = DTYPES[0]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {key: array.shape for key, array in random_arrays(name, dtype).items()}
    return {key: (0.3 * generator.standard_normal(shape)).astype(dtype) for key, shape in shapes.items()}


def model_of(name: str) -> dict:
    return {"model": name, "arguments": dict(TWINS[name].arguments)}


def abstract(files, name: str):
    return BUILDS[files].build_twin(TWINS[name], TWINS[name].arguments, abstract=True)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape), key
        assert found[key].tobytes() == array.tobytes(), key


def go_round(name: str, arrays: dict[str, np.ndarray], folder: Path) -> None:
    """safetensors -> torch -> Orbax -> safetensors."""
    metadata = {"twin": name, "arguments": dict(TWINS[name].arguments), "experiment": "of mine"}
    checkpoint.save(folder / "start.safetensors", arrays, metadata)
    port(folder / "start.safetensors", folder / "weights.pt")
    port(folder / "weights.pt", folder / "weights.orbax", **model_of(name))
    port(folder / "weights.orbax", folder / "end.safetensors")
    assert_same(torch_files.read_weights(folder / "weights.pt", abstract(torch_files, name)), arrays)
    assert_same(checkpoint.load(folder / "end.safetensors")[0], arrays)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.exhaustive] * (name != TWINS[name].public_name)) for name in CLASSES
])  # fmt: skip
def test_weights_of_mixed_dtypes_keep_every_byte_through_every_format(name, tmp_path):
    go_round(name, random_arrays(name, *DTYPES), tmp_path)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_of_one_dtype_keep_every_byte_through_every_format(dtype, tmp_path):
    go_round("ReviewClassifierTransformer", random_arrays("ReviewClassifierTransformer", dtype), tmp_path)


def test_a_torch_file_loads_without_isograd_into_the_torch_twin(tmp_path):
    arrays = plain_arrays(SMALL)
    torch_files.write_weights(tmp_path / "w.pt", arrays, abstract(torch_files, SMALL), {})
    module = torch_build.build_twin(TWINS[SMALL], TWINS[SMALL].arguments)
    module.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    assert_same({name: p.detach().numpy() for name, p in module.named_parameters()}, arrays)


def test_an_orbax_folder_loads_without_isograd_into_the_jax_twin(tmp_path):
    import jax
    import orbax.checkpoint as ocp
    from flax import nnx

    arrays = plain_arrays(SMALL)
    jax_files.write_weights(tmp_path / "w", arrays, abstract(jax_files, SMALL), {})
    graph, abstract_state = nnx.split(abstract(jax_files, SMALL), nnx.Param, ...)[:2]
    with ocp.StandardCheckpointer() as checkpointer:
        tree = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), nnx.to_pure_dict(abstract_state))
        restored = checkpointer.restore((tmp_path / "w").absolute(), tree)
    np.testing.assert_array_equal(restored["classifier"]["kernel"], arrays["classifier.weight"].T)
    np.testing.assert_array_equal(
        restored["encoder_decoder"]["encoder"]["embedding"]["weight"],
        arrays["encoder_decoder.encoder.embedding.weight"],
    )


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "module.", "_orig_mod.module."])
def test_foreign_torch_files_are_read(tmp_path, wrapped):
    arrays = plain_arrays(SMALL)
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    content = {
        "plain": tensors,
        "state_dict": {"state_dict": tensors, "epoch": 3},
    }.get(wrapped, {wrapped + name: tensor for name, tensor in tensors.items()})
    torch.save(content, tmp_path / "w.pt")
    assert_same(torch_files.read_weights(tmp_path / "w.pt", abstract(torch_files, SMALL)), arrays)


@pytest.mark.parametrize("pure", [True, False])
def test_foreign_orbax_folders_are_read(tmp_path, pure):
    import orbax.checkpoint as ocp
    from flax import nnx

    from jax_impl.weights import to_arrays

    module = jax_build.build_twin(TWINS[SMALL], TWINS[SMALL].arguments)
    state = nnx.state(module, nnx.Param)
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(3, args=ocp.args.StandardSave(nnx.to_pure_dict(state) if pure else state))
        manager.wait_until_finished()
    port(tmp_path / "run" / "3", tmp_path / "w.safetensors", **model_of(SMALL))
    assert_same(checkpoint.load(tmp_path / "w.safetensors")[0], to_arrays(module))


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    save({"classifier.weight": Bomb()}, tmp_path / "w.pt")
    with pytest.raises(IsogradError, match="refused to read .*could run code") as caught:
        port(tmp_path / "w.pt", tmp_path / "w.safetensors", **model_of(SMALL))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write(kind: str, path: Path) -> None:
    if kind == "safetensors":
        checkpoint.save(path, plain_arrays(SMALL), {})
    else:
        files = {"torch": torch_files, "orbax": jax_files}[kind]
        files.write_weights(path, plain_arrays(SMALL), abstract(files, SMALL), {})


DAMAGES = {
    ("safetensors", "."): halve,
    ("torch", "."): halve,
    ("orbax", "_METADATA"): halve,
    ("orbax", "manifest.ocdbt"): halve,
    ("orbax", "d/*"): halve,
    ("orbax", "d/* "): Path.unlink,
}


@pytest.mark.parametrize(("kind", "part"), DAMAGES, ids=str)
def test_a_damaged_source_is_reported_in_one_sentence_and_nothing_is_written(tmp_path, kind, part, capfd, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    source = tmp_path / "source"
    write(kind, source)
    for path in [source] if part == "." else source.glob(part.strip()):
        DAMAGES[kind, part](path)
    with pytest.raises(IsogradError, match="source") as caught:
        port(source, tmp_path / "w.safetensors", **model_of(SMALL))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    time.sleep(0.05)  # for threads that report late
    assert capfd.readouterr() == ("", "")
    assert unraisable == []


def test_every_name_that_does_not_fit_is_reported_in_every_format(tmp_path):
    arrays = plain_arrays(SMALL)
    stray = {**arrays, "stray": np.ones(2, np.float32), "classifier.bias": np.ones(5, np.float32)}
    del stray["classifier.weight"]
    checkpoint.save(tmp_path / "w.safetensors", stray, {})
    sentence = r"missing classifier.weight; unused stray; wrong shape classifier.bias \(expected \(2,\), got \(5,\)\)"
    for target in ("w.pt", "w.orbax", "again.safetensors"):
        with pytest.raises(WeightsError, match=sentence):
            port(tmp_path / "w.safetensors", tmp_path / target, **model_of(SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_metadata_travels_where_the_format_can_carry_it(tmp_path):
    arguments = dict(TWINS[SMALL].arguments)
    metadata = {"twin": SMALL, "arguments": arguments, "experiment": "of mine"}
    checkpoint.save(tmp_path / "a.safetensors", plain_arrays(SMALL), metadata)
    port(tmp_path / "a.safetensors", tmp_path / "b.orbax")
    port(tmp_path / "b.orbax", tmp_path / "c.safetensors")
    assert checkpoint.load(tmp_path / "c.safetensors")[1] == metadata


def save_run(run: Path, best: bool) -> None:
    state = {"twin": SMALL, "arguments": dict(TWINS[SMALL].arguments)}
    for step, arrays in enumerate((plain_arrays(SMALL), random_arrays(SMALL, *DTYPES)), 1):
        run_folder.save_checkpoint(run, step, {f"weights/{name}": array for name, array in arrays.items()}, state)
    if best:
        run_folder.save_best(run, {f"weights/{name}": array for name, array in plain_arrays(SMALL).items()}, state)


@pytest.mark.parametrize("best", [True, False])
def test_a_run_gives_its_best_else_its_newest_weights_and_needs_no_further_options(tmp_path, best):
    save_run(tmp_path / "run", best)
    report = port(tmp_path / "run", tmp_path / "w.pt")
    expected = plain_arrays(SMALL) if best else random_arrays(SMALL, *DTYPES)
    assert (Path(report.source).parent.name == "best") == best
    assert_same(torch_files.read_weights(tmp_path / "w.pt", abstract(torch_files, SMALL)), expected)


def test_a_checkpoint_of_a_run_can_be_named_and_a_damaged_newest_one_is_noted(tmp_path):
    save_run(tmp_path / "run", best=False)
    first, second = run_folder.list_checkpoints(tmp_path / "run")
    port(first, tmp_path / "w.orbax")
    assert_same(jax_files.read_weights(tmp_path / "w.orbax", abstract(jax_files, SMALL)), plain_arrays(SMALL))
    halve(second / "weights.safetensors")
    report = port(tmp_path / "run", tmp_path / "w.pt")
    assert str(second) in report.notes[0]
    assert str(first) in report.source


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_verification_reads_back_and_runs_both_frameworks(tmp_path, dtype):
    name = "ReviewClassifierGRU"
    arguments = {"vocabulary_size": 23, "embedding_size": 6, "hidden_size": 10, "num_layers": 2}  # not the registry's
    module = torch_build.build_twin(TWINS[name], arguments, abstract=True)
    generator = np.random.default_rng(0)
    arrays = {key: generator.standard_normal(shape).astype(dtype) for key, shape in parameter_shapes(module).items()}
    checkpoint.save(tmp_path / "w.safetensors", arrays, {"twin": name, "arguments": arguments})
    report = port(tmp_path / "w.safetensors", tmp_path / "w.orbax", verify=True)
    assert report.identical is True
    assert report.agrees
    assert {output.bound for output in report.outputs} == {PROOF}
    assert len(report.outputs) == 1 + len(arrays)  # and the gradient of each parameter
    assert all(0 <= output.error <= PROOF for output in report.outputs)
    assert json.loads(report.to_json())["agrees"] is True
    assert "every byte is identical" in str(report)


def test_verification_fails_where_a_rule_is_wrong(tmp_path, monkeypatch):
    import jax_impl.weights

    checkpoint.save(tmp_path / "a.safetensors", plain_arrays("MultiHeadedAttention"), {})
    monkeypatch.setattr(jax_impl.weights, "from_canonical", lambda path, array: array)  # forgets to transpose
    report = port(tmp_path / "a.safetensors", tmp_path / "b.pt", verify=True, **model_of("MultiHeadedAttention"))
    assert report.identical is True
    assert not report.agrees
    assert "DISAGREES" in str(report)


def test_verification_says_that_weights_are_not_finite(tmp_path):
    arrays = plain_arrays("LayerNorm")
    arrays["bias"][0] = np.nan
    checkpoint.save(tmp_path / "a.safetensors", arrays, {})
    report = port(tmp_path / "a.safetensors", tmp_path / "b.pt", verify=True, **model_of("LayerNorm"))
    assert report.identical is True
    assert not report.agrees
    assert "output output: not finite in torch or JAX, so they can't be compared: are the weights finite?" in str(
        report
    )


def test_verification_fails_where_a_byte_was_lost(tmp_path, monkeypatch):
    import experiments.porting.port

    def lossy(chosen, path, arrays, *rest):
        checkpoint.save(path, {name: array + np.float32(1e-6) for name, array in arrays.items()}, {})

    monkeypatch.setattr(experiments.porting.port, "write", lossy)
    checkpoint.save(tmp_path / "a.safetensors", plain_arrays("LayerNorm"), {})
    report = port(tmp_path / "a.safetensors", tmp_path / "b.safetensors", verify=True, **model_of("LayerNorm"))
    assert report.identical is False
    assert not report.agrees


IDENTICAL = {"a": np.zeros(2, np.int32)}
OTHERS = {
    "a name": {"b": IDENTICAL["a"]},
    "another name": {**IDENTICAL, "b": IDENTICAL["a"]},
    "a dtype": {"a": IDENTICAL["a"].astype(np.float32)},
    "a shape": {"a": IDENTICAL["a"][None]},
    "a byte": {"a": np.array([0, 1], np.int32)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_arrays_that_differ_in_anything_are_not_identical(other):
    ours, theirs = lazy(IDENTICAL), lazy(OTHERS[other])
    assert is_identical(ours, ours)
    assert not is_identical(ours, theirs)
    assert not is_identical(theirs, ours)


SENTENCES = {
    "no such source": ({"src": "missing"}, "does not exist"),
    "no format": ({"dst": "weights"}, "can't tell the format"),
    "an unknown format": ({"to": "keras"}, "unknown format 'keras'"),
    "no model": ({}, "does not say which model"),
    "an unknown model": ({"model": "ReviewClasifierGRU"}, "did you mean 'ReviewClassifierGRU'"),
    "a function": ({"model": "merge_heads"}, "is a function"),
    "open sizes": ({"model": "reviews-1-small"}, "vocabulary_size.*from its data"),
    "arguments that are not JSON": ({"model": "GRU", "arguments": "hidden"}, "must be JSON"),
    "arguments that are not an object": ({"model": "GRU", "arguments": "[1]"}, "JSON object"),
    "a size below 1": ({"model": "GRU", "arguments": '{"input_size": 3, "hidden_size": -3}'}, "GRU can't be built"),
    "a size of 0": ({"model": "GRU", "arguments": '{"input_size": 3, "hidden_size": 0}'}, "GRU can't be built"),
    "unknown arguments": ({"model": "GRU", "arguments": '{"width": 3}'}, "GRU can't be built"),
    "the same place": ({"dst": "source.safetensors"}, "are both"),
    "a text in the way": ({"dst": "folder/thesis.txt", "to": "torch"}, "holds no weights"),
    "a folder in the way": ({"dst": "folder", "to": "orbax"}, "other contents"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("source.safetensors", {"a": np.ones(3)}, {})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("precious")
    changed, sentence = SENTENCES[case]
    with pytest.raises(IsogradError, match=sentence):
        port(**{"src": "source.safetensors", "dst": "w.pt", **changed})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "source.safetensors"]
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "new.pt"])
def test_nothing_is_written_into_a_checkpoint(tmp_path, name):
    save_run(tmp_path / "run", best=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run" / "best").iterdir()}
    for source in ("run", "run/checkpoints/step-00000001", "run/best"):
        with pytest.raises(IsogradError, match="are both|would be a part of the checkpoint"):
            port(tmp_path / source, tmp_path / "run" / "best" / name)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "best").iterdir()} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("to", ["torch", "safetensors", "orbax"])
def test_a_device_or_pipe_is_neither_read_nor_replaced(tmp_path, to):
    checkpoint.save(tmp_path / "w.safetensors", plain_arrays(SMALL), {})
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(IsogradError, match="pipe"):
        port(tmp_path / "w.safetensors", pipe, to=to, **model_of(SMALL))
    with pytest.raises(IsogradError, match="pipe is not a regular file"):
        port(pipe, tmp_path / "new", to=to, **model_of(SMALL))
    assert pipe.is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"w.safetensors", "pipe"}


def test_writing_an_orbax_folder_over_an_older_one_replaces_it(tmp_path):
    write("orbax", tmp_path / "w.orbax")
    checkpoint.save(tmp_path / "a.safetensors", random_arrays(SMALL, *DTYPES), {})
    port(tmp_path / "a.safetensors", tmp_path / "w.orbax", **model_of(SMALL))
    assert_same(jax_files.read_weights(tmp_path / "w.orbax", abstract(jax_files, SMALL)), random_arrays(SMALL, *DTYPES))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "w.orbax"]


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The system cuts what this process writes into a file there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["torch", "orbax"])
def test_a_write_that_the_system_cuts_short_leaves_the_old_file_and_no_temporary(tmp_path, capfd, kind):
    write(kind, tmp_path / "w")
    files = {"torch": torch_files, "orbax": jax_files}[kind]
    arrays, module = random_arrays(SMALL, *DTYPES), abstract(files, SMALL)
    with files_no_larger_than(3000), pytest.raises(IsogradError) as refused:
        files.write_weights(tmp_path / "w", arrays, module, {})
    assert str(refused.value).startswith(f"could not write {tmp_path / 'w'}: File too large; nothing was changed")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert_same(files.read_weights(tmp_path / "w", abstract(files, SMALL)), plain_arrays(SMALL))


BLOCKED = """
import sys
blocked, src, dst, model, arguments = sys.argv[1:]
for name in blocked.split(","):
    sys.modules[name] = None
from experiments.porting.port import port
from shared.errors import IsogradError
try:
    print(port(src, dst, model=model, arguments=arguments))
except IsogradError as error:
    print("refused:", error)
"""


def port_in_a_process(blocked: str, source: Path, target: Path) -> subprocess.CompletedProcess:
    """Port where the modules `blocked` can't be imported."""
    command = [sys.executable, "-c", BLOCKED, blocked, source, target, SMALL, json.dumps(dict(TWINS[SMALL].arguments))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocked", "source", "target", "answer"),
    [
        ("jax,flax,orbax,jax_impl", "torch", "w.safetensors", "in 11 tensors"),
        ("torch,torch_impl", "orbax", "w.safetensors", "in 11 tensors"),
        ("jax,flax,orbax", "torch", "w.orbax", "refused: the format orbax needs"),
        ("torch", "orbax", "w.pt", "refused: the format torch needs 'torch', which is not installed"),
    ],
)
def test_only_the_frameworks_of_the_two_formats_are_needed(tmp_path, blocked, source, target, answer):
    write(source, tmp_path / "source")
    said = port_in_a_process(blocked, tmp_path / "source", tmp_path / target)
    assert answer in said.stdout, said
    assert said.stderr == ""


def test_orbax_says_nothing_on_the_terminal_even_where_a_folder_is_damaged(tmp_path):
    write("orbax", tmp_path / "source")
    halve(tmp_path / "source" / "_CHECKPOINT_METADATA")
    halve(tmp_path / "source" / "manifest.ocdbt")
    said = port_in_a_process("torch", tmp_path / "source", tmp_path / "w.safetensors")
    assert said.stdout.startswith("refused: can't read"), said
    assert said.stderr == ""
