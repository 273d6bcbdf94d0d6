"""Whole words of a corpus, split at white space: those seen often enough, and START, STOP, UNK and PAD."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from shared.data.texts import check_ids
from shared.errors import IsogradError

PAD, UNK, START, STOP = SPECIAL = ("<PAD>", "<UNK>", "<START>", "<STOP>")  # ids 0 to 3
LEAST_COUNT = 3


@dataclass(frozen=True)
class Words:
    """The special tokens and then the words, in the order of their ids."""

    tokens: tuple[str, ...]

    @staticmethod
    def train(texts: Iterable[str], least_count: int = LEAST_COUNT) -> Words:
        """The words that occur this often, the most frequent first, equally frequent ones in the alphabet's order.

        Raises IsogradError for texts without a word.
        """
        counts = Counter(word for text in texts for word in text.split())
        if not counts:
            raise IsogradError("expected texts to collect words from, got no word: pass a corpus that is not empty")
        often = [word for word, count in counts.items() if count >= least_count and word not in SPECIAL]
        return Words((*SPECIAL, *sorted(often, key=lambda word: (-counts[word], word))))

    @property
    def vocabulary_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """START, the ids of the words (UNK for others), STOP."""
        ids, unknown = self._ids, self._ids[UNK]
        return [ids[START], *(ids.get(word, unknown) for word in text.split()), ids[STOP]]

    def decode(self, ids: Sequence[int]) -> str:
        """The words with a space between, without START, STOP and PAD; raises IsogradError for an unknown id."""
        check_ids(ids, range(len(self.tokens)))
        return " ".join(self.tokens[token] for token in ids if self.tokens[token] not in (PAD, START, STOP))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.tokens)}
