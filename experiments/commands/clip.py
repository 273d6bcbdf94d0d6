"""`isograd clip`: which caption fits an image best, or which class, by a CLIP of a folder, in either framework."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.commands.options import command_line
from experiments.progress.display import counting, print_json
from experiments.reports.caption_page import write_captions
from experiments.training.folder import check_folder, check_replaceable
from shared.backend import find_backend
from shared.configs.validation import check_choice
from shared.data.clip_texts import encode_texts, load_clip_tokenizer
from shared.data.images import as_pixels, find_images, open_image, read_preprocessing
from shared.data.texts import read_text
from shared.errors import IsogradError

BACKENDS = {"torch": ("torch",), "jax": ("jax",), "both": ("torch", "jax")}
TEMPLATE = "a photo of a {}."  # of OpenAI's zero-shot classifiers
TWIN = "CLIPModel"
TOGETHER = 32  # images in memory
SHOWN = 5  # captions of an image


def clip_command(
    folder: Path,
    images: Path,
    /,
    *,
    captions: Path | None = None,
    template: str = TEMPLATE,
    backend: str = "both",
    dtype: str = "float32",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Rank captions for every image of a folder; without captions, classify images by the names of their folders.

    Args:
        folder: A folder of transformers with a CLIP, its tokenizer and, if it has one, its preprocessor_config.json.
        images: A folder of images, or of a folder for each class.
        captions: A text file with a caption a line.
        template: The caption of a class, whose name takes the place of {}.
        backend: torch, jax or both.
        dtype: float32 or bfloat16.
        out: Folder for a page with the images and their bars.
        json: Print JSON.
    """
    typed = command_line("clip", clip_command, dict(locals()))
    check_choice("backend", backend, BACKENDS)
    check_choice("dtype", dtype, ("float32", "bfloat16"))
    if out is not None:
        check_folder(out)
        check_replaceable(out)
    paths = find_images(images)
    classes = None if captions is not None else _classes(images, paths)
    texts = _lines(captions) if captions is not None else [_filled(template, name) for name in classes or ()]
    for side in BACKENDS[backend]:
        find_backend(side, dtype=dtype, device="cpu")
    logits = {side: _logits(side, folder, dtype, texts, paths, quiet=json) for side in BACKENDS[backend]}
    found = {"command": typed, **_found(images, paths, texts, classes, logits)}
    if out is not None:
        write_captions(out, paths, found)
    if json:
        print_json(found)
    else:
        print("\n".join(_told(found)))
        if out is not None:
            print(f"wrote {out}")


def _lines(file: Path) -> list[str]:
    lines = [line.strip() for line in read_text(file).splitlines()]
    kept = list(dict.fromkeys(filter(None, lines)))
    if len(kept) < 2:
        raise IsogradError(f"{file}: expected two or more different captions, one a line, got {len(kept)}")
    return kept


def _classes(images: Path, paths: Sequence[Path]) -> list[str]:
    """The names of the folders that hold images, sorted."""
    names = sorted({path.parent.name for path in paths if path.parent != images})
    if len(names) < 2 or any(path.parent == images for path in paths):
        raise IsogradError(
            f"{images}: expected a folder of images for each of two or more classes, got {len(names)} and "
            f"{sum(path.parent == images for path in paths)} images outside of them: or pass --captions FILE"
        )
    return names


def _filled(template: str, name: str) -> str:
    if "{}" not in template:
        raise IsogradError(f"--template: expected {{}} where the name of a class goes, got {template!r}")
    return template.replace("{}", name.replace("_", " "))


def _logits(
    side: str, folder: Path, dtype: str, texts: Sequence[str], paths: Sequence[Path], quiet: bool
) -> np.ndarray:
    """(images, texts); each image is read once for each framework, a few at a time."""
    package: Any = importlib.import_module(f"{side}_impl")
    module = package.from_pretrained(folder, dtype=dtype, twin=TWIN)
    match = importlib.import_module(f"{side}_impl.embedding").match
    ids, mask = encode_texts(load_clip_tokenizer(folder), texts, module.config.sequence_length)
    _check_ids(ids, module.config.vocabulary_size, folder)
    how = read_preprocessing(folder, module.config.image_size)
    rows = []
    with counting(f"matched images, {side}", quiet=quiet) as report:
        for start in range(0, len(paths), TOGETHER):
            report(start, len(paths), paths[start].name)
            pixels = np.stack([as_pixels(open_image(path), how) for path in paths[start : start + TOGETHER]])
            rows.append(match(module, ids, mask, pixels))
    return np.concatenate(rows)


def _check_ids(ids: np.ndarray, size: int, folder: Path) -> None:
    if ids.max() >= size:
        raise IsogradError(
            f"{folder}: the tokenizer has the token {ids.max()}, but the model has a vocabulary of {size:,}: "
            "take both from the same checkpoint"
        )


def _found(
    images: Path,
    paths: Sequence[Path],
    texts: Sequence[str],
    classes: Sequence[str] | None,
    logits: dict[str, np.ndarray],
) -> dict[str, Any]:
    names = [str(path.relative_to(images)) for path in paths]
    shares = {side: _softmax(each) for side, each in logits.items()}
    found: dict[str, Any] = {
        "captions": list(texts),
        "images": names,
        "probabilities": {side: each.tolist() for side, each in shares.items()},
    }
    if classes is not None:
        labels = np.array([classes.index(path.parent.name) for path in paths])
        found["classes"] = list(classes)
        found["accuracy"] = {side: float(np.mean(each.argmax(1) == labels)) for side, each in shares.items()}
        found["majority"] = float(np.bincount(labels).max() / len(labels))
    if len(logits) > 1:
        ours, theirs = logits.values()
        found["difference"] = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
        found["same_ranking"] = bool(np.array_equal(ours.argsort(1, kind="stable"), theirs.argsort(1, kind="stable")))
    return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _told(found: dict[str, Any]) -> list[str]:
    side, shares = next(iter(found["probabilities"].items()))
    lines = []
    for name, row in zip(found["images"], shares, strict=True):
        best = sorted(zip(row, found["captions"], strict=True), key=lambda pair: -pair[0])[:SHOWN]
        lines += [f"{name}:", *(f"  {share:6.1%}  {caption}" for share, caption in best)]
    for side, accuracy in found.get("accuracy", {}).items():
        lines.append(f"{side}: accuracy {accuracy:.4f}, the most common class {found['majority']:.4f}")
    if "difference" in found:
        ranking = "the same" if found["same_ranking"] else "not the same"
        lines.append(f"the logits of both frameworks differ by {found['difference']:.1e}; their rankings are {ranking}")
    return lines
