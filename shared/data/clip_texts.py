"""CLIP's tokenizer: lower case, byte-level BPE whose words end in `</w>`; equal to that of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from shared.data.bpe_files import LETTERS
from shared.data.texts import encoded_text, read_text
from shared.errors import IsogradError
from shared.json_text import parse_object

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
PUBLISHED = "bpe_simple_vocab_16e6.txt.gz"  # the merges as OpenAI published them
PUBLISHED_MERGES = 49152 - 256 - 2  # of which so many belong to the vocabulary


def load_clip_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder: tokenizer.json, vocab.json with merges.txt, or OpenAI's file of merges.

    Raises IsogradError if none is there, or if it is malformed.
    """
    for names, read in FILES.items():
        files = [folder / name for name in names]
        if all(file.is_file() for file in files):
            return _read(files, read)
    listed = ", ".join(" with ".join(names) for names in FILES)
    raise IsogradError(f"{folder} has no tokenizer: expected one of {listed}")


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N, T) and their mask, T the longest text's, at most `length`; longer ones are cut and keep their end."""
    for text in texts:
        encoded_text(text)
    tokenizer.enable_truncation(length)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    ids = np.full((len(rows), max(map(len, rows))), tokenizer.token_to_id(END), np.int32)
    mask = np.zeros_like(ids)
    for row, found in enumerate(rows):
        ids[row, : len(found)], mask[row, : len(found)] = found, 1
    return ids, mask


def _read(files: Sequence[Path], read: Callable[..., Tokenizer]) -> Tokenizer:
    try:
        tokenizer = read(*files)
    except IsogradError:
        raise
    except Exception as error:  # the library raises bare Exceptions for every kind of damage
        raise IsogradError(f"{files[0]}: expected CLIP's tokenizer, got: {error}") from error
    missing = [token for token in (START, END) if tokenizer.token_to_id(token) is None]
    if missing:
        raise IsogradError(f"{files[0]}: expected the tokens {START} and {END}, missing {', '.join(missing)}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _from_vocabulary(vocabulary: Path, merges: Path) -> Tokenizer:
    lines = read_text(merges).splitlines()
    return _built(parse_object(read_text(vocabulary)), [line for line in lines if line and not line.startswith("#")])


def _from_published(file: Path) -> Tokenizer:
    merges = read_text(file).split("\n")[1 : PUBLISHED_MERGES + 1]
    letters = list(LETTERS.values())
    tokens = [*letters, *(letter + WORD_END for letter in letters), *("".join(merge.split()) for merge in merges)]
    return _built({token: index for index, token in enumerate([*tokens, START, END])}, merges)


def _built(ids: dict[str, int], merges: Sequence[str]) -> Tokenizer:
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    model = models.BPE(ids, pairs, continuing_subword_prefix="", end_of_word_suffix=WORD_END, unk_token=END)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    ends = (END, ids[END]), (START, ids[START])
    tokenizer.post_processor = processors.RobertaProcessing(*ends, False, False)  # no offsets, no space added
    tokenizer.add_special_tokens([START, END])
    return tokenizer


FILES: dict[tuple[str, ...], Callable[..., Tokenizer]] = {
    ("tokenizer.json",): lambda file: Tokenizer.from_file(str(file)),
    ("vocab.json", "merges.txt"): _from_vocabulary,
    (PUBLISHED,): _from_published,
}
