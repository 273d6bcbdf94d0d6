"""`isograd embed`: sentence embeddings by a BERT of a folder, and the nearest sentence of each, in either framework."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.progress.display import print_json
from shared.backend import find_backend
from shared.configs.validation import check_choice
from shared.data import TextTokenizer
from shared.errors import IsogradError
from shared.pretrained.initial import find_folder

BACKENDS = {"torch": ("torch",), "jax": ("jax",), "both": ("torch", "jax")}
LONGEST = 256  # tokens of a text


def embed_command(
    folder: str,
    texts: list[str],
    /,
    *,
    backend: str = "both",
    dtype: str = "float32",
    json: bool = False,
) -> None:
    """Embed sentences with a pretrained BERT, and say which of the others is nearest to each.

    Args:
        folder: A folder of transformers with a BERT and its tokenizer, or minilm for the one of an installed package.
        texts: Two or more sentences.
        backend: torch, jax or both.
        dtype: float32 or bfloat16.
        json: Print JSON, with the vectors.
    """
    check_choice("backend", backend, BACKENDS)
    check_choice("dtype", dtype, ("float32", "bfloat16"))
    if len(texts) < 2:
        raise IsogradError(f"expected two or more sentences, got {len(texts)}")
    path = find_folder(folder)
    for side in BACKENDS[backend]:
        find_backend(side, dtype=dtype, device="cpu")
    ids, mask = encoded(path, texts)
    vectors = {side: _embedded(side, path, dtype, ids, mask) for side in BACKENDS[backend]}
    results = {side: nearest(found) for side, found in vectors.items()}
    if json:
        print_json(
            {
                side: {"vectors": vectors[side].tolist(), "nearest": [index for index, _ in found]}
                for side, found in results.items()
            }
        )
        return
    for side, found in results.items():
        print(f"{side}:")
        for text, (index, cosine) in zip(texts, found, strict=True):
            print(f"  {text!r} is nearest to {texts[index]!r}, cosine {cosine:.4f}")
    if backend == "both":
        gap = np.linalg.norm(vectors["torch"] - vectors["jax"]) / np.linalg.norm(vectors["torch"])
        print(f"the vectors of both frameworks differ by {gap:.1e}")


def encoded(folder: Path, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids (B, T) and their mask, T the longest text's."""
    rows = TextTokenizer.load(folder).encode_batch(texts, LONGEST)
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    mask = np.zeros_like(ids)
    for row, found in enumerate(rows):
        ids[row, : len(found)], mask[row, : len(found)] = found, 1
    return ids, mask


def nearest(vectors: np.ndarray) -> list[tuple[int, float]]:
    """The index of the nearest other vector to each, and their cosine."""
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(cosines, -np.inf)
    return [(int(row.argmax()), float(row.max())) for row in cosines]


def _embedded(side: str, folder: Path, dtype: str, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    package: Any = importlib.import_module(f"{side}_impl")
    module = package.from_pretrained(folder, dtype=dtype, twin="BertModel")
    return importlib.import_module(f"{side}_impl.embedding").embed(module, ids, mask)
