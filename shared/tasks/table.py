"""Every task by name."""

from shared.configs.experiment import Experiment
from shared.configs.validation import check_choice
from shared.tasks.classification import Classification
from shared.tasks.language_modelling import LanguageModelling
from shared.tasks.masked_language_modelling import MaskedLanguageModelling
from shared.tasks.task import Task
from shared.tasks.translation import Translation

TASKS: dict[str, Task] = {
    "classification": Classification(),
    "language_modelling": LanguageModelling(),
    "masked_language_modelling": MaskedLanguageModelling(),
    "translation": Translation(),
}


def find_task(name: str) -> Task:
    """The task with this name; raises IsogradError with the closest names."""
    check_choice("task", name, TASKS)
    return TASKS[name]


def task_of(experiment: Experiment) -> Task:
    """The task of an experiment."""
    return find_task(experiment.task)
