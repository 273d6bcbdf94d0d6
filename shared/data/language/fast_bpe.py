"""Byte-level BPE by the `tokenizers` library: the merges and ids of shared/data/bpe.py, in a fraction of the time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from shared.data.bpe import ALPHABET, BPE
from shared.data.bpe_files import LETTERS
from shared.data.texts import encoded_text


def train(texts: Iterable[str], vocabulary_size: int) -> BPE:
    """`BPE.train` of these texts; raises IsogradError for what it refuses."""
    checked = [text for text in texts if encoded_text(text)]
    if not checked or vocabulary_size < len(ALPHABET):
        return BPE.train(checked, vocabulary_size)  # refuses it
    tokenizer = _with_pieces(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(checked, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    ids = learned["vocab"]
    merges = {(ids[left], ids[right]): ids[left + right] for left, right in learned["merges"]}
    return BPE({byte: ids[letter] for byte, letter in LETTERS.items()}, merges)


class FastBPE:
    """Encodes as a BPE does."""

    def __init__(self, bpe: BPE) -> None:
        written = {token: "".join(LETTERS[byte] for byte in text) for token, text in bpe.tokens.items()}
        made = [*bpe.alphabet.values(), *bpe.merges.values()]
        pairs = [(written[left], written[right]) for left, right in bpe.merges]
        self._tokenizer = _with_pieces(models.BPE({written[token]: token for token in made}, pairs))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; raises IsogradError for half of a surrogate pair."""
        for text in texts:
            encoded_text(text)
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]


def _with_pieces(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer
