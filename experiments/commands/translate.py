"""`isograd translate`: a sentence, or the held-out words, by a run's checkpoint and either backend."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.commands.generate import load_module
from experiments.progress.display import Progress, make_progress, print_json
from experiments.reports.attention_maps import Seen, check_picture, write_attention
from experiments.reports.attention_seen import as_data, seen_in_translation
from experiments.training.launch import codec_of, prepared_from
from experiments.training.run_config import RunConfig, read_config
from shared.backend import find_backend
from shared.data.pairs.edit_distance import scores_by_length, translation_scores
from shared.data.pairs.letters import END
from shared.data.pairs.sentences import cut, joined, kept
from shared.errors import IsogradError
from shared.tasks.task import Codec

TASK = "translation"


def translate_command(
    run: Path,
    text: str | None = None,
    /,
    *,
    held_out: bool = False,
    attention: Path | None = None,
    backend: str | None = None,
    device: str | None = None,
    newest: bool = False,
    json: bool = False,
) -> None:
    """Translate a sentence word by word with the best checkpoint of a translator's run.

    Args:
        run: The run folder.
        text: The sentence; what is outside the alphabet is kept as it is.
        held_out: Translate the validation words instead, and score them, also by length.
        attention: Draw what each letter of the first word attends to, a PNG, SVG or PDF file.
        backend: torch or jax; if omitted, the run's.
        device: cpu or cuda; if omitted, the run's.
        newest: Use the newest checkpoint instead of the best.
        json: Print JSON.
    """
    _check(text, held_out, attention)
    config = read_config(run)
    if config.experiment.task != TASK:
        raise IsogradError(
            f"{run} was trained for {config.experiment.task}, which translates no words: pass a run of a translator"
        )
    with make_progress(quiet=json) as progress:
        side, place = backend or config.backend, device or config.device
        find_backend(side, dtype=config.dtype, device=place, tell=progress.note)
        codec = codec_of(config, run)
        module, saved = load_module(run, config, side, place, newest, progress)
        about = {**saved, "backend": side}
        if held_out:
            found = _held_out(run, config, progress, module, side, codec)
        else:
            found = _sentence(str(text), config, progress, module, side, codec)
        if attention is not None:
            word, written = next(iter(found["words"].items()))
            seen = seen_in_translation(side, module, codec, word, written)
            write_attention(attention, seen)
            found["attention"] = as_data(seen)
    if json:
        print_json({**about, **found})
    else:
        print(found["translation"] if not held_out else _as_text(found))


def seen_by_run(run: Path, text: str, progress: Progress) -> Seen:
    """What the best checkpoint of a run attends to in the first word of a text, by the run's own backend."""
    _check(text, held_out=False, attention=None)
    config = read_config(run)
    side, codec = config.backend, codec_of(config, run)
    module, _ = load_module(run, config, side, config.device, False, progress)
    word = next(word for _, word, _ in cut(text) if word)
    (written,) = _translated([word], config, module, side, codec, progress)
    return seen_in_translation(side, module, codec, word, written)


def _check(text: str | None, held_out: bool, attention: Path | None) -> None:
    if (text is None) != held_out:
        raise IsogradError("expected a text to translate, or --held-out for the validation words, and not both")
    if held_out and attention is not None:
        raise IsogradError("--attention draws a word of a text, so it has no effect with --held-out: leave one out")
    if attention is not None:
        check_picture(attention)
    if not held_out and not any(word for _, word, _ in cut(str(text))):
        raise IsogradError(f"expected a text with a word of the letters a to z, got {text!r}")


def _sentence(text: str, config: RunConfig, progress: Progress, module: Any, side: str, codec: Codec) -> dict[str, Any]:
    pieces = cut(text)
    words = list(dict.fromkeys(word for _, word, _ in pieces if word))
    translations = dict(zip(words, _translated(words, config, module, side, codec, progress), strict=True))
    if outside := kept(pieces):
        progress.note(f"outside the alphabet, so kept as it is: {' '.join(outside)}")
    return {"text": text, "translation": joined(pieces, translations), "kept": outside, "words": translations}


def _held_out(run: Path, config: RunConfig, progress: Progress, module: Any, side: str, codec: Codec) -> dict[str, Any]:
    pairs = prepared_from(config, run, progress).data.content.validation  # type: ignore[attr-defined]
    sources, expected = ([pair[place] for pair in pairs] for place in (0, 1))
    found = _translated(sources, config, module, side, codec, progress)
    return {
        "words": len(sources),
        **translation_scores(found, expected),
        "by_length": {str(length): row for length, row in scores_by_length(sources, found, expected).items()},
        "wrong": [list(row) for row in zip(sources, found, expected, strict=True) if row[1] != row[2]],
    }


def _translated(
    words: list[str], config: RunConfig, module: Any, side: str, codec: Codec, progress: Progress
) -> list[str]:
    steps = _most_letters(config, words)
    ids = importlib.import_module(f"{side}_impl").translate(module, [codec.encode(word) for word in words], steps)
    if endless := [word for word, row in zip(words, ids, strict=True) if END not in row]:
        progress.note(f"cut after {steps} letters, for the model gives no end: {' '.join(endless)}")
    return [codec.decode([int(token) for token in row]) for row in np.asarray(ids)]


def _most_letters(config: RunConfig, words: list[str]) -> int:
    """The longest target of the data, or twice the longest word if that is longer than all of the data."""
    known, longest = config.experiment.length, max(map(len, words))
    return known if longest < known else 2 * longest


def _as_text(found: dict[str, Any]) -> str:
    rows = [f"{found['words']} held-out words: {_scores(found)}"]
    rows += [
        f"  {length:>2} letters, {row['words']:>4} words: {_scores(row)}" for length, row in found["by_length"].items()
    ]
    return "\n".join(rows)


def _scores(row: dict[str, Any]) -> str:
    return f"{row['word_accuracy']:.1%} exact, {row['character_error_rate']:.2%} character errors"
