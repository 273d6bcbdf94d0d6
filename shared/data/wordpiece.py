"""WordPiece tokenizers as in bert-base-uncased: from a vocab.txt, from a tokenizer.json, or trained on texts."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from shared.data.cache import store
from shared.data.stages import Report, counted, in_background, silent
from shared.errors import IsogradError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NEEDED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LARGEST_VOCABULARY = 30_522
LEAST_FREQUENCY = 2  # a word piece that occurs once in the training texts teaches nothing
RARE_CHARACTERS = 1_000  # more characters than these become [UNK]
LONGEST_WORD = 100  # characters; longer words become [UNK], so they have no part in the training
LONG_RUN = re.compile(rf"[^ \t\r\n]{{{LONGEST_WORD + 1},}}")  # what may be, or hold, a longer word
NORMALIZER = normalizers.BertNormalizer(lowercase=True)
WORDS = pre_tokenizers.BertPreTokenizer()

log = logging.getLogger("isograd")


def from_vocabulary_file(file: Path) -> Tokenizer:
    """One token per line; its id is the line number, from 0."""
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")  # not splitlines: it also splits at exotic characters
    except (OSError, UnicodeDecodeError) as error:
        raise IsogradError(f"vocabulary {file}: expected a UTF-8 file with one token per line, got: {error}") from error
    tokens = [line.rstrip("\r") for line in lines]
    return from_tokens(tokens[:-1] if tokens[-1] == "" else tokens, f"vocabulary {file}")


def from_tokens(tokens: Sequence[str], name: str) -> Tokenizer:
    """Lower case, no accents, `[CLS] text [SEP]`; the ids are the positions of the tokens."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    missing = [token for token in NEEDED if token not in vocabulary]
    if missing:
        raise IsogradError(f"{name}: expected the tokens {', '.join(NEEDED)}, missing {', '.join(missing)}")
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer, tokenizer.pre_tokenizer = NORMALIZER, WORDS
    ends = [(token, vocabulary[token]) for token in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    tokenizer.add_special_tokens([token for token in SPECIAL if token in vocabulary])
    return tokenizer


def from_tokenizer_file(file: Path) -> Tokenizer:
    """A tokenizer.json unchanged; the caller must switch off its truncation and padding."""
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions for every kind of damage
        raise IsogradError(
            f"vocabulary {file}: expected a tokenizer.json of the tokenizers library; {error}"
        ) from error


def trained(texts: Sequence[str], cache_dir: Path, report: Report = silent) -> Tokenizer:
    """A vocabulary trained on the texts, identical in every process; trained once, then read from the cache."""
    digest = hashlib.sha256(f"{LARGEST_VOCABULARY} {LEAST_FREQUENCY} {RARE_CHARACTERS} {LONGEST_WORD}".encode())
    for text in counted(texts, report, "looked up the word pieces of", len(texts)):
        digest.update(text.encode() + b"\0")
    file = cache_dir / f"vocab-{digest.hexdigest()[:32]}.txt"
    try:
        return from_vocabulary_file(file)
    except IsogradError:  # not there yet, or damaged
        tokens = train_tokens(texts, report)
        store(file, lambda opened: opened.write("\n".join(tokens).encode() + b"\n"))
        return from_tokens(tokens, "the trained vocabulary")


def train_tokens(texts: Sequence[str], report: Report = silent) -> list[str]:
    """The tokens in the order of their ids.

    The trainer numbers the characters inside words in the order of a randomly seeded hash table, and equal counts are
    ordered by those numbers; given every character as a special token first, it returns the same tokens every time.
    """
    texts = _without_long_words(texts)
    counts: Counter[str] = Counter()
    for text in counted(texts, report, "counted the characters of", len(texts)):
        counts.update(NORMALIZER.normalize_str(text))
    kept = sorted(counts, key=lambda character: (-counts[character], character))[:RARE_CHARACTERS]
    characters = sorted(character for character in kept if not character.isspace())
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = NORMALIZER, WORDS
    trainer = trainers.WordPieceTrainer(
        vocab_size=LARGEST_VOCABULARY,
        min_frequency=LEAST_FREQUENCY,
        show_progress=False,
        special_tokens=[*SPECIAL, *characters, *(f"##{character}" for character in characters)],
        limit_alphabet=len(characters),
    )
    in_background(
        lambda: tokenizer.train_from_iterator(texts, trainer),
        lambda: report("training word pieces on", len(texts), len(texts)),
    )
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _without_long_words(texts: Sequence[str]) -> list[str]:
    """The texts without words that are too long to have word pieces; says how many there were."""
    left_out = 0

    def shortened(run: re.Match[str]) -> str:
        nonlocal left_out
        words = [word for word, _ in WORDS.pre_tokenize_str(NORMALIZER.normalize_str(run.group()))]
        kept = [word for word in words if len(word) <= LONGEST_WORD]
        left_out += len(words) - len(kept)
        return run.group() if len(kept) == len(words) else " ".join(kept)

    kept = [LONG_RUN.sub(shortened, text) for text in texts]
    if left_out:
        log.warning(
            "words of more than %d characters become [UNK], so they are left out of the word pieces: %d in these texts",
            LONGEST_WORD,
            left_out,
        )
    return kept
