"""Why two runs diverge: the step is made once more in float64, gradients first, and the model is compared by itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from crosscheck.criterion import PROOF
from crosscheck.judging.rows import Divergence
from crosscheck.runs import diagnosis
from crosscheck.runs.compare_runs import SEED, batch_of, loss_of, model_of, optimizer_of, rate_of, training_of
from crosscheck.runs.diagnosis import SAME_STEP, Recipe, find_cause, find_cause_in_run
from crosscheck.runs.one_step import Start
from torch_impl import build
from torch_impl.weights import to_arrays

TWIN = "ReviewClassifierTransformer"
RECIPE = Recipe(model_of(TWIN), optimizer_of(TWIN), training_of(TWIN), loss_of(TWIN), SEED)
STATE = {"weights/a": np.ones(2, np.float32), "exp_avg/a": np.ones(2), "step": np.array(0)}
START = Start(STATE, {}, 0.1)
MADE = {
    "gradients": {"a": 8.0, "b": PROOF},
    "loss": {"loss": 1.0},
    "exp_avg": {"a": 1.0},
    "evaluation": {"losses": 1.0},
}


class Side:
    """Makes what it is told, and counts the steps that it takes."""

    def __init__(self, made=MADE):
        self.taken = []
        self.made = {name: {n: np.array(a) for n, a in arrays.items()} for name, arrays in made.items()}

    def init_state(self):
        return {"step": np.array(0)}

    def state_from_arrays(self, arrays):
        assert {name for name, array in arrays.items() if array.dtype == np.float32} == set()
        return arrays

    def state_to_arrays(self, state):
        return {f"exp_avg/{name}": array for name, array in self.made["exp_avg"].items()} | {"step": state["step"]}

    def gradients_of(self, state, batch):
        return self.made["gradients"]

    def train_step(self, state, batch, rate):
        self.taken.append((rate, batch))
        return {"step": state["step"] + 1}, self.made["loss"]

    def eval_step(self, state, batch):
        return self.made["evaluation"]

    def fetch(self, metrics):
        return metrics


def sides(monkeypatch, **theirs):
    found = {"torch": Side(), "jax": Side(MADE | theirs)}
    monkeypatch.setattr(
        diagnosis, "load_backend", lambda name, **given: found[name] if given["dtype"] == "float64" else 0
    )
    return found


WHERE = {  # what JAX makes otherwise -> where that is said to be
    "loss": ({"loss": {"loss": 2.0}}, Divergence(TWIN, "loss", "loss"), "the two differ in loss"),
    "a moment": (
        {"exp_avg": {"a": 2.0}, "evaluation": {"losses": 2.0}},
        Divergence(f"{TWIN}.optimizer", "update", "exp_avg/a"),
        "the update diverges in exp_avg/a",
    ),
    "evaluation": (
        {"evaluation": {"losses": 1.0, "predictions": 0.0}},
        Divergence(TWIN, "evaluation", "predictions"),
        "the two differ in evaluation, predictions",
    ),
}


@pytest.mark.parametrize(("theirs", "place", "words"), WHERE.values(), ids=WHERE)
def test_the_first_quantity_that_differs_is_named(monkeypatch, theirs, place, words):
    sides(monkeypatch, **theirs)
    assert find_cause(RECIPE, START) == (place, f"from the same state the gradients agree, and {words}")


def test_steps_that_agree_have_no_cause_and_a_gradient_of_rounding_is_held_to_the_largest(monkeypatch):
    sides(monkeypatch, gradients={"a": 8.0, "b": 2 * PROOF})
    found, sentence = find_cause(RECIPE, START)
    assert found is None
    assert sentence.startswith(SAME_STEP)


@pytest.mark.usefixtures("float64_in_jax")
@pytest.mark.parametrize("inside", [Divergence(f"{TWIN}.classifier", "forward", "classifier out[0]"), None], ids=str)
def test_unequal_gradients_are_looked_for_in_the_model_by_itself(monkeypatch, inside):
    weights = to_arrays(build.empty_twin(diagnosis.find_twin(TWIN), RECIPE.model.arguments))
    weights = {name: np.full_like(array, place) for place, (name, array) in enumerate(weights.items())}
    batch, compared = batch_of(TWIN, 1), []

    def compare(torch_module, jax_module, inputs, **options):
        arrays = (to_arrays(torch_module), diagnosis.jax_weights.to_arrays(jax_module))
        compared.append((all(np.array_equal(side[name], a) for side in arrays for name, a in weights.items()), options))
        assert [each is batch[name] for each, name in zip(inputs, RECIPE.model.inputs, strict=True)] == [True] * len(
            inputs
        )
        return SimpleNamespace(first_divergence=inside)

    monkeypatch.setattr(diagnosis, "compare", compare)
    sides(monkeypatch, gradients={"a": 0.0, "b": 100.0})
    state = STATE | {f"weights/{name}": array for name, array in weights.items()}
    found, sentence = find_cause(RECIPE, Start({n: a for n, a in state.items() if n != "weights/a"}, batch, 0.1))
    assert compared == [(True, {"train": True, "name": TWIN})]
    assert found == (inside or Divergence(TWIN, "parameter gradient", "gradients/b"))
    assert sentence.endswith(", forward, classifier out[0]" if inside else "the backends' gradients diverge in b")


def in_a_run(monkeypatch, cause, kind="loss", step=3):
    """What is said of a run that diverges after a step, if that step has a cause, and from where the step started."""
    started = []
    monkeypatch.setattr(diagnosis, "find_cause", lambda *given: started.append(given) or (cause, "because"))
    taken = sides(monkeypatch)["torch"].taken
    row = SimpleNamespace(step=step, kind=kind)
    return find_cause_in_run(SimpleNamespace(first_divergence="the run's", first_row=row, name=TWIN)), started, taken


INSIDE = Divergence(f"{TWIN}.classifier", "forward", "out")
OUTSIDE = {"the model": Divergence(TWIN, "loss", "loss"), "an update": Divergence(f"{TWIN}.optimizer", "update", "a")}


def test_a_run_that_diverges_in_a_module_starts_its_step_from_the_state_before(monkeypatch):
    said, [(recipe, start)], taken = in_a_run(monkeypatch, INSIDE)
    assert said == (INSIDE, "because")
    assert recipe == RECIPE
    assert int(start.state["step"]) == 2
    for step, (rate, batch) in enumerate([*taken, (start.rate, start.batch)], start=1):
        assert rate == rate_of(step)
        assert all(np.array_equal(array, batch[name]) for name, array in batch_of(TWIN, step).items())


@pytest.mark.parametrize("cause", OUTSIDE.values(), ids=OUTSIDE)
def test_a_run_that_diverges_around_the_model_keeps_its_own_place(monkeypatch, cause):
    assert in_a_run(monkeypatch, cause)[0] == ("the run's", "because")


def test_a_run_without_a_cause_in_its_step_or_without_such_a_step_keeps_its_own_place(monkeypatch):
    assert in_a_run(monkeypatch, None)[0] == ("the run's", "")
    for kind, step in (("evaluation loss", 3), ("prediction", 3), ("output", None)):
        assert in_a_run(monkeypatch, INSIDE, kind, step) == (("the run's", ""), [], [])
    assert find_cause_in_run(SimpleNamespace(first_divergence=None, first_row=None, name=TWIN)) == (None, "")
