"""Which validation is the best: by the task's first figure, then by the loss; an equal one is no improvement."""

import numpy as np
import pytest

from experiments.training.checkpoints import Checkpoints
from experiments.training.patience import Patience
from shared.run_folder import best_checkpoint, list_checkpoints
from shared.tasks.task import Figure, merit

HIGHER = (Figure("accuracy", "accuracy", "A"), Figure("other", "other", "O"))
LOWER = (Figure("accuracy", "perplexity", "P", higher_is_better=False),)


def validation(accuracy, loss=1.0, **more):
    return {"kind": "validation", "step": 1, "accuracy": accuracy, "loss": loss, "other": 0.0, **more}


BEST = validation(0.5)
BETTER = {  # (figures, a validation) -> is it better than BEST?
    "higher": (HIGHER, validation(0.6), True),
    "higher, at a higher loss": (HIGHER, validation(0.6, 9.0), True),
    "lower": (HIGHER, validation(0.4, 0.1), False),
    "equal": (HIGHER, validation(0.5), False),
    "equal at a lower loss": (HIGHER, validation(0.5, 0.9), True),
    "equal at a higher loss": (HIGHER, validation(0.5, 1.1), False),
    "equal, another figure higher": (HIGHER, validation(0.5, other=1.0), False),
    "lower is better": (LOWER, validation(0.4), True),
    "lower is better, and it is higher": (LOWER, validation(0.6), False),
    "lower is better, and it is equal at a lower loss": (LOWER, validation(0.5, 0.9), True),
}
cases = pytest.mark.parametrize(("figures", "found", "is_better"), BETTER.values(), ids=BETTER)


@cases
def test_a_validation_is_better_by_its_figure_and_then_its_loss(figures, found, is_better):
    assert (merit(found, figures) > merit(BEST, figures)) == is_better


@cases
@pytest.mark.parametrize("resumed", [False, True])
def test_patience_starts_anew_with_a_better_validation_alone(figures, found, is_better, resumed):
    patience = Patience(1, figures, [BEST] if resumed else [])
    if not resumed:
        patience.see(BEST)
    patience.see(found)
    assert patience.is_spent != is_better


@cases
def test_the_best_checkpoint_is_replaced_by_a_better_one_alone(figures, found, is_better, tmp_path):
    with Checkpoints(tmp_path, lambda state: state, figures) as checkpoints:
        assert checkpoints.is_best(BEST)
        checkpoints.save_best({"weights/a": np.ones(1)}, {"step": 1, "validation": BEST})
        assert checkpoints.is_best(found) == is_better
    with Checkpoints(tmp_path, lambda state: state, figures) as resumed:
        assert resumed.is_best(found) == is_better


def test_the_log_is_on_disk_before_a_checkpoint_that_holds_its_steps(tmp_path):
    seen: list[int] = []

    def sync_log():
        seen.append(len(list_checkpoints(tmp_path)) + (best_checkpoint(tmp_path) is not None))

    with Checkpoints(tmp_path, lambda state: {"weights/a": np.ones(1)}, HIGHER, sync_log) as checkpoints:
        checkpoints.save({}, {"step": 1})
        checkpoints.save_best({}, {"step": 2, "validation": BEST})
    assert seen == [0, 1]
