"""Study: what a GPT makes of other similarities, shared projections and other positions, trained by the same budget."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.catalogue import find_experiment
from experiments.catalogue.ablations import ABLATIONS, LONGEST, PLAIN
from experiments.plain_text import printable
from experiments.studies.checks import check_size
from experiments.studies.counters import allocated
from experiments.studies.study import Both, Claim, Curve, Figure, Findings
from experiments.training.evaluation import evaluate
from experiments.training.launch import backend_for
from experiments.training.plan import rate_by_step, training_batches
from experiments.training.preparation import Prepared, prepare
from experiments.training.sampling import samples
from shared.configs.validation import check_choice
from shared.process import usable_cores

TIMES = tuple(2**power for power in range(LONGEST.bit_length()))  # the training length, at an evaluation
SAMPLED = "torch"  # one text is enough to see what a model has learned
COSTS = (  # fields of Trained
    ("seconds", "time", "median of a step"),
    ("bytes", "memory", "what PyTorch allocates in a step, JAX's temporary arrays"),
)
UNIGRAM = 1.0  # derived: a ratio to the perplexity of the tokens' frequencies, below which a model has learned


class Trained(NamedTuple):
    """The loss of each step, the perplexity on windows of some times the training length, the median seconds of a step
    and the bytes that it allocates, and how the model continues a prompt.
    """

    losses: np.ndarray
    perplexities: np.ndarray
    seconds: float = 0.0
    bytes: float = 0.0
    sample: str = ""


def ablations(
    steps: int = 300,
    names: Sequence[str] = tuple(ABLATIONS),
    times: Sequence[int] = TIMES,
    seeds: int = 2,
    seed: int = 0,
) -> Findings:
    """Each of the `names` in ABLATIONS, trained for `steps` with both frameworks; the plain model with more seeds.

    Windows of `times` the training length are evaluated, of which the first decides.
    """
    steps, seeds, seed = (
        check_size("steps", steps, least=2),
        check_size("seeds", seeds),
        check_size("seed", seed, least=0),
    )
    for each in times:
        check_size("times", each, most=LONGEST, why="the context holds no more")
    for name in names:
        check_choice("ablation", name, ABLATIONS)
    prepared = prepare(find_experiment(f"ablation-{PLAIN}"), None)
    baseline = prepared.data.baseline()["perplexity"]
    ablated = [name for name in names if name != PLAIN]
    jobs = [_ablated(prepared, PLAIN, steps, seed + number) for number in range(seeds)]
    jobs += [_ablated(prepared, name, steps, seed) for name in ablated]
    trained = _all_trained(jobs, times)
    plain, others = trained[:seeds], dict(zip(ablated, trained[seeds:], strict=True))
    found = {PLAIN: plain[0], **others}
    claims = [_learns(name, trained, baseline) for name, trained in found.items()]
    claims += [_beside(name, trained, plain) for name, trained in others.items()]
    claims += [_cost(name, trained, plain[0], *cost) for cost in COSTS for name, trained in others.items()]
    return Findings(claims, (_curves(found), _lengths(found, times)))


def _ablated(prepared: Prepared, name: str, steps: int, seed: int) -> Prepared:
    experiment = find_experiment(f"ablation-{name}")
    sizes = {"vocabulary_size": prepared.experiment.model.arguments["vocabulary_size"]}
    model = replace(experiment.model, arguments={**experiment.model.arguments, **sizes})
    return replace(prepared, experiment=replace(experiment, model=model, steps=steps, seed=seed))


def _all_trained(jobs: Sequence[Prepared], times: Sequence[int]) -> list[Both]:
    """Each of the `jobs` with both frameworks, several at a time."""
    from crosscheck.twins.workers import run_all

    sides = [(side, job) for job in jobs for side in Both._fields]
    trained = run_all(partial(_trained, times=times), sides, min(usable_cores(), len(jobs)))
    return [Both(*pair) for pair in zip(trained, trained, strict=True)]


def _trained(job: tuple[str, Prepared], times: Sequence[int]) -> Trained:
    side, prepared = job
    experiment = prepared.experiment
    backend = backend_for(experiment, side, "float32", "cpu")
    state, rate, losses, clock = backend.init_state(), rate_by_step(prepared), [], [time.perf_counter()]
    for step, batch in enumerate(training_batches(prepared, 0, int(experiment.steps or 0))):
        state, metrics = backend.train_step(state, batch, rate(step))
        losses.append(float(metrics["loss"]))  # waits for the step
        clock.append(time.perf_counter())
    longer = [replace(prepared, experiment=replace(experiment, length=each * experiment.length)) for each in times]
    perplexities = [evaluate(backend, state, each)["perplexity"] for each in longer]
    text = samples(backend, state, prepared)[0]["text"] if side == SAMPLED else ""
    bytes_of_a_step = MEMORY[side](backend, lambda: backend.train_step(state, batch, rate(0)))
    return Trained(np.array(losses), np.array(perplexities), float(np.median(np.diff(clock))), bytes_of_a_step, text)


def _memory_in_torch(backend: Any, step: Callable[[], object]) -> float:
    return allocated(step)


def _memory_in_jax(backend: Any, step: Callable[[], object]) -> float:
    """Of the compiled updates, one for each shape of a batch, the most."""
    updates = (program for (name, *_), program in backend.executables.items() if name == "update")
    return max(float(program.memory_analysis().temp_size_in_bytes) for program in updates)


MEMORY: dict[str, Callable[[Any, Callable[[], object]], float]] = {"torch": _memory_in_torch, "jax": _memory_in_jax}


def _learns(name: str, trained: Both, baseline: float) -> Claim:
    ratio = trained.map(lambda side: side.perplexities[0] / baseline)
    words = f"{name} learns: {ABLATIONS[name][0]}; it writes {printable(' '.join(trained.torch.sample.split()))!r}"
    return Claim(words, "perplexity / that of frequencies < 1", ratio, UNIGRAM)


def _cost(name: str, trained: Both, plain: Both, field: str, title: str, formula: str) -> Claim:
    ratio = Both(*(getattr(each, field) / getattr(base, field) for each, base in zip(trained, plain, strict=True)))
    return Claim(f"the {title} of {name}", f"{formula} / that of the plain model", ratio)


def _beside(name: str, trained: Both, plain: Sequence[Both]) -> Claim:
    """Beside the plain model's seeds, in both frameworks: whether the ablation is better, alike or worse."""
    ratio = Both(*(_ratios(side, trained, plain)[0] for side in Both._fields))
    return Claim(f"{name} against the plain model's seeds: {_verdict(trained, plain)}", "perplexity / mean", ratio)


def _ratios(side: str, trained: Both, plain: Sequence[Both]) -> tuple[float, float, float]:
    """Of the ablation, and of the best and the worst of the seeds, to the mean of the seeds."""
    of_seeds = np.array([getattr(each, side).perplexities[0] for each in plain])
    mean = of_seeds.mean()
    return getattr(trained, side).perplexities[0] / mean, of_seeds.min() / mean, of_seeds.max() / mean


def _verdict(trained: Both, plain: Sequence[Both]) -> str:
    found = {_place(*_ratios(side, trained, plain)) for side in Both._fields}
    return found.pop() if len(found) == 1 else "alike"


def _place(ratio: float, best: float, worst: float) -> str:
    return "better than all" if ratio < best else "worse than all" if ratio > worst else "alike"


def _curves(found: dict[str, Both]) -> Figure:
    curves = [
        Curve(name, np.arange(1, 1 + len(both.torch.losses)), both.map(lambda side: side.losses))
        for name, both in found.items()
    ]
    return Figure("ablations-loss", "The training loss of each ablation.", "step", "loss", curves)


def _lengths(found: dict[str, Both], times: Sequence[int]) -> Figure:
    curves = [Curve(name, times, both.map(lambda side: side.perplexities)) for name, both in found.items()]
    caption = "The perplexity on windows of several times the training length."
    return Figure("ablations-length", caption, "length of a window / training length", "perplexity", curves, "xy")
