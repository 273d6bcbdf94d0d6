"""`isograd study`: what the courses ask, computed in both frameworks; exit code 1 if a verdict is not theory's."""

from pathlib import Path

from experiments.commands.options import command_line
from experiments.progress.display import counting, print_json
from experiments.studies.checks import check_size
from experiments.studies.page import write_studies
from experiments.studies.table import STUDIES
from experiments.studies.telling import collect, print_study
from experiments.training.folder import check_folder, check_replaceable
from shared.configs.validation import check_choice

ALL = "all"


def study(name: str, /, *, seed: int = 0, out: Path | None = None, json: bool = False) -> int:
    """Run a study in both frameworks: each claim with its number in PyTorch, in JAX, the bound and the verdict.

    Args:
        name: A name from `isograd list studies`, or all of those that train no model.
        seed: Of the random numbers that a study draws.
        out: Folder for a page with the figures, and for the same as data.
        json: Print JSON.
    """
    typed = command_line("study", study, dict(locals()))
    check_choice("study", name, (*STUDIES, ALL))
    check_size("--seed", seed, least=0)
    if out is not None:
        check_folder(out)
        check_replaceable(out)
    chosen = [each for each, row in STUDIES.items() if not row.trains] if name == ALL else [name]
    found = {}
    with counting("studying", quiet=json) as progress:
        for done, each in enumerate(chosen):
            progress(done, len(chosen), each)
            found[each] = (STUDIES[each], STUDIES[each].run(seed=seed))
    page = write_studies(found, out, typed) if out is not None else None
    if json:
        print_json(collect(found))
    else:
        for chosen_study, findings in found.values():
            print_study(chosen_study, findings)
        if page is not None:
            print(f"open {page}")
    return 0 if all(findings.as_expected for _, findings in found.values()) else 1
