"""Every experiment by name; one file per family."""

from experiments.catalogue.ablations import ABLATED
from experiments.catalogue.fine_tuning import FINE_TUNED, LOCKSTEP_BERT
from experiments.catalogue.language_models import LANGUAGE_MODELS
from experiments.catalogue.lockstep import LOCKSTEP, LOCKSTEP_GPT
from experiments.catalogue.masked_language_models import MASKED_LANGUAGE_MODELS
from experiments.catalogue.reviews import REVIEWS, SIDE_BY_SIDE
from experiments.catalogue.translation import TRANSLATION
from shared.configs.experiment import Experiment
from shared.configs.validation import check_choice

IN_LOCKSTEP = (*LOCKSTEP, LOCKSTEP_GPT, LOCKSTEP_BERT)
LANGUAGE = (*LANGUAGE_MODELS, *ABLATED, *MASKED_LANGUAGE_MODELS)
EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment for experiment in (*REVIEWS, *FINE_TUNED, *IN_LOCKSTEP, *LANGUAGE, *TRANSLATION)
}

__all__ = ["EXPERIMENTS", "SIDE_BY_SIDE", "find_experiment"]


def find_experiment(name: str) -> Experiment:
    """The experiment with this name; raises IsogradError with the closest names."""
    check_choice("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
