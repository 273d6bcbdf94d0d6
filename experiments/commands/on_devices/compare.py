"""`isograd compare-devices`: the first steps of an experiment on the CPU and on a GPU, losses side by side."""

from experiments.catalogue import find_experiment
from experiments.commands.side_by_side import check_both_installed
from experiments.progress.display import make_progress, print_json
from experiments.training.devices import compare_devices, describe
from experiments.training.settings import Settings
from experiments.training.threads import choose_threads
from shared.backend import PACKAGES

NO_SETTINGS = Settings()


def compare_devices_command(
    experiment: str,
    /,
    settings: Settings = NO_SETTINGS,
    *,
    json: bool = False,
) -> None:
    """Train the first steps of an experiment, 50 unless `--steps` says otherwise, on the CPU and on a GPU.

    Nothing is written. The learning rate follows the schedule of the whole experiment.

    Args:
        experiment: A name from the catalogue (`isograd list experiments`).
        settings: Changes to the experiment; --device is what the CPU is compared with.
        json: Print JSON.
    """
    if settings.backend == "both":
        check_both_installed()
    sides = tuple(PACKAGES) if settings.backend == "both" else (settings.place.backend,)
    choose_threads(find_experiment(experiment))
    with make_progress(quiet=json) as progress:
        found = compare_devices(experiment, settings, sides, progress)
    if json:
        print_json(found)
    else:
        print("\n".join(describe(found)))
