"""Run folders: checkpoints/step-00001000/ and best/, each complete or absent, the same for both backends.

A checkpoint is weights.safetensors (canonical names), optimizer.safetensors (the moments and the step) and state.json.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared import checkpoint
from shared.atomic import new_folder, remove_folder, remove_leftovers, set_aside, standing
from shared.digests import digest_of_json
from shared.errors import IsogradError
from shared.json_text import parse_json

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
FILES, DIGEST = "files", "sha256"  # in state.json: of the other two files, and of the rest of its content
CHECKPOINTS, BEST = "checkpoints", "best"
PREFIX = "weights/"  # of the weights in the arrays of `Backend.state_to_arrays`
PORTABLE = ("twin", "arguments", "experiment")  # parts of the state that are also in weights.safetensors, for porting

State = dict[str, Any]


def save_checkpoint(run: Path, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Path:
    """Write checkpoints/step-N of a run; arrays as from `Backend.state_to_arrays`, state any JSON.

    `twin`, `arguments` and `experiment` of the state make the weights portable without further arguments.
    Raises IsogradError if the disk is full; the previous content is then still there.
    """
    return _save(run / CHECKPOINTS / f"step-{step:08d}", arrays, state)


def save_best(run: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Path:
    """Write best/ of a run, as `save_checkpoint` does."""
    return _save(run / BEST, arrays, state)


def load_weights(folder: Path) -> tuple[dict[str, np.ndarray], State]:
    """The weights and the state of one checkpoint, whatever has become of its optimiser."""
    state = read_state(folder, (WEIGHTS,))
    weights, _ = checkpoint.load(folder / WEIGHTS)
    return {PREFIX + name: array for name, array in weights.items()}, state


def load_checkpoint(folder: Path) -> tuple[dict[str, np.ndarray], State]:
    """The arrays and the state of one checkpoint; raises IsogradError if a file is missing or damaged."""
    read_state(folder)
    weights, state = load_weights(folder)
    others, _ = checkpoint.load(folder / OPTIMIZER)
    return {**weights, **others}, state


def read_state(folder: Path, needed: Sequence[str] = (WEIGHTS, OPTIMIZER)) -> State:
    """The state of a checkpoint; raises IsogradError unless the needed files have their recorded sizes and digests."""
    state, written = _read_sealed(folder)
    for name in needed:
        found = _fingerprint(folder / name) if (folder / name).is_file() else "no such file"
        if found != written.get(name):
            raise IsogradError(
                f"{folder / name} is damaged: expected {written.get(name)}, found {found}: use an earlier checkpoint"
            )
    return state


def _read_sealed(folder: Path) -> tuple[State, dict[str, str]]:
    """The state, and what the other files should be; state.json is not trusted unless its digest is right."""
    try:
        state = parse_json((folder / STATE).read_text("utf-8"))
        if state.pop(DIGEST) != digest_of_json(state):
            raise ValueError("it is damaged: its digest does not match")
        return state, dict(state.pop(FILES))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise IsogradError(f"{folder} is not a complete checkpoint ({STATE}: {error}): use an earlier one") from error


def list_checkpoints(run: Path) -> list[Path]:
    """The step folders of a run, oldest first; not yet validated."""
    places = (run / CHECKPOINTS).glob("step-*"), (run / CHECKPOINTS).glob(set_aside(Path("step-*")).name)
    names = {folder.name.removeprefix(".").removesuffix(".old") for place in places for folder in place}
    folders = (standing(run / CHECKPOINTS / name) for name in sorted(names))
    return [folder for folder in folders if folder is not None]


def latest_checkpoint(run: Path, needed: Sequence[str] = (WEIGHTS, OPTIMIZER)) -> tuple[Path, list[str]]:
    """The newest checkpoint whose needed files are intact, and a note on each newer one; IsogradError if none is."""
    notes = []
    for folder in reversed(list_checkpoints(run)):
        try:
            read_state(folder, needed)
        except IsogradError as error:
            notes.append(f"skipped a damaged checkpoint: {error}")
        else:
            return folder, notes
    raise IsogradError(f"{run} has no usable checkpoint: {'; '.join(notes) or 'none was written'}")


def best_checkpoint(run: Path) -> Path | None:
    """The folder best/ of a run, None if there is none yet."""
    return standing(run / BEST)


def best_or_newest(run: Path, needed: Sequence[str], advice: Callable[[Path], str]) -> tuple[Path, list[str]]:
    """The best checkpoint, or, in a run without one, the newest whose needed files are intact and notes on newer ones.

    Raises IsogradError if the best is damaged, with advice on the newest checkpoint if there is one.
    """
    best = best_checkpoint(run)
    if best is None:
        return latest_checkpoint(run, needed)
    try:
        read_state(best, needed)
    except IsogradError as error:
        intact = [folder for folder in list_checkpoints(run) if _is_whole(folder, needed)]
        raise IsogradError(f"{error}; {advice(intact[-1])}" if intact else str(error)) from error
    return best, []


def keep_last(run: Path, count: int) -> list[Path]:
    """Remove all but the newest `count` checkpoints and the newest intact one; keep best/. Returns what was removed."""
    folders = list_checkpoints(run)
    newest_whole = next((folder for folder in reversed(folders) if _is_whole(folder)), None)
    removed = [folder for folder in folders[: max(len(folders) - count, 0)] if folder != newest_whole]
    for folder in removed:
        remove_folder(folder)
    return removed


def _is_whole(folder: Path, needed: Sequence[str] = (WEIGHTS, OPTIMIZER)) -> bool:
    try:
        read_state(folder, needed)
    except IsogradError:
        return False
    return True


def _save(folder: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Path:
    weights = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
    others = {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}
    metadata = {name: state[name] for name in PORTABLE if name in state}
    remove_leftovers(folder.parent)
    with new_folder(folder) as temporary:
        checkpoint.save(temporary / WEIGHTS, weights, metadata)
        checkpoint.save(temporary / OPTIMIZER, others, {})
        files = {name: _fingerprint(temporary / name) for name in (WEIGHTS, OPTIMIZER)}
        content = {**state, FILES: files}
        checkpoint.write_json(temporary / STATE, {**content, DIGEST: digest_of_json(content)})
    return folder


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size} bytes, sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
