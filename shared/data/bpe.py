"""Byte-level byte-pair encoding as in GPT-2: learn merges, read GPT-2's files, encode, decode.

A text is cut into pieces by a pattern, a piece is a sequence of bytes, and the merges join neighbouring tokens in the
order in which they were learned (Sennrich et al. 2016; Radford et al. 2019). This is the readable reference.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import regex

from shared.atomic import new_file
from shared.data.bpe_files import LETTERS, MERGES_HEADER, read_files
from shared.data.texts import check_ids, encoded_text
from shared.errors import IsogradError
from shared.json_text import to_json

PATTERN = regex.compile(r"'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
ALPHABET = sorted(LETTERS, key=LETTERS.__getitem__)  # the bytes in the order of their ids

END = "<|endoftext|>"  # GPT-2's token between documents, which no text gives

Pair = tuple[int, int]


@dataclass(frozen=True)
class BPE:
    """Token ids of the 256 bytes, of every merged pair in the order of the merges, and of tokens that no text gives."""

    alphabet: Mapping[int, int]
    merges: Mapping[Pair, int]
    special: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def train(texts: Iterable[str], vocabulary_size: int) -> BPE:
        """Learn merges until there are this many tokens, or no two neighbours are left.

        The most frequent pair of neighbours is merged first; of equally frequent ones, the smallest pair of ids.
        Raises IsogradError for fewer than 256 tokens, or texts without a character.
        """
        if vocabulary_size < len(ALPHABET):
            raise IsogradError(
                f"a byte-level vocabulary has a token for each of {len(ALPHABET)} bytes, got a size of "
                f"{vocabulary_size}: ask for at least {len(ALPHABET)} tokens"
            )
        pieces = Counter(piece for text in texts for piece in PATTERN.findall(_checked(text)))
        if not pieces:
            raise IsogradError("expected texts to learn merges from, got no character: pass a corpus that is not empty")
        ids = {byte: index for index, byte in enumerate(ALPHABET)}
        words = [[ids[byte] for byte in piece.encode()] for piece in pieces]
        return BPE(ids, _learned(words, list(pieces.values()), range(len(ids), vocabulary_size)))

    @staticmethod
    def load(encoder_json: str | Path, vocab_bpe: str | Path) -> BPE:
        """Read GPT-2's two files, the ids of all tokens and the merges; raises IsogradError if they do not fit."""
        return BPE(*read_files(Path(encoder_json), Path(vocab_bpe)))

    def save(self, encoder_json: str | Path, vocab_bpe: str | Path) -> None:
        """Write GPT-2's two files, which other libraries read too."""
        written = {token: "".join(LETTERS[byte] for byte in text) for token, text in self.tokens.items()}
        names = {
            **self.special,
            **{written[token]: token for token in [*self.alphabet.values(), *self.merges.values()]},
        }
        ordered = dict(sorted(names.items(), key=lambda item: item[1]))
        lines = [MERGES_HEADER, *(f"{written[left]} {written[right]}" for left, right in self.merges)]
        for path, text in ((encoder_json, to_json(ordered)), (vocab_bpe, "\n".join(lines))):
            with new_file(Path(path)) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8", newline="\n")

    @property
    def vocabulary_size(self) -> int:
        """The largest id + 1."""
        return max(self.tokens) + 1

    @cached_property
    def tokens(self) -> dict[int, bytes]:
        """The bytes of every token by its id."""
        tokens = {token: bytes([byte]) for byte, token in self.alphabet.items()}
        for (left, right), merged in self.merges.items():
            tokens[merged] = tokens[left] + tokens[right]
        return tokens | {token: text.encode() for text, token in self.special.items()}

    def encode(self, text: str) -> list[int]:
        """The ids of a text; raises IsogradError for half of a surrogate pair, which UTF-8 can't hold."""
        return [token for piece in PATTERN.findall(_checked(text)) for token in self._ids_of(piece)]

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes; those that are not UTF-8 are cut into pieces like punctuation."""
        pieces = PATTERN.findall(data.decode("utf-8", "surrogateescape"))
        return [token for piece in pieces for token in self._ids_of(piece)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; bytes that are not UTF-8 become U+FFFD; raises IsogradError for an unknown id."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of token ids: the inverse of `encode_bytes`."""
        check_ids(ids, self.tokens)
        return b"".join(self.tokens[token] for token in ids)

    def _ids_of(self, piece: str) -> list[int]:
        if piece not in self._known_pieces:
            ids = [self.alphabet[byte] for byte in piece.encode("utf-8", "surrogateescape")]
            self._known_pieces[piece] = self._merged(ids)
        return self._known_pieces[piece]

    def _merged(self, ids: list[int]) -> list[int]:
        while len(ids) > 1:
            first = min(pairwise(ids), key=lambda pair: self._ranks.get(pair, math.inf))
            if first not in self.merges:
                break
            ids = _join(ids, first, self.merges[first])
        return ids

    @cached_property
    def _ranks(self) -> dict[Pair, int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    @cached_property
    def _known_pieces(self) -> dict[str, list[int]]:
        return {}


def _learned(words: list[list[int]], counts: list[int], ids: Iterable[int]) -> dict[Pair, int]:
    """The merges that give these ids, for words that occur `counts` times; `words` is used up."""
    frequency: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)  # the words that may hold a pair
    for place, word in enumerate(words):
        for pair in pairwise(word):
            frequency[pair] += counts[place]
            places[pair].add(place)
    queue = [(-count, pair) for pair, count in frequency.items()]
    heapq.heapify(queue)
    merges: dict[Pair, int] = {}
    for new in ids:
        best = _most_frequent(queue, frequency)
        if best is None:
            break
        merges[best], changed = new, set()
        for place in places.pop(best):
            before, words[place] = words[place], _join(words[place], best, new)
            for pair in pairwise(before):
                frequency[pair] -= counts[place]
            for pair in pairwise(words[place]):
                frequency[pair] += counts[place]
                places[pair].add(place)
            changed |= {*pairwise(before), *pairwise(words[place])}
        for pair in changed:
            heapq.heappush(queue, (-frequency[pair], pair))
    return merges


def _most_frequent(queue: list[tuple[int, Pair]], frequency: Mapping[Pair, int]) -> Pair | None:
    """The first pair of the queue whose count is still right; None if no pair is left."""
    while queue:
        count, pair = heapq.heappop(queue)
        if -count == frequency[pair] > 0:
            return pair
    return None


def _join(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """`ids` with every occurrence of the pair, from the left, replaced by `new`."""
    joined: list[int] = []
    for token in ids:
        if joined and (joined[-1], token) == pair:
            joined[-1] = new
        else:
            joined.append(token)
    return joined


def _checked(text: str) -> str:
    encoded_text(text)
    return text
