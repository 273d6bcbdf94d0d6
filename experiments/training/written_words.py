"""How far the words that a translator writes are from the right ones, at an evaluation."""

import importlib
from typing import Any

from experiments.training.preparation import Prepared
from experiments.training.sampling import module_of
from shared.backend import Backend, State
from shared.data.pairs.edit_distance import translation_scores
from shared.tasks.translation import ERROR_RATE, WRITTEN, TranslatedWords


def written_words(backend: Backend, state: State, prepared: Prepared) -> dict[str, Any]:
    """The character error rate of the first held-out words as the evaluated weights write them; none of other tasks."""
    data = prepared.data
    if not isinstance(data, TranslatedWords):
        return {}
    module = module_of(backend.name, prepared.experiment.model, backend.state_to_arrays(state), backend.device)
    sources = [source for source, _ in data.splits["validation"][:WRITTEN]]
    expected = [target for _, target in data.content.validation[:WRITTEN]]
    translate = importlib.import_module(f"{backend.name}_impl").translate
    found = [data.codec.decode(row) for row in translate(module, sources, prepared.experiment.length).tolist()]
    return {ERROR_RATE: translation_scores(found, expected)[ERROR_RATE]}
