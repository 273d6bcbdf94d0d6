"""What a language model writes at its evaluations: logged, alike in both frameworks, dropped and repeated, reported."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from experiments.catalogue import find_experiment
from experiments.cli import main
from experiments.plain_text import markdown
from experiments.reports.report import write_report
from experiments.reports.runs import read_run
from experiments.training.sampling import module_of
from shared.errors import IsogradError
from shared.registry import find_twin

pytestmark = pytest.mark.slow
TEXT = "to be, or not to be: that is the question\nwhether 'tis nobler in the mind to suffer\n" * 24


def records(folder, kind):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in lines if record["kind"] == kind]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of 2 steps in each framework; then torch goes on to 4."""
    folder = tmp_path_factory.mktemp("samples")
    (folder / "input.txt").write_text(TEXT)
    for backend in ("torch", "jax"):
        options = ("--backend", backend, "--data", str(folder), "--dtype", "float64", "--out", str(folder / backend))
        assert main(["train", "lm-pydoc-small", *options, "--steps", "2"]) == 0
    assert main(["train", "--resume", str(folder / "torch"), "--steps", "4"]) == 0
    return folder


def test_both_frameworks_write_the_same_texts_at_every_evaluation(runs):
    torch, jax = (records(runs / backend, "samples") for backend in ("torch", "jax"))
    assert torch[0] == jax[0]
    assert [record["step"] for record in torch] == [2, 4]
    end = TEXT[int(0.9 * len(TEXT)) :]
    for sample in torch[0]["texts"]:
        assert sample["prompt"] in end
        assert sample["text"].startswith(sample["prompt"])
    assert torch[0]["texts"] != torch[1]["texts"]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_an_evaluation_of_the_checkpoint_gives_the_figures_of_the_log_to_the_bit(runs, backend, capsys):
    capsys.readouterr()
    assert main(["eval", str(runs / backend), "--newest", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    logged = records(runs / backend, "validation")[-1]
    names = {name for name in found if not name.startswith("baseline_")} - {"evaluation_seconds"}
    assert {name: found[name] for name in names} == {name: logged[name] for name in names}
    assert {"perplexity", "mean_perplexity_of_batches", "perplexity_of_sequence_means", "bits_per_byte"} < names


@pytest.mark.parametrize("side", ["torch", "jax"])
def test_what_writes_has_the_averages_of_the_weights_and_frozen_weights_themselves(side):
    model = find_experiment("lm-pydoc-small").model
    model = replace(model, arguments={**model.arguments, "vocabulary_size": 7, "sequence_length": 4})
    module = pytest.importorskip("torch_impl.build").empty_twin(find_twin(model.twin), model.arguments, "cpu")
    shapes = pytest.importorskip("torch_impl.weights").parameter_shapes(module)
    weights, averages = (
        {name: np.full(shape, value, np.float32) for name, shape in shapes.items()} for value in (1, 2)
    )
    frozen = averages.popitem()[0]
    arrays = {f"weights/{name}": a for name, a in weights.items()} | {
        f"average/{name}": a for name, a in averages.items()
    }
    module = module_of(side, model, arrays, "cpu")
    found = importlib.import_module(f"{side}_impl").to_arrays(module)
    assert {name: float(array.min()) for name, array in found.items()} == {
        name: 1 + (name != frozen) for name in shapes
    }


def test_the_report_shows_them(runs, tmp_path):
    page = write_report([runs / "torch", runs / "jax"], tmp_path)
    last = records(runs / "torch", "samples")[-1]["texts"][0]
    assert [f"step {step}</summary>" in page.read_text() for step in (2, 3, 4)] == [True, False, True]
    new = last["text"].removeprefix(last["prompt"])
    assert f" » {markdown(new)}\n" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("texts", [None, [], [{"prompt": "a"}], [{"prompt": "a", "text": 1}], ["a"]])
def test_an_edited_record_is_refused(runs, texts, tmp_path):
    (tmp_path / "config.json").write_bytes((runs / "torch" / "config.json").read_bytes())
    lines = [*records(runs / "torch", "train"), {"kind": "samples", "step": 4, "texts": texts}]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(IsogradError, match="record 5: expected texts with a prompt each"):
        read_run(tmp_path)
