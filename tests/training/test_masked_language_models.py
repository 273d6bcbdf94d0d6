"""Masked language modelling hides a part of the tokens, the same in every run, and its BERT can be fine-tuned."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import cli
from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.launch import prepared_for, resolve
from experiments.training.settings import Settings
from shared.backend import PACKAGES
from shared.errors import IsogradError
from shared.metrics_log import read
from shared.tasks.masked_language_modelling import HIDDEN, MASKED, REPLACED

NAME = "mlm-pydoc-small"
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "ran", "to", "two", "men", "in", "red"]


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for part, size in (("train", 4000), ("valid", 500)):
        (tmp_path / f"{part}.txt").write_text(" ".join(random.choice(WORDS, size)) + "\n")
    return tmp_path


@pytest.fixture
def prepared(text):
    settings = Settings(data=str(text), batch_size=8)
    return prepared_for(resolve(NAME, settings), settings, Progress())


def batches_of(prepared, split="train", number=0, start=0):
    return list(prepared.data.epoch(prepared.experiment, split, number).start_at(start))


def joined(batches, name):
    return np.concatenate([batch[name] for batch in batches])


def test_a_window_holds_every_token_once_between_its_ends(prepared):
    codec = prepared.data.codec
    found = batches_of(prepared, "validation")
    assert len(found) == len(prepared.data.epoch(prepared.experiment, "validation", 0))
    ids, mask, labels, weights = (joined(found, name) for name in ("ids", "mask", "labels", "weights"))
    real = mask.any(1)
    assert (ids[real, 0] == codec.special("[CLS]")).all()
    assert (ids[real, mask[real].sum(1) - 1] == codec.special("[SEP]")).all()
    inner = mask.copy()
    inner[:, 0] = False
    inner[real, mask[real].sum(1) - 1] = False
    assert np.array_equal(labels[inner], prepared.data.splits["validation"])
    assert not weights[~inner].any()
    assert weights[real].any(1).all()
    assert np.array_equal(ids[inner & (weights == 0)], labels[inner & (weights == 0)])


def test_hidden_tokens_are_masked_replaced_or_kept_in_their_shares(prepared):
    from bounds import is_share

    found = [batch for number in range(8) for batch in batches_of(prepared, number=number)]
    ids, labels, weights = (joined(found, name) for name in ("ids", "labels", "weights"))
    hidden, tokens = weights > 0, 8 * len(prepared.data.splits["train"])
    masked = ids[hidden] == prepared.data.codec.special("[MASK]")
    kept = ids[hidden] == labels[hidden]
    size = prepared.data.codec.vocabulary_size
    assert is_share(hidden.sum(), tokens, HIDDEN)
    assert is_share(masked.sum(), hidden.sum(), MASKED + REPLACED / size)
    assert is_share(kept.sum(), hidden.sum(), 1 - MASKED - REPLACED + REPLACED / size)


def test_what_is_hidden_depends_on_seed_epoch_and_window_alone(prepared):
    whole, resumed = batches_of(prepared), batches_of(prepared, start=3)
    for ours, theirs in zip(whole[3:], resumed, strict=True):
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    other = batches_of(prepared, number=1)
    assert not np.array_equal(joined(whole, "weights"), joined(other, "weights"))
    wide = replace(prepared, experiment=replace(prepared.experiment, batch_size=3))
    first, again = (joined(batches_of(each, "validation"), "ids") for each in (prepared, wide))
    real = min(len(first), len(again))
    assert np.array_equal(first[:real], again[:real])


def test_the_baseline_is_that_of_frequencies(prepared):
    train, held = (prepared.data.splits[split] for split in ("train", "validation"))
    counts = np.bincount(train, minlength=prepared.data.codec.vocabulary_size)
    assert prepared.data.baseline()["accuracy"] == float(np.mean(held == counts.argmax()))


@pytest.mark.slow
def test_both_frameworks_pretrain_alike_and_the_result_is_fine_tuned(text, tmp_path, monkeypatch):
    lockstep = pytest.importorskip("crosscheck.runs.lockstep")
    monkeypatch.chdir(tmp_path)
    curves = {}
    for side in PACKAGES:
        settings = Settings(side, data=str(text), steps=3, batch_size=4, dtype="float64", learning_rate=1e-2)
        launch.start(NAME, settings, tmp_path / side, Progress())
        curves[side] = np.array([record["loss"] for record in read(tmp_path / side)])
    ours, theirs = curves.values()
    assert np.linalg.norm(ours - theirs) <= lockstep.BOUNDS["float64"] * np.linalg.norm(ours)
    assert cli.main(["port", "torch", "bert", "--to", "hf"]) == 0
    options = ["--initial", "bert", "--vocab", "torch/tokenizer.json", "--steps", "1", "--out", "tuned", "--quiet"]
    assert cli.main(["train", "arithmetic-frozen", *options, "--backend", "torch"]) == 0


def test_a_vocabulary_without_a_mask_is_refused(text):
    (text / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]) + "\n")
    settings = Settings(data=str(text), vocab=text / "vocab.txt")
    with pytest.raises(IsogradError, match=r"expected the token \[MASK\]"):
        prepared_for(find_experiment(NAME), settings, Progress())
