"""`isograd compare-devices`: losses of the same steps on two devices, and one sentence for what makes no sense."""

import json

import pytest
from tiny_bert import write_bert

from experiments.cli import main
from experiments.training.devices import describe


def of_characters(folder):
    (folder / "input.txt").write_text("to be, or not to be: that is the question\n" * 40)
    return "lm-shakespeare-char-small", "--data", str(folder)


def of_a_pretrained_bert(folder):
    write_bert(folder / "bert")
    return "arithmetic", "--initial", str(folder / "bert")


@pytest.mark.parametrize("experiment", [of_characters, of_a_pretrained_bert])
def test_the_losses_are_those_of_a_run(experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    options = (*experiment(tmp_path), "--seed", "3")
    assert main(["compare-devices", *options, "--steps", "3", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["train", *options, "--stop-at", "3", "--backend", "torch", "--out", str(tmp_path / "run")]) == 0
    records = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert [run["losses"] for run in found["runs"]] == [losses, losses]
    assert found["dtype"] == "float32"


def test_the_largest_difference_is_named_with_its_step():
    cpu = {"backend": "jax", "device": "cpu", "name": "a CPU", "losses": [4.0, 3.0, 2.0], "seconds": 4.0}
    gpu = {**cpu, "device": "cuda", "name": "a GPU", "losses": [4.0, 3.5, 2.25], "seconds": 0.5}
    lines = describe({"experiment": "some", "dtype": "float64", "steps": 3, "runs": [cpu, gpu]})
    assert lines[0] == "some, jax, float64"
    assert lines[2].split() == ["1", "4.000000", "4.000000", "0.0e+00"]
    assert lines[-3:] == [
        "the largest difference is 5.0e-01, at step 2",
        "cpu (a CPU): 0.5 steps a second",
        "cuda (a GPU): 4.0 steps a second",
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("lm-pydoc-small", "--steps", "12345", "--device", "cpu"), "--steps: expected at most 1200, the steps of"),
        (("lm-pydoc-tiny",), "did you mean"),
        (("lm-pydoc-small", "--device", "tpu"), "device"),
        (("lm-pydoc-small", "--steps", "0"), "--steps: expected at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(options, sentence, capsys):
    assert main(["compare-devices", *options]) == 2
    assert sentence in capsys.readouterr().err
