"""Kill -9 a training process repeatedly, and compare what it leaves with the uninterrupted run, bit for bit.

A separate program: it imports torch once and forks, so that restarts are cheap; JAX starts only in forks.
"""

import importlib
import json
import os
import random
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

from records import without_times

from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training import checkpoints, launch
from experiments.training.settings import Settings
from shared.errors import IsogradError
from shared.metrics_log import FILE, read
from shared.run_folder import best_checkpoint, list_checkpoints, load_checkpoint, read_state

STEPS = 60
RECIPE = {"clip_norm": 0.5, "accumulate": 3, "average_decay": 0.9, "schedule": "cosine", "warmup": 5}  # and dropout


class Reporting(Progress):
    """Writes each step to a pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def advance(self, step: int) -> None:
        os.write(self._pipe, struct.pack("i", step))


def live(folder: Path, backend: str, pipe: int, kept: int) -> None:
    """What a user does after each kill: resume the run, or start it if it had not started."""
    launch.find_experiment = lambda name: replace(find_experiment(name), evaluate_every=6, checkpoint_every=2)
    checkpoints.KEPT = kept
    if (folder / "config.json").is_file():
        launch.resume(folder, Reporting(pipe))
    else:
        launch.start("reviews-2-small", Settings(backend, steps=STEPS, batch_size=8, **RECIPE), folder, Reporting(pipe))


def fork(folder: Path, backend: str, kept: int = checkpoints.KEPT) -> tuple[int, int]:
    """The process and the read end of its pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        live(folder, backend, writer, kept)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def steps_of(pipe: int):
    """The steps that a process reports, until it ends."""
    while data := os.read(pipe, 4):
        yield struct.unpack("i", data)[0]
    os.close(pipe)


def has_ended(child: int) -> bool:
    """Whether it finished before it was killed; any other exit is a failure."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"a process ended with {code}"
    return code == 0


def whole_run(folder: Path, backend: str) -> tuple[float, float]:
    """Run without a kill; returns the seconds until the first step, and the seconds per step."""
    began = time.perf_counter()
    child, pipe = fork(folder, backend, kept=STEPS)
    times = [time.perf_counter() for _ in steps_of(pipe)]
    assert has_ended(child)
    return times[0] - began, (times[-1] - times[0]) / len(times)


class Killer:
    """Kills at moments from a seeded generator: some during startup, the others some steps later."""

    def __init__(self, folder: Path, backend: str, seed: int) -> None:
        self.folder, self.backend, self.random = folder, backend, random.Random(seed)
        self.whole = folder / "whole"
        whole_run(self.whole, backend)  # fills the caches of compilers
        shutil.rmtree(self.whole)
        self.until_first, self.of_a_step = whole_run(self.whole, backend)
        self.records = without_times(read(self.whole))
        self.states = {path.name: read_state(path) for path in list_checkpoints(self.whole)}
        self.kills, self.hit = 0, Counter()

    def kill_often(self, kills: int) -> None:
        """Spread over as many runs as it takes; each is then finished and compared."""
        runs = 0
        while self.kills < kills:
            runs += 1
            run = self.folder / f"run-{runs}"
            while self.kills < kills and not self.one_life(run, farthest=4 + 3 * STEPS // kills):
                self.kills += 1
                self.hit.update(self.found(run))
                self.compare_so_far(run)
            while not has_ended(fork(run, self.backend)[0]):
                pass
            self.compare_end(run)

    def one_life(self, run: Path, farthest: int) -> bool:
        """Whether it reached the end; if not, it was killed before its first step, or up to `farthest` steps later."""
        child, pipe = fork(run, self.backend)
        if not run.exists() or self.random.random() < 0.2:
            time.sleep(self.random.uniform(0, self.until_first))
        else:
            left = self.random.randint(1, farthest)
            for _ in zip(range(left), steps_of(pipe), strict=False):
                pass
            time.sleep(self.random.uniform(0, 2 * self.of_a_step))
        os.kill(child, signal.SIGKILL)
        return has_ended(child)

    def found(self, run: Path) -> list[str]:
        """The progress of the run, and what the process was doing, judging by what it left."""
        if not (run / "config.json").exists():
            return ["before the run had started"]
        places = [f"{place}.*.{end}" for place in ("", "checkpoints/") for end in ("tmp", "old")]
        writing = ["while it wrote or renamed"] if any(next(run.glob(place), None) for place in places) else []
        return [f"in third {1 + 3 * self.newest(run) // (STEPS + 1)} of the run", *writing]

    def newest(self, run: Path) -> int:
        return max((int(path.name[-8:]) for path in list_checkpoints(run)), default=0)

    def compare_so_far(self, run: Path) -> None:
        """Everything there matches the uninterrupted run, with every record up to the newest checkpoint."""
        for path in list_checkpoints(run):
            assert self.fingerprints(path) == self.fingerprints(self.whole / "checkpoints" / path.name)
            assert read_state(path) == self.states[path.name]
        best = best_checkpoint(run)
        if best:
            state = read_state(best)
            validation = state.pop("validation")
            name = f"step-{state['step']:08}"
            assert state == self.states[name]
            assert self.fingerprints(best) == self.fingerprints(self.whole / "checkpoints" / name)
            assert any(validation.items() <= record.items() for record in self.records)
        records = without_times(read(run)) if (run / FILE).is_file() else []
        assert records == self.records[: len(records)]
        assert self.newest(run) <= max((record["step"] for record in records), default=0)

    def compare_end(self, run: Path) -> None:
        """The checkpoints kept, the records and the best are those of the uninterrupted run."""
        self.compare_so_far(run)
        assert without_times(read(run)) == self.records
        expected = list(self.states)[-checkpoints.KEPT :]
        assert [path.name for path in list_checkpoints(run)] == expected
        assert read_state(best_checkpoint(run)) == read_state(best_checkpoint(self.whole))
        ours, theirs = (load_checkpoint(path / "checkpoints" / expected[-1])[0] for path in (run, self.whole))
        assert ours.keys() == theirs.keys()
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
        assert not [path for place in (run, run / "checkpoints") for path in place.glob(".*.*")]

    def fingerprints(self, checkpoint: Path) -> dict[str, str]:
        return json.loads((checkpoint / "state.json").read_text())["files"]


def main() -> None:
    folder, backend, kills, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    warnings.simplefilter("ignore")  # jax warns of forks; nothing of it runs before them
    import torch

    torch.set_num_threads(1)
    importlib.import_module(f"{backend}_impl.backend")
    killer = Killer(folder, backend, seed)
    killer.kill_often(kills)
    print(json.dumps({"kills": killer.kills, **killer.hit}))


if __name__ == "__main__":
    try:
        main()
    except IsogradError as error:
        sys.exit(f"refused: {error}")
