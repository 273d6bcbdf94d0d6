"""Texts, vocabularies and settings that a language model can't use: one sentence, exit code 2, nothing written."""

import json

import pytest

from experiments.cli import main
from shared.data.bpe_files import LETTERS

TEXT = b"All happy families are alike. " * 40
IDS = {letter: token for token, letter in enumerate(LETTERS.values())} | {"he": 256, "the": 257}
TEXTS = {
    "an empty corpus": ("lm-pydoc-small", b"", "expected texts to learn merges from, got no character"),
    "no characters": ("lm-shakespeare-char-small", b"", "expected texts to collect characters from, got none"),
    "no words": ("lm-washington-small", b" \n \n", "expected texts to collect words from, got no word"),
    "a short text": ("lm-pydoc-small", b"All happy families", "expected a train text of at least 128 tokens"),
    "Latin-1": ("lm-pydoc-small", TEXT + b"caf\xe9", "got the byte 0xe9 at offset 1203; convert the file to UTF-8"),
    "half of a pair": ("lm-pydoc-small", TEXT + b"\xed\xa0\xbd", "got the byte 0xed at offset 1200"),
}
MERGES = {
    "out of order": ("t he\nh e\n", "line 1: expected a merge of bytes or of tokens merged before, got 'he'"),
    "twice": ("h e\nh e\n", "line 2: expected a new token, got 'he' again"),
    "of no id": ("h a\n", "line 1: the merged token 'ha' has no id"),
    "of three tokens": ("h e a\n", "line 1: expected two tokens with a space between, got 'h e a'"),
}


@pytest.fixture
def refused(tmp_path, capsys):
    """The sentence with which a command ends, after which there is no run."""

    def run(name, text, *options):
        folder, out = tmp_path / "data", tmp_path / "run"
        folder.mkdir()
        for part in ("train", "valid"):
            (folder / f"{part}.txt").write_bytes(text)
        command = ["train", name, "--backend", "torch", "--data", str(folder), "--out", str(out), "--quiet", *options]
        code = main(command)
        said = capsys.readouterr()
        assert (code, said.out, said.err.count("\n"), out.exists()) == (2, "", 1, False), said.err
        return said.err

    return run


@pytest.mark.parametrize(("name", "text", "sentence"), TEXTS.values(), ids=TEXTS)
def test_a_text_that_can_not_be_learned_from_is_refused_before_a_run_begins(refused, name, text, sentence):
    assert sentence in refused(name, text)


@pytest.mark.parametrize(("merges", "sentence"), MERGES.values(), ids=MERGES)
def test_merges_that_do_not_follow_from_each_other_are_refused(refused, tmp_path, merges, sentence):
    (tmp_path / "encoder.json").write_text(json.dumps(IDS))
    (tmp_path / "vocab.bpe").write_text(merges)
    assert sentence in refused("lm-pydoc-small", TEXT, "--vocab", str(tmp_path))


def test_a_vocabulary_of_a_different_size_is_refused(refused, tmp_path):
    (tmp_path / "encoder.json").write_text(json.dumps(IDS | {f"more{n}": 258 + n for n in range(300)}))
    (tmp_path / "vocab.bpe").write_text("h e\nt he\n")
    assert "has a vocabulary of 512 tokens, but" in refused("lm-pydoc-small", TEXT, "--vocab", str(tmp_path))
