"""How far translated words are from what they should be."""

from collections.abc import Mapping, Sequence


def edit_distance(found: Sequence, expected: Sequence) -> int:
    """The fewest insertions, deletions and replacements between two sequences (Levenshtein 1966)."""
    row = list(range(len(expected) + 1))
    for i, ours in enumerate(found, start=1):
        before, row[0] = row[0], i
        for j, theirs in enumerate(expected, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (ours != theirs))
    return row[-1]


def translation_scores(found: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """The share of words that are right, and the edits per letter of what was expected."""
    edits = sum(edit_distance(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    right = sum(ours == theirs for ours, theirs in zip(found, expected, strict=True))
    return {"word_accuracy": right / len(expected), "character_error_rate": edits / sum(map(len, expected))}


def scores_by_length(sources: Sequence[str], found: Sequence[str], expected: Sequence[str]) -> Mapping[int, dict]:
    """The same, with the number of words, for each length of a source."""
    by_length: dict[int, list[int]] = {}
    for place, source in enumerate(sources):
        by_length.setdefault(len(source), []).append(place)
    return {
        length: {"words": len(rows), **translation_scores([found[i] for i in rows], [expected[i] for i in rows])}
        for length, rows in sorted(by_length.items())
    }
