"""`isograd generate`: a language model's continuation of a prompt, by either backend."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from experiments.commands.evaluate import checkpoint_of
from experiments.progress.display import Progress, make_progress, print_json
from experiments.reports.attention_maps import Seen, check_picture, write_attention
from experiments.reports.attention_seen import as_data, seen_in_text
from experiments.training.launch import backend_for, codec_of
from experiments.training.run_config import RunConfig, read_config
from experiments.training.same_settings import OF_MODEL, check_settings_of
from experiments.training.sampling import continued, module_of
from experiments.training.threads import choose_threads
from shared.backend import find_backend
from shared.data.language.text_codec import TextCodec
from shared.errors import IsogradError
from shared.run_folder import WEIGHTS, load_weights
from shared.tasks.generation import Decoding, checked_prompts
from shared.tasks.task import Codec

TASK = "language_modelling"
UNFINISHED = "\ufffd"  # a character whose bytes have not all come


def generate_command(
    run: Path,
    prompt: str,
    /,
    *,
    tokens: int = 100,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stream: bool = False,
    attention: Path | None = None,
    backend: str | None = None,
    device: str | None = None,
    newest: bool = False,
    json: bool = False,
) -> None:
    """Continue a prompt with the best checkpoint of a language model's run.

    Args:
        run: The run folder.
        prompt: The text to continue.
        tokens: How many tokens to add, at most: a text may end before.
        temperature: Draw tokens, sharper below 1 and flatter above; if omitted, the likeliest token is taken.
        top_k: Draw from this many of the likeliest tokens.
        top_p: Draw from the likeliest tokens whose probabilities add up to this.
        seed: Of the drawn tokens, which are the same with both backends.
        stream: Print the text as it comes.
        attention: Draw what each token of the prompt attends to, in every head: a PNG, SVG or PDF file.
        backend: torch or jax; if omitted, the run's.
        device: cpu or cuda; if omitted, the run's.
        newest: Use the newest checkpoint instead of the best.
        json: Print JSON.
    """
    if json and stream:
        raise IsogradError("--stream has no effect with `isograd generate --json`: leave it out")
    if tokens < 1:
        raise IsogradError(f"--tokens: expected at least 1, got {tokens}")
    config = read_config(run)
    if config.experiment.task != TASK:
        raise IsogradError(
            f"{run} was trained for {config.experiment.task}, which generates no text: pass a run of a language model"
        )
    if attention is not None:
        check_picture(attention)
    Decoding(temperature, top_k, top_p)  # refuses what means nothing before anything is loaded
    settings: dict[str, Any] = {
        "steps": tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    choose_threads(config.experiment)
    with make_progress(quiet=json) as progress:
        side = backend or config.backend
        place = device or config.device
        find_backend(side, dtype=config.dtype, device=place, tell=progress.note)
        codec = cast(TextCodec, codec_of(config, run))
        ids = _encoded(codec, prompt)
        module, saved = load_module(run, config, side, place, newest, progress)
    if attention is not None:
        seen = seen_in_text(side, module, codec, ids)
        write_attention(attention, seen)
        saved["attention"] = as_data(seen)
    if stream:
        checked_prompts([ids], module.config.vocabulary_size, module.config.sequence_length)  # before any is shown
        print(codec.decode(ids), end="", flush=True)
        settings["on_token"] = _printer(codec, ids)
    ((_, new),) = continued(side, module, [ids], stop=codec.end, **settings)
    if json:
        print_json({**saved, "backend": side, "prompt": prompt, "text": codec.decode(new), "ids": new})
    else:
        print("" if stream else codec.decode(ids + new))


def seen_by_run(run: Path, text: str, progress: Progress) -> Seen:
    """What the best checkpoint of a run attends to in a text, by the run's own backend."""
    config = read_config(run)
    codec = codec_of(config, run)
    ids = _encoded(codec, text)
    module, _ = load_module(run, config, config.backend, config.device, False, progress)
    return seen_in_text(config.backend, module, codec, ids)


def _encoded(codec: Codec, prompt: str) -> list[int]:
    ids = codec.encode(prompt)
    if not ids:
        raise IsogradError("expected a prompt of at least one token, got an empty one: write how the text begins")
    return ids


def load_module(
    run: Path, config: RunConfig, side: str, device: str, newest: bool, progress: Progress
) -> tuple[Any, dict[str, Any]]:
    """The module with the weights of a checkpoint, and which checkpoint it is."""
    checkpoint = checkpoint_of(run, (WEIGHTS,), newest, progress)
    arrays, state = load_weights(checkpoint)
    check_settings_of(state, config.experiment, run, OF_MODEL)
    backend_for(config.experiment, side, config.dtype, device)  # sets the framework's precision
    module = module_of(side, config.experiment.model, arrays, device)
    return module, {"checkpoint": str(checkpoint), "step": state["step"]}


def _printer(codec: Codec, prompt: list[int]) -> Callable[[np.ndarray], None]:
    """Prints what each new token adds to the text, whole characters only."""
    ids, shown = list(prompt), len(codec.decode(prompt))

    def show(new: np.ndarray) -> None:
        nonlocal shown
        ids.append(int(new[0]))
        text = codec.decode(ids)
        if not text.endswith(UNFINISHED):
            print(text[shown:], end="", flush=True)
            shown = len(text)

    return show
