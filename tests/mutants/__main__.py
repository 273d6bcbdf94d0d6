"""Plant every mutant, or SAMPLE of them, and report those that no test notices. Run by `make mutants`.

Verdicts are kept in .cache/mutants and reused while the mutant's sources and its tests are unchanged, so that a run can
be stopped at any time. A verdict of "late" is not kept: such a mutant is tried again by the next run, alone if need be.
Exit code 1 if a mutant is late, or survives and survivors.toml does not explain it.
"""

import argparse
import hashlib
import json
import random
import sys
import time
import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from multiprocessing import Process, Queue
from pathlib import Path

from mutants.table import ROOT, Mutant, mutants
from mutants.trial import ENDLESS, KILLED, LATE, PATIENCE, SURVIVED, make_copy, verdict, warm_up

ENDS = (KILLED, SURVIVED)  # which are told even where there are none
EXPLAINED = Path(__file__).with_name("survivors.toml")


def main() -> int:
    options = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    options.add_argument("--sample", type=int, metavar="N", help="try N mutants, drawn anew each day")
    options.add_argument("--only", default="*", metavar="PATTERN", help="mutants whose name fits, such as 'layers/*'")
    options.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants on trial at a time")
    options.add_argument("--folder", type=Path, default=ROOT / ".cache" / "mutants", help="of verdicts and copies")
    given = options.parse_args()
    chosen = [mutant for mutant in mutants() if fnmatchcase(mutant.name, given.only)]
    number = len(chosen) if given.sample is None else min(given.sample, len(chosen))
    chosen = random.Random(time.strftime("%F")).sample(chosen, number)  # a run that is stopped early is a fair sample
    return report(tried(chosen, given.jobs, given.folder))


def tried(chosen: list[Mutant], jobs: int, folder: Path) -> dict[str, str]:
    """The verdict of every mutant by its name; those known from before are not tried again."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "verdicts.jsonl"
    known, keys = read_verdicts(log), {mutant.name: key(mutant) for mutant in chosen}
    waiting = [mutant for mutant in chosen if keys[mutant.name] not in known]
    sound = [Mutant("", {}, tests) for tests in sorted({mutant.tests for mutant in waiting})]  # which must survive
    found: Queue = Queue()
    for part in range(jobs):
        share = (sound[part::jobs] + waiting[part::jobs], folder / f"copy-{part}", found)
        Process(target=work, args=share, daemon=True).start()
    for number in range(1, len(waiting) + 1):
        name, said, seconds = found.get()
        if name is None:
            sys.exit(said)
        known[keys[name]] = said
        if said != LATE:
            with log.open("a") as opened:
                opened.write(json.dumps([keys[name], said, name, seconds]) + "\n")
        print(f"{number}/{len(waiting)} {said} {seconds:.0f} s {name}", flush=True)
    return {name: known[keys[name]] for name in keys}


def work(waiting: list[Mutant], folder: Path, found: Queue) -> None:
    """One process's share."""
    make_copy(folder)
    warm_up(folder)
    for mutant in waiting:
        start = time.monotonic()
        is_noticed = verdict(mutant, folder)
        if mutant.edits:
            found.put((mutant.name, is_noticed, time.monotonic() - start))
        elif is_noticed != SURVIVED:
            found.put((None, f"without any mutant these tests must pass: {' '.join(mutant.tests)}", 0))


def key(mutant: Mutant) -> str:
    """A hash of the changed sources and of the tests that judge them."""
    texts = [*mutant.sources.values(), *((ROOT / test.partition("::")[0]).read_text() for test in mutant.tests)]
    return hashlib.sha256("\0".join([*mutant.sources, *texts]).encode()).hexdigest()[:24]


def read_verdicts(log: Path) -> dict[str, str]:
    rows = map(json.loads, log.read_text().splitlines()) if log.exists() else []
    return {row[0]: row[1] for row in rows}


def report(verdicts: dict[str, str]) -> int:
    survivors = {name: explanation(name) for name, found in verdicts.items() if found == SURVIVED}
    numbers = Counter(verdicts.values())
    counted = [f"{numbers[word]} {word}" for word in (KILLED, ENDLESS, LATE, SURVIVED) if numbers[word] or word in ENDS]
    print(f"\n{len(verdicts)} mutants: {', '.join(counted)}")
    for name, reason in sorted(survivors.items()):
        print(f"  {name}\n      {reason or 'no test notices: write one, or explain it in survivors.toml'}")
    for name in sorted(name for name, found in verdicts.items() if found == LATE):
        print(f"  {name}\n      not decided after {PATIENCE} s: try it alone, with ONLY='{name}' and JOBS=1")
    return 0 if all(survivors.values()) and not numbers[LATE] else 1


def explanation(name: str) -> str | None:
    """Why a mutant may survive, if survivors.toml says so: its names may hold * for any text."""
    reasons = tomllib.loads(EXPLAINED.read_text())
    return next((reason for pattern, reason in reasons.items() if fits(name, pattern)), None)


def fits(name: str, pattern: str) -> bool:
    """True where the texts between the pattern's stars follow each other in the name; brackets are just letters."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


if __name__ == "__main__":
    sys.exit(main())
