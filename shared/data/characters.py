"""The characters of a corpus as tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from shared.data.texts import check_ids
from shared.errors import IsogradError


@dataclass(frozen=True)
class Characters:
    """The characters in the order of their ids."""

    tokens: tuple[str, ...]

    @staticmethod
    def train(texts: Iterable[str]) -> Characters:
        """All characters of the texts, by code point; raises IsogradError if there are none."""
        found = {character for text in texts for character in text}
        if not found:
            raise IsogradError("expected texts to collect characters from, got none: pass a corpus that is not empty")
        return Characters(tuple(sorted(found)))

    @property
    def vocabulary_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The ids of a text's characters; raises IsogradError for a character that the corpus does not have."""
        for place, character in enumerate(text):
            if character not in self._ids:
                raise IsogradError(
                    f"expected characters of the corpus, got {character!r} as character {place}: "
                    f"write the text with the {len(self.tokens)} characters that the model has seen"
                )
        return [self._ids[character] for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; raises IsogradError for an unknown id."""
        check_ids(ids, range(len(self.tokens)))
        return "".join(self.tokens[token] for token in ids)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.tokens)}
