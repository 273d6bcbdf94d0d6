"""Generation of tokens, greedy, with a cache and without, against transformers' `generate` on the same weights."""

import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.options import Options
from experiments.bench.timing import Row, in_turn, rows_of, timed
from experiments.bench.workload import write_model
from shared.backend import PACKAGES
from shared.configs.gpt import PRESETS, GPTConfig
from shared.errors import IsogradError

BASE = "transformers"


@dataclass(frozen=True)
class Case:
    """Prompts, `rows` of them, continued by `steps` tokens; `goal` is a ratio to the time of transformers, which has a
    cache.
    """

    prompt: int
    steps: int
    cache: bool
    goal: float | None = None
    rows: int = 1

    def __str__(self) -> str:
        rows = f" of {self.rows} prompts" if self.rows > 1 else ""
        return f"{self.steps} tokens{rows} {'with' if self.cache else 'without'} a cache"


MODELS = {"cpu": ("nano", 256), "cuda": ("gpt2", 1024)}  # a preset of GPT, and its context
CASES = {  # without a cache JAX compiles every length that it reads: few tokens tell enough
    "cpu": (Case(16, 128, True, goal=1 / 2), Case(16, 128, True, rows=8), Case(16, 32, False)),
    "cuda": (Case(16, 128, True, goal=1 / 3), Case(16, 128, True, rows=8), Case(16, 32, False)),
}


def bench_generation(options: Options) -> Iterator[Row]:
    """One row per case and side; the cost is that of a step, and ratios are relative to transformers.

    On a CPU PyTorch has one thread, as `isograd generate` gives a narrow model; JAX manages its own.
    Raises IsogradError without transformers, and if two sides write different tokens.
    """
    preset, _ = MODELS[options.device]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "gpt"
        config = write_gpt(folder, options)
        models = _models(folder, options)
    with _one_thread(options.device):
        for case in CASES[options.device]:
            prompts = np.random.default_rng(0).integers(0, config.vocabulary_size, (case.rows, case.prompt))
            sides = {name: partial(WRITERS[name], model, prompts, case) for name, model in models.items()}
            yield from _rows(f"GPT {preset}, {case}", case, sides, options)


def write_gpt(folder: Path, options: Options) -> GPTConfig:
    """The GPT of the device, with random weights, as a folder of Hugging Face."""
    preset, context = MODELS[options.device]
    config = replace(PRESETS[preset], sequence_length=context)
    write_model(folder, "GPT", asdict(config), options.dtype)
    return config


def _rows(label: str, case: Case, sides: Mapping[str, Callable[[], np.ndarray]], options: Options) -> Iterator[Row]:
    """Each side in turn with transformers, whose own row is that beside the first."""
    options.tell(f"{label}: {BASE} begins")
    expected = sides[BASE]()
    for number, (name, side) in enumerate((name, side) for name, side in sides.items() if name != BASE):
        options.tell(f"{label}: compiling {name}")
        _check_alike(name, side(), expected)
        options.tell(f"{label}: timing {name}")
        costs = in_turn({each: partial(timed, sides[each], case.steps) for each in (BASE, name)}, options.rounds)
        for row in rows_of(costs, BASE)[number > 0 :]:
            goal = {} if case.goal is None or row["side"] == BASE else {"goal": round(case.goal, 2)}
            yield {"case": label, **row, "tokens_per_second": 1e3 * case.rows / row["milliseconds"], **goal}


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    torch: Any = importlib.import_module("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _models(folder: Path, options: Options) -> dict[str, Any]:
    """The same model of each side, on the device."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise IsogradError("the benchmark generation needs transformers: install isograd[oracles]") from error
    transformers.utils.logging.disable_progress_bar()
    packages = {name: importlib.import_module(f"{name}_impl") for name in PACKAGES}
    loaded = {name: package.from_pretrained(folder, dtype=options.dtype) for name, package in packages.items()}
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return {BASE: theirs.to(options.device).eval(), **loaded, "torch": loaded["torch"].to(options.device)}


def _by_transformers(model: Any, prompt: np.ndarray, case: Case) -> np.ndarray:
    ids = importlib.import_module("torch").from_numpy(prompt).to(model.device)
    chosen = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return _on_the_host("torch", model.generate(ids, attention_mask=ids * 0 + 1, max_new_tokens=case.steps, **chosen))


def _by_ours(backend: str, module: Any, prompt: np.ndarray, case: Case) -> np.ndarray:
    package: Any = importlib.import_module(f"{backend}_impl")
    return _on_the_host(backend, package.generate(module, prompt, steps=case.steps, cache=case.cache))


WRITERS: dict[str, Callable[[Any, np.ndarray, Case], np.ndarray]] = {
    BASE: _by_transformers,
    **{name: partial(_by_ours, name) for name in PACKAGES},
}


def _on_the_host(backend: str, tokens: Any) -> np.ndarray:
    return importlib.import_module(f"{backend}_impl.weights").to_numpy(tokens)


def _check_alike(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if not np.array_equal(found, expected):
        raise IsogradError(f"expected the tokens of {BASE} from all sides, got others from {name}")
