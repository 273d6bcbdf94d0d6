"""Translators in lockstep, and a run from its words to a translated sentence, by both backends."""

import json
from types import SimpleNamespace

import pytest

from shared.run_folder import latest_checkpoint

pytest.importorskip("torch")
pytest.importorskip("jax")

from crosscheck.criterion import PROOF
from experiments.catalogue import EXPERIMENTS
from experiments.catalogue.translation import COURSE, IN_LOCKSTEP
from experiments.cli import main
from experiments.commands.translate import _most_letters
from experiments.progress.display import Progress
from experiments.training.certificate import certify, describe
from experiments.training.settings import Settings

pytestmark = [pytest.mark.usefixtures("settings_of_jax"), pytest.mark.slow]
STEPS = 4  # the first update has rate 0
QUICKEST = "lockstep-translate-additive"


def test_every_row_of_the_course_has_a_sibling_for_a_cpu():
    assert all(f"{row.name}-small" in EXPERIMENTS for row in COURSE)
    assert len(COURSE) == 8


@pytest.mark.parametrize(("words", "most"), [(["abc", "abcd"], 5), (["abcde"], 10), (["abc", "abcdefg"], 14)])
def test_a_word_longer_than_all_of_the_data_may_become_twice_as_long(words, most):
    config = SimpleNamespace(experiment=SimpleNamespace(length=5))
    assert _most_letters(config, words) == most


@pytest.mark.parametrize(
    "name",
    [pytest.param(row.name, marks=[pytest.mark.exhaustive] * (row.name != QUICKEST)) for row in IN_LOCKSTEP],
)
def test_torch_and_jax_take_identical_steps(tmp_path, name):
    certificate = certify(name, Settings(steps=STEPS, dtype="float64"), tmp_path / "run", Progress())
    assert certificate["certified"], describe(certificate)
    assert all(near["error"] <= near["bound"] == PROOF for near in certificate["one_step"].values())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "translator"
    words = folder.parent / "words.txt"
    words.write_text("".join(f"{word} {word}ay\n" for word in ("air", "is", "the", "fan", "on", "off", "cold", "warm")))
    options = ["--backend", "torch", "--steps", "3", "--batch-size", "4", "--data", str(words), "--out", str(folder)]
    assert main(["train", "translate-attention-h32-3k-small", *options]) == 0
    return folder


def answer(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_both_backends_translate_a_sentence_alike_and_keep_what_is_outside_the_alphabet(run, capsys):
    torch, jax = (answer(capsys, "translate", run, "the Air is on!", "--backend", name) for name in ("torch", "jax"))
    assert torch["kept"] == ["Air", "!"]
    assert torch["translation"].split()[1] == "Air"
    assert torch["words"].keys() == {"the", "is", "on"}
    assert {**torch, "backend": ""} == {**jax, "backend": ""}


def test_held_out_words_are_scored_as_the_validation_has_it(run, capsys):
    found = answer(capsys, "translate", run, "--held-out", "--newest")
    assert found["checkpoint"] == str(latest_checkpoint(run)[0]) != answer(capsys, "translate", run, "is")["checkpoint"]
    validations = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [record for record in validations if record["kind"] == "validation"][-1]
    assert found["word_accuracy"] == last["word_accuracy"]
    assert found["character_error_rate"] == last["character_error_rate"]
    assert found["words"] == sum(row["words"] for row in found["by_length"].values()) == 2


def test_attention_is_drawn(run, tmp_path):
    picture = tmp_path / "attention.svg"
    assert main(["translate", str(run), "cold", "--attention", str(picture)]) == 0
    assert "letters of cold" in picture.read_text() or picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "expected a text to translate, or --held-out"),
    (["the", "--held-out"], "and not both"),
    (["42!"], "expected a text with a word of the letters a to z, got '42!'"),
    (["the", "--attention", "picture.txt"], "expected a file name that ends with .png or .svg or .pdf"),
    (["--held-out", "--attention", "a.png"], "no effect with --held-out"),
])  # fmt: skip
def test_requests_that_mean_nothing_are_refused_in_one_sentence(run, capsys, arguments, message):
    assert main(["translate", str(run), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_scaling_law_of_one_size_is_refused(run, capsys):
    assert main(["scaling", str(run)]) == 2
    assert "expected runs of DecoderOnlyTranslator" in capsys.readouterr().err
