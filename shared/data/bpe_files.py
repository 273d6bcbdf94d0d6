"""GPT-2's two vocabulary files: the ids of all tokens (encoder.json) and the merges in their order (vocab.bpe)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.data.texts import read_text
from shared.errors import IsogradError
from shared.json_text import parse_object

MERGES_HEADER = "#version: 0.2"
_PRINTED = (*range(33, 127), *range(161, 173), *range(174, 256))  # bytes that stand for themselves, as in Latin-1
_OTHERS = (byte for byte in range(256) if byte not in _PRINTED)  # spaces and control characters: letters from 256 on
LETTERS = {byte: chr(byte) for byte in _PRINTED} | {byte: chr(256 + place) for place, byte in enumerate(_OTHERS)}

Pair = tuple[int, int]


def read_files(encoder_json: Path, vocab_bpe: Path) -> tuple[dict[int, int], dict[Pair, int], dict[str, int]]:
    """The ids of the bytes, of the merged pairs in the order of the merges, and of all other tokens.

    Raises IsogradError for files that are missing or malformed, and for merges that use tokens made later.
    """
    ids = _ids(encoder_json)
    missing = [f"0x{byte:02x}" for byte, letter in LETTERS.items() if letter not in ids]
    if missing:
        raise IsogradError(
            f"{encoder_json}: expected a token for each of the 256 bytes, got none for {', '.join(missing[:8])}: "
            "take the encoder.json of a byte-level vocabulary"
        )
    alphabet = {byte: ids[letter] for byte, letter in LETTERS.items()}
    made = set(LETTERS.values())
    merges: dict[Pair, int] = {}
    for place, left, right in _merges(vocab_bpe):
        _check_merge(place, left, right, made, ids)
        made.add(left + right)
        merges[ids[left], ids[right]] = ids[left + right]
    return alphabet, merges, {token: index for token, index in ids.items() if token not in made}


def _ids(path: Path) -> dict[str, int]:
    try:
        ids = parse_object(read_text(path))
    except IsogradError:
        raise
    except ValueError as error:
        raise IsogradError(f"{path}: expected a JSON object of tokens and their ids, got: {error}") from error
    wrong = [token for token, index in ids.items() if type(index) is not int or index < 0]
    if wrong or len(set(ids.values())) < len(ids):
        got = f"{ids[wrong[0]]!r} for {wrong[0]!r}" if wrong else "the same id for two tokens"
        raise IsogradError(f"{path}: expected a different id, from 0 on, for each token, got {got}")
    return ids


def _merges(path: Path) -> Iterator[tuple[str, str, str]]:
    """Where a merge stands, for messages, and its two tokens."""
    lines = read_text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if number == 1 and line.startswith("#version"):
            continue
        left, space, right = line.removesuffix("\r").partition(" ")
        if not (left and right) or " " in right:
            raise IsogradError(f"{path}, line {number}: expected two tokens with a space between, got {line[:80]!r}")
        yield f"{path}, line {number}", left, right


def _check_merge(place: str, left: str, right: str, made: set[str], ids: Mapping[str, int]) -> None:
    late = [token for token in (left, right) if token not in made]
    if late:
        raise IsogradError(
            f"{place}: expected a merge of bytes or of tokens merged before, got {late[0]!r}: put the merges in the "
            "order in which they were learned"
        )
    if left + right in made:
        raise IsogradError(f"{place}: expected a new token, got {left + right!r} again: remove one of the two merges")
    if left + right not in ids:
        raise IsogradError(
            f"{place}: the merged token {left + right!r} has no id: take both files from the same vocabulary"
        )
