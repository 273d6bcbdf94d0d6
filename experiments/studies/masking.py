"""Study: three ways to hide a position from attention, two of which leak."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.studies.checks import check_size
from experiments.studies.sides import Side, both, numbers
from experiments.studies.study import ROUNDING, Both, Claim, Curve, Figure, Findings

LENGTHS = np.logspace(-2, 2, 25)  # of the hidden token's key, in the figure

Attention = Callable[[Side, Any, Any, Any, Any], Any]  # Q (n, d), K (n, d), V (n, e), seen (n) -> (n, e)


def _scores(side: Side, Q: Any, K: Any) -> Any:
    return side.components.attn_scaled(side.components.pairwise_similarities(Q, K), Q.shape[-1], 1)


def minus_infinity(side: Side, Q: Any, K: Any, V: Any, seen: Any) -> Any:
    """-inf in the hidden score column, before the softmax."""
    scores = side.xp.where(seen, _scores(side, Q, K), -np.inf)
    return side.components.compute_outputs(side.components.attn_softmax(scores), V)


def zero_key(side: Side, Q: Any, K: Any, V: Any, seen: Any) -> Any:
    """The hidden key is 0: so are its scores, whose exponential is 1."""
    weights = side.components.attn_softmax(_scores(side, Q, K * seen[:, None]))
    return side.components.compute_outputs(weights, V)


def zero_weight(side: Side, Q: Any, K: Any, V: Any, seen: Any) -> Any:
    """The hidden weight is 0 after the softmax, whose sum still holds it."""
    return side.components.compute_outputs(side.components.attn_softmax(_scores(side, Q, K)) * seen, V)


WAYS: dict[str, Attention] = {
    "-inf before the softmax": minus_infinity,
    "a key of zeros": zero_key,
    "a weight of zero after the softmax": zero_weight,
}
RIGHT, KEY, WEIGHT = WAYS


def masking(n: int = 10, d: int = 8, hidden: int = 3, seed: int = 0) -> Findings:
    """Attention of n random queries, keys and values of width d, whose position `hidden` shall not be seen."""
    n, d = check_size("n", n, least=2), check_size("d", d)
    hidden = check_size("hidden", hidden, least=0, most=n - 1, why="it is the number of a position, from 0 on")
    generator = np.random.default_rng(check_size("seed", seed, least=0))
    Q, K, V = (generator.standard_normal((n, d)) for _ in range(3))
    other_key, other_value = generator.standard_normal((2, d))
    rounded = (2 * d + 2 * n) * ROUNDING * np.abs(V).max()

    def error(way: str) -> Both:
        return numbers(_error, WAYS[way], Q, K, V, hidden)

    def leak(way: str, key: np.ndarray, value: np.ndarray) -> Both:
        return numbers(_leak, WAYS[way], (Q, K, V), hidden, key, value)

    claims = [
        Claim("-inf in its score column removes a position", "A_it = -inf: outputs of the sequence without t",
              error(RIGHT), rounded),
        Claim("Nothing of it is left, whatever it is", "A_it = -inf: |change of outputs|, for another k_t and v_t",
              leak(RIGHT, other_key, other_value), 0.0),
        Claim("A key of zeros removes a position", "k_t = 0: outputs of the sequence without t",
              error(KEY), rounded, wrong=True),
        Claim("Nothing of it is left", "k_t = 0: |change of outputs|, for another v_t",
              leak(KEY, K[hidden], other_value), rounded, wrong=True),
        Claim("A weight of zero after the softmax removes a position", "W_it = 0: outputs of the sequence without t",
              error(WEIGHT), rounded, wrong=True),
        Claim("Its value is gone", "W_it = 0: |change of outputs|, for another v_t",
              leak(WEIGHT, K[hidden], other_value), 0.0),
        Claim("Its key is gone, too", "W_it = 0: |change of outputs|, for another k_t",
              leak(WEIGHT, other_key, V[hidden]), rounded, wrong=True),
    ]  # fmt: skip
    return Findings(claims, [_figure(Q, K, V, hidden)])


def _seen(side: Side, n: int, hidden: int) -> Any:
    return side.array(np.arange(n) != hidden)


def _error(side: Side, way: Attention, Q: np.ndarray, K: np.ndarray, V: np.ndarray, hidden: int) -> Any:
    """The largest difference from the outputs of a sequence that never held the position."""
    keys, values = (side.array(np.delete(array, hidden, axis=0)) for array in (K, V))
    everything = side.array(np.ones(len(K) - 1, dtype=bool))
    expected = minus_infinity(side, side.array(Q), keys, values, everything)
    found = way(side, side.array(Q), side.array(K), side.array(V), _seen(side, len(K), hidden))
    return abs(found - expected).max()


def _leak(
    side: Side, way: Attention, given: tuple[np.ndarray, ...], hidden: int, key: np.ndarray, value: np.ndarray
) -> Any:
    """The largest change of an output when the hidden key and value are replaced."""
    Q, K, V = given
    changed_keys, changed_values = K.copy(), V.copy()
    changed_keys[hidden], changed_values[hidden] = key, value
    q, seen = side.array(Q), _seen(side, len(K), hidden)
    before = way(side, q, side.array(K), side.array(V), seen)
    after = way(side, q, side.array(changed_keys), side.array(changed_values), seen)
    return abs(after - before).max()


def _figure(Q: np.ndarray, K: np.ndarray, V: np.ndarray, hidden: int) -> Figure:
    """The hidden token's key and value have the same length, of many sizes."""

    def errors(side: Side, way: Attention) -> Any:
        found = []
        for length in LENGTHS:
            keys, values = K.copy(), V.copy()
            keys[hidden] *= length / np.linalg.norm(K[hidden])
            values[hidden] *= length / np.linalg.norm(V[hidden])
            found.append(_error(side, way, Q, keys, values, hidden))
        return side.xp.stack(found)

    curves = [Curve(name, LENGTHS, both(errors, way)) for name, way in WAYS.items() if name != RIGHT]
    caption = "The largest error of an output against the length of the hidden token's key and value."
    return Figure("masking", caption, "length of the hidden token", "largest error", curves, "xy")
