"""`isograd generate`: the same text from both backends, streamed or not, and one sentence for what makes no sense."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.catalogue import find_experiment
from experiments.cli import main
from experiments.commands import generate
from experiments.training import sampling
from experiments.training.launch import codec_of
from experiments.training.run_config import read_config
from experiments.training.sampling import continued
from shared.configs.experiment import SamplesConfig
from shared.run_folder import best_checkpoint, latest_checkpoint
from shared.tasks.language_modelling import Tokens

PROMPT = "The statement"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "language"
    assert main(["train", "lm-pydoc-small", "--backend", "torch", "--steps", "2", "--out", str(folder)]) == 0
    return str(folder)


def printed(capsys, *arguments):
    capsys.readouterr()
    assert main(["generate", *arguments]) == 0
    return capsys.readouterr().out


def test_each_prompt_is_followed_by_its_own_new_tokens_up_to_the_end(monkeypatch):
    """Of prompts of 3 tokens and 1, two tokens each; 9 ends a text."""
    told = []

    def written(module, ids, **given):
        told.append((ids.tolist(), given))
        return np.array([[1, 2, 3, 7, 8], [4, 5, 9, 0, 0]])

    monkeypatch.setattr("torch_impl.generate", written)
    found = continued("torch", None, [[1, 2, 3], [4]], stop=9, steps=2, seed=6)
    assert found == [([1, 2, 3], [7, 8]), ([4], [5])]
    assert told == [([[1, 2, 3], [4, 0, 0]], {"lengths": [3, 1], "steps": 2, "stop": 9, "seed": 6})]


def test_samples_of_a_run_are_drawn_by_its_settings(monkeypatch):
    told = []
    monkeypatch.setattr(sampling, "module_of", lambda *given: "the module")
    monkeypatch.setattr(sampling, "continued", lambda *given, **named: told.append((given, named)) or [([1], [2])])
    settings = SamplesConfig(tokens=3, temperature=0.5, top_k=4, prompts=("a",))
    experiment = replace(find_experiment("lm-pydoc-small"), samples=settings, seed=6)
    codec = SimpleNamespace(end=9, decode=str, encode_all=lambda texts: [[1]] * len(texts))
    backend = SimpleNamespace(name="jax", state_to_arrays=dict, device=None)
    found = sampling.samples(backend, {}, SimpleNamespace(experiment=experiment, data=Tokens(None, codec, {})))
    assert found == [{"prompt": "[1]", "text": "[1, 2]"}]
    drawn = {"stop": 9, "steps": 3, "temperature": 0.5, "top_k": 4, "seed": 6}
    assert told == [(("jax", "the module", [[1]]), drawn)]


@pytest.mark.slow
def test_both_backends_write_the_same_text(run, capsys):
    drawn = (run, PROMPT, "--tokens", "12", "--temperature", "1", "--top-k", "40", "--json")
    texts = [json.loads(printed(capsys, *drawn, "--backend", backend)) for backend in ("torch", "jax")]
    assert texts[0]["ids"] == texts[1]["ids"]
    assert len(texts[0]["ids"]) == 12
    assert texts[0]["prompt"] == PROMPT
    assert json.loads(printed(capsys, *drawn, "--seed", "1"))["ids"] != texts[0]["ids"]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [("--top-k", "1"), ("--top-p", "1e-9")])
def test_a_limit_of_one_token_gives_the_likeliest_text(run, limit, capsys):
    settings = (run, PROMPT, "--tokens", "12")
    drawn = (*settings, "--temperature", "2")
    assert printed(capsys, *drawn, *limit) == printed(capsys, *settings) != printed(capsys, *drawn)


@pytest.mark.slow
def test_the_best_checkpoint_writes_or_the_newest_if_it_is_asked_for(run, capsys):
    one = (run, PROMPT, "--tokens", "1", "--json")
    found = [json.loads(printed(capsys, *one, *more))["checkpoint"] for more in ((), ("--newest",))]
    assert found == [str(best_checkpoint(Path(run))), str(latest_checkpoint(Path(run))[0])]


@pytest.mark.slow
def test_every_setting_reaches_the_model_and_a_text_ends_with_a_document(run, monkeypatch):
    told, end = [], codec_of(read_config(Path(run)), Path(run)).end
    monkeypatch.setattr(generate, "continued", lambda side, _, ids, **given: told.append((side, given)) or [(ids, [1])])
    drawn = {"temperature": 0.5, "top_k": 4, "top_p": 0.25, "seed": 6}
    options = [word for name, value in drawn.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["generate", run, PROMPT, "--tokens", "3", *options, "--backend", "jax", "--json"]) == 0
    assert told == [("jax", {"steps": 3, "stop": end, **drawn})]
    assert end is not None


@pytest.mark.slow
def test_a_streamed_text_is_the_text(run, capsys):
    settings = (run, PROMPT, "--tokens", "20", "--temperature", "2")
    whole = printed(capsys, *settings)
    assert whole.startswith(PROMPT)
    assert printed(capsys, *settings, "--stream").rstrip("\n\ufffd") == whole.rstrip("\n\ufffd")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((PROMPT, "--temperature", "-1"), "temperature must be above 0, got -1.0"),
        ((PROMPT, "--temperature", "1", "--top-p", "1.5"), "top_p must be above 0 and at most 1, got 1.5"),
        ((PROMPT, "--temperature", "1", "--top-k", "0"), "top_k must be at least 1, got 0"),
        ((PROMPT, "--tokens", "0"), "--tokens: expected at least 1, got 0"),
        ((PROMPT, "--stream", "--json"), "--stream has no effect with"),
        ((PROMPT, "--attention", "picture.txt"), "expected a file name that ends with .png or .svg or .pdf"),
        ((PROMPT, "--attention", "nowhere/a.png"), "the folder nowhere does not exist"),
        (("a long prompt " * 40,), "expected a prompt of at most 64 tokens, the context of the model"),
        (("a long prompt " * 40, "--stream"), "expected a prompt of at most 64 tokens, the context of the model"),
        (("half \ud83d",), "half of a surrogate pair"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(run, arguments, sentence, capsys):
    capsys.readouterr()
    assert main(["generate", run, *arguments]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""


@pytest.mark.slow
def test_what_is_attended_to_is_drawn_with_the_entropy_of_each_head(run, tmp_path, capsys):
    picture, page = tmp_path / "attention.svg", tmp_path / "page"
    seen = json.loads(printed(capsys, run, PROMPT, "--tokens", "1", "--attention", str(picture), "--json"))["attention"]
    assert "".join(seen["tokens"]).replace("\u00b7", " ") == PROMPT
    assert np.shape(seen["entropy"]) == (3, 3)  # layers and heads
    assert (np.array(seen["entropy"]) < np.log(len(seen["tokens"]))).all()
    assert picture.read_text().count("<image") == np.size(seen["entropy"]) + 1  # and the scale
    assert main(["report", run, "--attention", PROMPT, "--out", str(page)]) == 0
    assert "What each token attends to in" in (page / "report.html").read_text()


@pytest.mark.slow
def test_a_classifier_generates_no_text(tmp_path, capsys):
    folder = str(tmp_path / "reviews")
    main(["train", "reviews-1-small", "--backend", "torch", "--steps", "1", "--out", folder])
    assert main(["generate", folder, PROMPT]) == 2
    assert "was trained for classification, which generates no text" in capsys.readouterr().err
    assert main(["report", folder, "--attention", PROMPT]) == 2
    assert "was trained for classification: pass runs of language models" in capsys.readouterr().err
