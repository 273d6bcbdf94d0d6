"""Study: attention selects one value, averages several, and reacts to one changed key."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.studies.checks import check_matrix, check_number, check_same_rows, check_size
from experiments.studies.many_keys import claims_of_many_keys, figure_of_many_keys
from experiments.studies.sides import Side, both, numbers
from experiments.studies.study import ALLOWED, ROUNDING, Both, Claim, Curve, Figure, Findings
from shared.errors import IsogradError

KEYS = ((0.47, 0.65, 0.60), (0.64, 0.50, -0.59), (-0.03, -0.48, -0.88), (0.43, -0.83, 0.35))  # the course's
VALUES = ((-0.07, -0.88, 0.47), (0.37, -0.93, -0.07), (-0.25, -0.75, 0.61), (0.94, 0.20, 0.28))
SCALES, DRAWN = np.logspace(-1, 4, 2001), 10  # the S of the sets; of the curves each tenth

Query = Callable[[Side, Any], Any]  # keys -> q / S
QUERIES: dict[str, Query] = {
    "S pinv([k_0; k_1]) 1": lambda side, K: side.xp.linalg.pinv(K[:2]).sum(-1),
    "S (k_0 + k_1) / 2": lambda side, K: (K[0] + K[1]) / 2,
    "S (k_0 + k_1)": lambda side, K: K[0] + K[1],
}
EXACT, HALF, SUM = QUERIES
TASKS: dict[str, tuple[str, Callable[[Any, Any], Any], slice]] = {  # what changes k_2, and which values are averaged
    "average of two": ("as it is", lambda K, p: K[2], slice(0, 2)),
    "average of three": ("= k_0", lambda K, p: K[0], slice(0, 3)),
    "v_2 alone": ("= q / |q|", lambda K, p: p / (p * p).sum() ** 0.5, slice(2, 3)),
}
TWO, THREE, THIRD = TASKS


def selection(K: Any = KEYS, V: Any = VALUES, S: float = 30.0, seed: int = 0) -> Findings:
    """Keys (n, d) with n >= 3, values (n, e), and the scale S of the queries; `seed` draws the many keys."""
    K, V = check_matrix("K", K, rows=3), check_matrix("V", V, rows=3)
    check_same_rows(K=K, V=V)
    S = check_scale(S, K)
    seed = check_size("seed", seed, least=0)
    errors = {name: errors_by_scale(K, V, name, SCALES) for name in QUERIES}
    claims = [*_selecting(K, V, S), *_averaging(K, V, S), *_reacting(K, V, S), *_scales(errors)]
    figures = [_figure(errors, task) for task in TASKS]
    return Findings([*claims, *claims_of_many_keys(seed)], [*figures, figure_of_many_keys(seed)])


def check_scale(S: Any, K: np.ndarray) -> float:
    """S; raises IsogradError unless it is positive and so small that scores keep some digits."""
    S = check_number("S", S, above=0.0)
    with np.errstate(over="ignore"):
        rounding = 2 * K.shape[1] * ROUNDING * S * (K * K).sum(1).max()
    if not rounding < ALLOWED:
        raise IsogradError(f"S: {S:g} overflows: scores of that size are rounded by {rounding:.1g}: choose a smaller S")
    return S


def attend(side: Side, q: Any, K: Any, V: Any) -> Any:
    """softmax(q K^T) V, without a scale as in the course: (t, d), (n, d), (n, e) -> (t, e)."""
    parts = side.components
    return parts.compute_outputs(parts.attn_softmax(parts.pairwise_similarities(q, K)), V)


def errors_by_scale(K: np.ndarray, V: np.ndarray, query: str, scales: np.ndarray) -> Both:
    """The largest error of an entry in each task at each scale (3, scales); only k_2 is replaced."""

    def measure(side: Side) -> Any:
        keys, values = side.array(K), side.array(V)
        p = QUERIES[query](side, keys)
        found = []
        for _, replacement, averaged in TASKS.values():
            changed = side.xp.stack([*keys[:2], replacement(keys, p), *keys[3:]])
            outputs = attend(side, side.array(scales)[:, None] * p, changed, values)
            found.append(side.xp.amax(abs(outputs - values[averaged].mean(0)), -1))
        return side.xp.stack(found)

    return both(measure)


def _error(K: np.ndarray, V: np.ndarray, query: Callable[[Any], Any], target: np.ndarray) -> Both:
    def measure(side: Side) -> Any:
        keys = side.array(K)
        return abs(attend(side, query(keys), keys, side.array(V)) - side.array(target)).max()

    return numbers(measure)


def _selecting(K: np.ndarray, V: np.ndarray, S: float) -> list[Claim]:
    one, every = _error(K, V, lambda keys: S * keys[:1], V[:1]), _error(K, V, lambda keys: S * keys, V)
    return [
        Claim("One query selects the first value", "q = S k_0: softmax(q K^T) V = v_0", one, ALLOWED),
        Claim("A matrix of queries selects every value", "Q = S K: softmax(Q K^T) V = V", every, ALLOWED),
    ]


def _averaging(K: np.ndarray, V: np.ndarray, S: float) -> list[Claim]:
    mean, rounded = V.mean(0, keepdims=True), len(V) * ROUNDING * np.abs(V).max()
    zero = _error(K, V, lambda keys: 0 * keys[:1], mean)
    of_keys = _error(K, V, lambda keys: keys.mean(0)[None], mean)
    target = "softmax(q K^T) V = (v_0 + v_1) / 2"
    two = {name: _at(K, V, name, S, TWO) for name in QUERIES}
    directions = {EXACT: np.linalg.pinv(K[:2]).sum(1), HALF: (K[0] + K[1]) / 2, SUM: K[0] + K[1]}
    bound = {name: exact_bound(K, V, S * p) for name, p in directions.items()}
    lengths = (K[:2] ** 2).sum(1)
    wrong = bool(abs(lengths[0] - lengths[1]) > K.shape[1] * ROUNDING * lengths.max())  # of equal keys they are right
    return [
        Claim("The query 0 averages all values exactly", "q = 0: softmax(q K^T) V = mean V", zero, rounded),
        Claim("The mean of the keys does so, too", "q = mean K: softmax(q K^T) V = mean V", of_keys, rounded, True),
        Claim("The query whose score is S with both first keys, and less with others, averages their values exactly",
              f"q = {EXACT}: {target}", two[EXACT], bound[EXACT]),
        Claim("The published half of the sum does so, too", f"q = {HALF}: {target}", two[HALF], bound[HALF], wrong),
        Claim("The published sum does so, too", f"q = {SUM}: {target}", two[SUM], bound[SUM], wrong),
    ]  # fmt: skip


def exact_bound(K: np.ndarray, V: np.ndarray, q: np.ndarray) -> float:
    """What other keys keep, and rounding: of q, of scores of size |q| |k| with d products each, and of V.

    Never more than the course allows: a key with a larger score makes an average impossible.
    """
    scores = K @ q
    with np.errstate(over="ignore"):
        kept = np.exp(scores[2:] - scores[:2].min()) @ np.abs(V[2:] - V[:2].mean(0)).max(1)
    off = 2 * K.shape[1] * ROUNDING * np.linalg.norm(q) * np.linalg.norm(K[:2], axis=1).max()
    rounded = off * np.abs(V[0] - V[1]).max() / 2 + len(V) * ROUNDING * np.abs(V).max()
    return float(min(kept + rounded, ALLOWED))


def _at(K: np.ndarray, V: np.ndarray, query: str, S: float, task: str) -> Both:
    place = list(TASKS).index(task)
    return errors_by_scale(K, V, query, np.array([S])).map(lambda each: float(each[place, 0]))


def _reacting(K: np.ndarray, V: np.ndarray, S: float) -> list[Claim]:
    return [
        Claim("A new k_2 makes that query average three values",
              f"q = {EXACT}, k_2 {TASKS[THREE][0]}: softmax(q K^T) V = (v_0 + v_1 + v_2) / 3",
              _at(K, V, EXACT, S, THREE), ALLOWED),
        Claim("A new k_2 of length 1 makes that query select the third value",
              f"q = {EXACT}, k_2 {TASKS[THIRD][0]}: softmax(q K^T) V = v_2",
              _at(K, V, EXACT, S, THIRD), ALLOWED),
    ]  # fmt: skip


def _scales(errors: dict[str, Both]) -> list[Claim]:
    """The ends of the set of S for which a query does all three tasks; of the best and the published one, each task."""
    claims = []
    for name, curves in errors.items():
        tasks = {"all three: two averaged, three averaged, v_2 alone": curves.map(lambda each: each.max(0))}
        if name != SUM:
            tasks |= {task: _of_task(curves, task) for task in TASKS}
        for task, curve in tasks.items():
            for end, place in (("Smallest", 0), ("Largest", -1)):
                words = f"{end} S, of {SCALES[0]:g} to {SCALES[-1]:g}, for {task}"
                ends = curve.map(_ends)
                found = Both(ends.torch[place], ends.jax[place])
                claims.append(Claim(words, f"q = {name}: error <= {ALLOWED}", found))
    return claims


def _of_task(errors: Both, task: str) -> Both:
    place = list(TASKS).index(task)
    return errors.map(lambda each: each[place])


def _ends(curve: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest scale with an allowed error; NaN if there is none."""
    allowed = SCALES[curve <= ALLOWED]
    return (float(allowed[0]), float(allowed[-1])) if len(allowed) else (np.nan, np.nan)


def _drawn(curve: np.ndarray) -> np.ndarray:
    return curve[::DRAWN]


def _figure(errors: dict[str, Both], task: str) -> Figure:
    place, (key, _, _) = list(TASKS).index(task), TASKS[task]
    curves = [Curve(f"q = {name}", SCALES[::DRAWN], _of_task(each, task).map(_drawn)) for name, each in errors.items()]
    caption = f"Error against S: {task}, with k_2 {key}; the course accepts {ALLOWED}."
    return Figure(f"selection_{place}", caption, "S", "largest error of an entry", curves, "xy")
