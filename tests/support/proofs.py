"""The proof's criterion over everything that a side computed."""

from crosscheck import criterion
from crosscheck.recording import jax_side, torch_side
from crosscheck.recording.values import Values

SIDES = {"torch": torch_side, "jax": jax_side}


def assert_proven(ours: Values, theirs: Values) -> None:
    gradients = [*theirs.input_gradients.values(), *theirs.parameter_gradients.values()]
    largest = max(map(criterion.norm, gradients), default=0.0)
    for attribute in ("outputs", "input_gradients", "parameter_gradients"):
        floor = 0.0 if attribute == "outputs" else largest
        expected, found = getattr(theirs, attribute), getattr(ours, attribute)
        assert found.keys() == expected.keys()
        for name in expected:
            verdict = criterion.prove(expected[name], found[name], floor)
            assert verdict.agrees, f"{attribute} {name}: {verdict}"
            assert found[name].shape == expected[name].shape
            assert found[name].dtype == expected[name].dtype
