"""A GPT with a tied head, dropout, clipping and decay groups: handed over or resumed, a run stays the same."""

import pytest
from records import without_times

from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.run_config import read_config
from experiments.training.settings import Settings
from shared.backend import PACKAGES
from shared.metrics_log import read
from shared.run_folder import latest_checkpoint, load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("settings_of_jax")]
lockstep = pytest.importorskip("crosscheck.runs.lockstep")
BOUND = lockstep.BOUNDS["float64"]
STEPS, HALF = 4, 2


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "input.txt").write_text(
        "to be, or not to be: that is the question\nwhether 'tis nobler in the mind\n" * 40
    )
    return str(folder)


def begun(folder, side, text, stop_at=None):
    settings = Settings(side, data=text, steps=STEPS, dtype="float64", warmup=1, clip_norm=0.5)
    launch.start("lockstep-gpt", settings, folder, Progress(), stop_at=stop_at)
    return folder


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The run of each side alone."""
    return {side: begun(tmp_path_factory.mktemp("whole") / side, side, text) for side in PACKAGES}


def arrays_of(folder):
    return load_checkpoint(latest_checkpoint(folder)[0])[0]


def test_the_run_has_all_that_could_be_lost(whole):
    arrays, records = arrays_of(whole["torch"]), without_times(read(whole["torch"]))
    assert {name.partition("/")[0] for name in arrays} == {"weights", "exp_avg", "exp_avg_sq", "average", "step"}
    assert not [name for name in arrays if "lm_head" in name]
    clip_norm = read_config(whole["torch"]).experiment.training.clip_norm
    assert all(record["gradient_norm"] > clip_norm for record in records if record["kind"] == "train")


@pytest.mark.parametrize("side", PACKAGES)
def test_a_resumed_run_has_the_bits_and_the_texts_of_the_uninterrupted_one(whole, text, tmp_path, side):
    folder = begun(tmp_path / side, side, text, stop_at=HALF)
    launch.resume(folder, Progress())
    ours, theirs = arrays_of(folder), arrays_of(whole[side])
    assert ours.keys() == theirs.keys()
    assert all(array.tobytes() == theirs[name].tobytes() for name, array in ours.items())
    assert without_times(read(folder)) == without_times(read(whole[side]))


@pytest.mark.parametrize("first", PACKAGES)
def test_a_run_handed_over_equals_the_run_of_either_alone(whole, text, tmp_path, first):
    (other,) = PACKAGES.keys() - {first}
    folder = begun(tmp_path / first, first, text, stop_at=HALF)
    launch.resume(folder, Progress(), backend=other)
    ours = lockstep.by_group(arrays_of(folder))
    for side in PACKAGES:
        theirs = lockstep.by_group(arrays_of(whole[side]))
        assert max(lockstep.group_error(ours[group], theirs[group])[0] for group in ours) <= BOUND
        texts = [[record for record in read(run) if record["kind"] == "samples"] for run in (folder, whole[side])]
        assert texts[0] == texts[1] != []
