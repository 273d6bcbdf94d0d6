"""Texts that a language model writes: its module with the weights of a state, and samples at an evaluation."""

import importlib
import itertools
from typing import Any

import numpy as np

from experiments.training.preparation import Prepared
from shared.arrays import Arrays
from shared.backend import Backend, State
from shared.configs.experiment import ModelConfig
from shared.registry import find_twin
from shared.run_folder import PREFIX
from shared.tasks.language_modelling import Tokens
from shared.training_state import AVERAGE


def samples(backend: Backend, state: State, prepared: Prepared) -> list[dict[str, str]]:
    """The continuation of each prompt by the evaluated weights; none if the experiment asks for none."""
    settings, data = prepared.experiment.samples, prepared.data
    if settings is None or not isinstance(data, Tokens):
        return []
    module = module_of(backend.name, prepared.experiment.model, backend.state_to_arrays(state), backend.device)
    written = continued(
        backend.name,
        module,
        data.prompts(prepared.experiment),
        stop=data.codec.end,
        steps=settings.tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        seed=prepared.experiment.seed,
    )
    return [{"prompt": data.codec.decode(ids), "text": data.codec.decode(ids + new)} for ids, new in written]


def continued(
    side: str, module: Any, prompts: list[list[int]], *, stop: int | None, steps: int, **settings: Any
) -> list[tuple[list[int], list[int]]]:
    """Each prompt and its new tokens, up to `stop`, which they leave out."""
    lengths = [len(prompt) for prompt in prompts]
    ids = np.array([prompt + [0] * (max(lengths) - len(prompt)) for prompt in prompts])
    generate = importlib.import_module(f"{side}_impl").generate
    found = generate(module, ids, lengths=lengths, steps=steps, stop=stop, **settings)
    rows = np.asarray(found.cpu() if hasattr(found, "cpu") else found).tolist()
    new = [row[length : length + steps] for row, length in zip(rows, lengths, strict=True)]
    return [
        (ids, list(itertools.takewhile(lambda token: token != stop, more)))
        for ids, more in zip(prompts, new, strict=True)
    ]


def module_of(side: str, model: ModelConfig, arrays: Arrays, device: Any) -> Any:
    """The module with the weights among the arrays of a state, or their averages where there are any."""
    build = importlib.import_module(f"{side}_impl.build")
    module = build.empty_twin(find_twin(model.twin), model.arguments, device)
    weights, averages = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in (PREFIX, f"{AVERAGE}/")
    )
    importlib.import_module(f"{side}_impl").load_arrays(module, weights | averages)
    return module
