"""Pig Latin: the rule, and words that need no file."""

from __future__ import annotations

import builtins
import functools
import keyword
import pydoc_data.topics
import re

VOWELS = "aeiou"
HEADS = {True: re.compile(r"[^aeiouy]*qu|[^aeiouy]*"), False: re.compile(r"[^aeiouy]*")}  # by whether qu moves as one
ENGLISH = re.compile(r"[A-Za-z][a-z]+(-[a-z]+)*")
GRAMMAR = re.compile(r"^\s+(\w+)\s*(?:::=|:)", re.MULTILINE)
SHORTEST = 3  # letters of a word
SOURCE = "the words of Python's language reference, which CPython ships"


def pig_latin(text: str, qu_together: bool = True) -> str:
    """Every run of small letters: one that begins with a vowel gets "way" at its end; of any other the consonants
    before the first vowel or y move to the end, and "ay" follows. `qu_together`: "qu" moves as one consonant.
    """
    return re.sub("[a-z]+", lambda found: _translated(found[0], qu_together), text)


def _translated(word: str, qu_together: bool) -> str:
    if word[0] in VOWELS:
        return word + "way"
    head = HEADS[qu_together].match(word)[0]  # type: ignore[index]  # it matches nothing, too
    return word[len(head) :] + head + "ay"


@functools.cache
def reference_words() -> tuple[str, ...]:
    """The words of Python's reference, sorted, of three letters or more; the names of code and grammar are left out."""
    text = "\n".join(pydoc_data.topics.topics.values())
    code = {*keyword.kwlist, *dir(builtins), *GRAMMAR.findall(text)} - _in_prose(text)
    tokens = (token.strip("\"'(*,.;:!?)") for token in text.split())
    words = {token.lower() for token in tokens if ENGLISH.fullmatch(token)}
    return tuple(sorted(word for word in words - code if len(word) >= SHORTEST))


def _in_prose(text: str) -> set[str]:
    """Words that follow an article: "class" and "if" are code, but "the class" is English."""
    return set(re.findall(r"\b(?:the|an|a|this|that|each|any|no)\s+([a-z]+)\b", text))
