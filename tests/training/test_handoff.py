"""A run handed over between the frameworks, at any step and any number of times, equals the run of either alone."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from notes import Notes
from records import without_times

from experiments.catalogue import find_experiment
from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.run_config import read_config
from experiments.training.settings import Settings
from shared import checkpoint
from shared.backend import PACKAGES, Backend, load_backend
from shared.configs.experiment import Experiment
from shared.configs.optimizer import (
    OPTIMIZERS,
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    ParameterGroup,
    RMSpropConfig,
    ScheduleConfig,
    SGDConfig,
)
from shared.metrics_log import read
from shared.run_folder import latest_checkpoint, list_checkpoints, load_checkpoint

pytestmark = pytest.mark.slow

jax = pytest.importorskip("jax")
pytest.importorskip("torch")
lockstep = pytest.importorskip("crosscheck.runs.lockstep")
BOUND = lockstep.BOUNDS["float64"]
APART = ("loss", "gradient_norm")  # affected by rounding; all other figures of a record are equal
CLIP_NORM, RATE, DECAY = 0.65, 1e-2, 0.1
STEPS, MORE, FEW = 19, 7, 6  # an epoch has 5 steps, an update 3, the warm-up 2 updates; steps 19 and 26 end within one
EVERYTHING, FROZEN = "everything", "everything, some of it frozen"
STOPS = {
    "before the first step": (0,),
    "in the warm-up, within an update": (1,),
    "in the warm-up, right after an update": (3,),
    "at the end of an epoch, within an update": (5,),
    "within an epoch and an update": (7,),
    "within an epoch, right after an update": (9,),
    "at the end of an epoch, right after an update": (15,),
    "twice there and back": (2, 5, 9, 13),
}
CONFIGS: dict[str, OptimizerConfig] = {
    EVERYTHING: AdamWConfig(RATE, weight_decay=DECAY),
    FROZEN: AdamWConfig(RATE, weight_decay=DECAY),
    "sgd": SGDConfig(RATE, weight_decay=DECAY),
    "nesterov": SGDConfig(RATE, momentum=0.9, nesterov=True, weight_decay=DECAY),
    "adam": AdamConfig(RATE, weight_decay=DECAY),
    "rmsprop": RMSpropConfig(RATE, weight_decay=DECAY),
    "adagrad": AdagradConfig(RATE, weight_decay=DECAY),
}


def small(name: str) -> Experiment:
    """A GRU with dropout and every feature of an update; with other optimisers, each batch is an update."""
    experiment = find_experiment("lockstep-2")
    model = replace(experiment.model, arguments={**experiment.model.arguments, "embedding_size": 4, "hidden_size": 5})
    groups = (ParameterGroup(("*embedding.weight", "*.backward_cells.*"), trainable=False),) * (name == FROZEN)
    training = replace(experiment.training, groups=(*groups, *experiment.training.groups), clip_norm=CLIP_NORM)
    return replace(
        experiment,
        model=model,
        optimizer=CONFIGS[name],
        training=replace(training, accumulate=3 if name in (EVERYTHING, FROZEN) else 1),
        schedule=ScheduleConfig("cosine", warmup=2),
        batch_size=128,
        evaluate_every=7,
    )


@pytest.fixture(scope="module", autouse=True)
def _few_compilations():
    """One backend for all runs of one experiment, and the settings of JAX restored."""
    loaded: dict[str, Backend] = {}

    def load_once(name: str, **given) -> Backend:
        if (key := f"{name} {given}") not in loaded:
            loaded[key] = load_backend(name, **given)
        return loaded[key]

    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(launch, "find_experiment", small)
        patched.setattr(launch, "load_backend", load_once)
        yield
    jax.config.update("jax_enable_x64", before[0])
    jax.config.update("jax_default_matmul_precision", before[1])


def train(folder: Path, name: str, first: str, steps: int, stops: tuple[int, ...] = ()) -> Path:
    """A run that starts on one side and continues on the other after each of the stops."""
    (other,) = PACKAGES.keys() - {first}
    settings = Settings(first, steps=steps, dtype="float64")
    ends = (*stops, None)
    launch.start(name, settings, folder, Progress(), stop_at=ends[0])
    for backend, stop_at in zip(itertools.cycle([other, first]), ends[1:], strict=False):
        launch.resume(folder, Progress(), backend=backend, stop_at=stop_at)
    return folder


@pytest.fixture(scope="module")
def throughout(tmp_path_factory) -> Callable[[str, str, int], Path]:
    """The folder of the run of one side alone."""
    return functools.cache(lambda name, side, steps: train(tmp_path_factory.mktemp("whole") / side, name, side, steps))


def newest(folder: Path):
    return load_checkpoint(latest_checkpoint(folder)[0])[0]


def assert_same_run(ours: Path, theirs: Path) -> None:
    assert_same_state(newest(ours), newest(theirs))
    for record, other in zip(*(without_times(read(folder)) for folder in (ours, theirs)), strict=True):
        assert {**record, **dict.fromkeys(APART)} == {**other, **dict.fromkeys(APART)}
        for name in record.keys() & set(APART):
            assert abs(record[name] - other[name]) <= BOUND * abs(other[name]), (name, record, other)


def assert_same_state(ours, theirs) -> None:
    assert ours.keys() == theirs.keys()
    assert all(array == theirs[name] for name, array in ours.items() if not array.ndim)
    groups, others = lockstep.by_group(ours), lockstep.by_group(theirs)
    errors = {group: lockstep.group_error(groups[group], others[group]) for group in groups}
    print({group: f"{error:.1e}" for group, (error, _) in errors.items()})
    assert max(error for error, _ in errors.values()) <= BOUND, errors


def test_the_runs_have_all_that_can_go_wrong_at_a_handover(throughout):
    folder = throughout(EVERYTHING, "torch", STEPS)
    arrays, records = newest(folder), read(folder)
    assert set(lockstep.by_group(arrays)) == {"exp_avg", "exp_avg_sq", "average", "gradient_sum", "weights"}
    assert arrays["gathered"] > 0
    norms = [record["gradient_norm"] for record in records if record["kind"] == "train"][2::3]  # of whole updates
    clip_norm = read_config(folder).experiment.training.clip_norm
    assert min(norms) < clip_norm < max(norms)
    rates = [record["learning_rate"] for record in records if record["kind"] == "train"]
    assert rates[0] == 0
    assert rates[6] == RATE
    assert rates[6] > rates[-1]
    assert {record["examples"] for record in records if record["kind"] == "train"} == {128}
    assert [record["epoch"] for record in records if record["kind"] == "train"][4:6] == [1, 2]
    assert OPTIMIZERS.keys() == {config.name for config in CONFIGS.values()}


@pytest.mark.parametrize("first", PACKAGES)
@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
def test_a_run_handed_over_equals_the_run_of_either_alone(throughout, tmp_path, stops, first):
    folder = train(tmp_path / "run", EVERYTHING, first, STEPS, stops)
    for side in PACKAGES:
        assert_same_run(folder, throughout(EVERYTHING, side, STEPS))


@pytest.mark.parametrize("first", PACKAGES)
def test_a_complete_run_is_left_unchanged_and_continues_with_the_other_when_asked_for_more(throughout, tmp_path, first):
    (other,) = PACKAGES.keys() - {first}
    folder, notes = train(tmp_path / "run", EVERYTHING, first, STEPS), Notes()
    before = newest(folder)
    launch.resume(folder, notes, backend=other)
    assert notes.texts == [
        f"loading {other}",
        f"{folder} is complete: step {STEPS} of {STEPS}; raise --steps to continue",
    ]
    assert all((before[name] == array).all() for name, array in newest(folder).items())
    launch.resume(folder, Progress(), backend=other, steps=STEPS + MORE)
    for side in PACKAGES:
        alone = train(tmp_path / side, EVERYTHING, side, STEPS)
        launch.resume(alone, Progress(), steps=STEPS + MORE)
        assert_same_run(folder, alone)


@pytest.mark.parametrize("first", PACKAGES)
def test_a_run_with_frozen_parameters_is_handed_over_and_its_files_hold_only_their_weights(throughout, tmp_path, first):
    folder = train(tmp_path / "run", FROZEN, first, FEW, stops=(2, 4))
    for side in PACKAGES:
        assert_same_run(folder, throughout(FROZEN, side, FEW))
    start, end = (load_checkpoint(path)[0] for path in (list_checkpoints(folder)[0], latest_checkpoint(folder)[0]))
    frozen = [name for name in start if name.startswith("weights/") and ("embedding" in name or "backward" in name)]
    assert len(frozen) == 5
    assert all(start[name].tobytes() == end[name].tobytes() for name in frozen)
    others, _ = checkpoint.load(latest_checkpoint(folder)[0] / "optimizer.safetensors")
    assert not [name for name in others if "embedding" in name or "backward" in name]
    moving = sum(array.size for name, array in end.items() if name.startswith("weights/") and name not in frozen)
    assert read_config(folder).parameters == moving


@pytest.mark.parametrize("optimizer", [name for name in CONFIGS if name not in (EVERYTHING, FROZEN)])
def test_every_optimiser_is_handed_over(throughout, tmp_path, optimizer):
    for first in PACKAGES:
        folder = train(tmp_path / first, optimizer, first, FEW, stops=(4,))
        for side in PACKAGES:
            assert_same_run(folder, throughout(optimizer, side, FEW))
