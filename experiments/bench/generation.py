"""Generation of tokens, greedy, with a cache and without, against transformers' `generate` on the same weights."""

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.options import Options
from experiments.bench.timing import Cost, Row, in_turn, rows_of, timed
from experiments.bench.workload import write_model
from shared.backend import PACKAGES
from shared.configs.gpt import PRESETS, GPTConfig
from shared.errors import IsogradError

BASE = "transformers"


@dataclass(frozen=True)
class Case:
    """A preset of GPT with this context, continued by `steps` tokens; `goal` is a ratio to the time of transformers."""

    preset: str
    context: int
    prompt: int
    steps: int
    goal: float


CASES = {"cpu": Case("nano", 256, 16, 128, 1 / 2), "cuda": Case("gpt2", 1024, 16, 256, 1 / 3)}


def bench_generation(options: Options) -> list[Row]:
    """One row per side; the cost is that of a token, and ratios are relative to transformers with its cache.

    Raises IsogradError without transformers, and if two sides write different tokens.
    """
    case = CASES[options.device]
    config = replace(PRESETS[case.preset], sequence_length=case.context)
    prompt = np.random.default_rng(0).integers(0, config.vocabulary_size, (1, case.prompt))
    with tempfile.TemporaryDirectory() as temporary:
        sides = _sides(Path(temporary) / "gpt", config, case, prompt, options)
        _check_alike({name: side() for name, side in sides.items()})  # what is compiled is compiled here
        costs = in_turn({name: partial(_cost, side, case.steps) for name, side in sides.items()}, options.rounds)
    return [_labelled(row, case) for row in rows_of(costs, BASE)]


def _sides(
    folder: Path, config: GPTConfig, case: Case, prompt: np.ndarray, options: Options
) -> dict[str, Callable[[], np.ndarray]]:
    write_model(folder, "GPT", asdict(config), options.dtype)
    sides = {BASE: _of_transformers(folder, case, prompt, options.device)}
    for name in PACKAGES:
        package: Any = importlib.import_module(f"{name}_impl")
        module = package.from_pretrained(folder, dtype=options.dtype)
        if name == "torch":
            module = module.to(options.device)
        for cache, words in ((True, "with a cache"), (False, "without")):
            generate = partial(package.generate, module, prompt, steps=case.steps, cache=cache)
            sides[f"{name}, {words}"] = partial(_on_the_host, name, generate)
    return sides


def _of_transformers(folder: Path, case: Case, prompt: np.ndarray, device: str) -> Callable[[], np.ndarray]:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise IsogradError("the benchmark generation needs transformers: install isograd[oracles]") from error
    ids = importlib.import_module("torch").from_numpy(prompt).to(device)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).to(device).eval()
    chosen = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    generate = partial(model.generate, ids, attention_mask=ids * 0 + 1, max_new_tokens=case.steps, **chosen)
    return partial(_on_the_host, "torch", generate)


def _on_the_host(backend: str, generate: Callable[[], Any]) -> np.ndarray:
    return importlib.import_module(f"{backend}_impl.weights").to_numpy(generate())


def _check_alike(found: dict[str, np.ndarray]) -> None:
    different = [name for name, tokens in found.items() if not np.array_equal(tokens, found[BASE])]
    if different:
        raise IsogradError(f"expected the tokens of {BASE} from all sides, got others from {', '.join(different)}")


def _cost(side: Callable[[], np.ndarray], steps: int) -> Cost:
    return timed(side, steps)


def _labelled(row: Row, case: Case) -> Row:
    goal = {"goal": round(case.goal, 2)} if row["side"].endswith("with a cache") else {}
    speed = {"tokens_per_second": 1e3 / row["milliseconds"]}
    return {"case": f"GPT {case.preset}, {case.steps} tokens", **row, **speed, **goal}
