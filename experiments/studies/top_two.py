"""Study: the whole distribution of a language model from an interface that shows its two likeliest tokens."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.studies.checks import check_number, check_size
from experiments.studies.sides import Side, both, to_numpy
from experiments.studies.study import EPS, Both, Claim, Curve, Figure, Findings
from shared.errors import IsogradError

PROMISED = 1e-6  # derived: the relative error that the study promises for every token
RARE = 1e-6  # derived: PROMISED as an absolute error, by which tokens less probable would pass for 0
STEPS, WIDTH = 12, 32  # of the model below the head


class Answer(NamedTuple):
    """The two likeliest tokens of some calls and their probabilities, the likelier first: (calls, 2) each."""

    tokens: np.ndarray
    probabilities: np.ndarray


Ask = Callable[[np.ndarray], Answer]  # logit biases (calls, V) -> what the interface shows


class Interface:
    """A model behind logits that answers with the top two alone, takes biases on its logits, and counts the calls."""

    def __init__(self, side: Side, logits: Any):
        self.side, self.logits, self.calls = side, logits, 0

    def __call__(self, biases: np.ndarray) -> Answer:
        self.calls += len(biases)
        shown = self.side.components.attn_softmax(self.logits + self.side.array(biases))
        probabilities = to_numpy(shown)
        tokens = np.argsort(-probabilities, axis=-1, kind="stable")[:, :2]
        return Answer(tokens, np.take_along_axis(probabilities, tokens, axis=-1))


def top_two(vocabulary: int = 1024, bias: float = 100.0, spread: float = 8.0, seed: int = 0) -> Findings:
    """A Transformer with a linear head of `vocabulary` tokens, whose logits have the standard deviation `spread`."""
    check_size("vocabulary", vocabulary, least=2, why="with one token, which has the probability 1, nothing is hidden")
    bias, spread = check_number("bias", bias, above=0.0), check_number("spread", spread, above=0.0)
    seed = check_size("seed", seed, least=0)
    found = both(lambda side: _recovered(side, vocabulary, bias, spread, seed))
    return Findings(_claims(found, vocabulary, bias), [_figure(found)])


def recover(ask: Ask, vocabulary: int, bias: float) -> np.ndarray:
    """p (V) by 1 + (V - 1) calls: one without a bias, then one for each other token v, with the bias b on v alone.

    p(v) = p(v*) e^-b q(v) / q(v*). Raises IsogradError if a biased token or v* isn't among the two likeliest.
    """
    first = ask(np.zeros((1, vocabulary)))
    best, largest = first.tokens[0, 0], first.probabilities[0, 0]
    others = np.delete(np.arange(vocabulary), best)
    answer = ask(bias * np.eye(vocabulary)[others])
    q, q_best = _shown(answer, others, bias), _shown(answer, np.full_like(others, best), bias)
    p = np.full(vocabulary, largest)
    p[others] = largest * np.exp(-bias) * q / q_best
    return p


def recover_as_published(ask: Ask, vocabulary: int, bias: float) -> np.ndarray:
    """The same calls, by the derivation that adds the bias to e^z instead of to z: p(v) = p(v*) q(v) / q(v*) - b."""
    first = ask(np.zeros((1, vocabulary)))
    best, largest = first.tokens[0, 0], first.probabilities[0, 0]
    others = np.delete(np.arange(vocabulary), best)
    answer = ask(bias * np.eye(vocabulary)[others])
    p = np.full(vocabulary, largest)
    p[others] = largest * _shown(answer, others, bias) / _shown(answer, np.full_like(others, best), bias) - bias
    return p


def _shown(answer: Answer, tokens: np.ndarray, bias: float) -> np.ndarray:
    """The probability of one token of each call."""
    is_it = answer.tokens == tokens[:, None]
    if not is_it.any(1).all() or not answer.probabilities.all():
        raise IsogradError(
            f"bias: with {bias:g}, {(~is_it.any(1)).sum()} of {len(tokens)} calls don't show both tokens with a "
            "probability above 0: choose a different bias"
        )
    return answer.probabilities[is_it]


def logits_of(side: Side, vocabulary: int, spread: float, seed: int) -> Any:
    """The logits (V) of a small Transformer with a linear head, for a sequence drawn by `seed`."""
    sizes = {"vocabulary_size": vocabulary, "sequence_length": STEPS, "embed_dim": WIDTH, "hidden_dim": WIDTH}
    arguments = {**sizes, "num_heads": 2, "num_layers": 1, "dropout": 0.0, "num_classes": vocabulary}
    model = side.build("ReviewClassifierTransformer", arguments, seed)
    ids = np.random.default_rng(seed).integers(1, vocabulary, (1, STEPS))
    logits = model(side.array(ids))[0]
    centred = logits - logits.mean()
    return centred * (spread / (centred**2).mean() ** 0.5)


def _recovered(side: Side, vocabulary: int, bias: float, spread: float, seed: int) -> Any:
    """True, recovered and published probabilities (3, V), and in a fourth row the calls."""
    ask = Interface(side, logits_of(side, vocabulary, spread, seed))
    truth = side.components.attn_softmax(ask.logits[None])[0]
    found = recover(ask, vocabulary, bias)
    calls = np.full(vocabulary, float(ask.calls))
    return side.xp.stack([truth, *map(side.array, (found, recover_as_published(ask, vocabulary, bias), calls))])


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest over all tokens."""
    return float((np.abs(found - truth) / truth).max())


def without_rare(truth: np.ndarray) -> np.ndarray:
    """Zeros in place of the probabilities of rare tokens."""
    return np.where(truth < RARE, 0.0, truth)


def rounding(truth: np.ndarray, bias: float) -> float:
    """Of the logits with and without a bias, of the exponentials' sums over V tokens, of exp and quotients."""
    span = float(np.log(truth.max() / truth.min()))
    return (4 * (span + bias) + 2 * len(truth) + 8) * EPS / 2


def _claims(found: Both, vocabulary: int, bias: float) -> list[Claim]:
    bound = max(found.map(lambda each: rounding(each[0], bias)))
    recovered = found.map(lambda each: relative_error(each[1], each[0]))
    published = found.map(lambda each: relative_error(each[2], each[0]))
    truth = found.map(lambda each: each[0])
    absolute = truth.map(lambda p: float(np.abs(without_rare(p) - p).max()))
    relative = truth.map(lambda p: relative_error(without_rare(p), p))
    formula = "p(v) = p(v*) e^-b q(v) / q(v*)"
    return [
        Claim("One call without a bias and one for each other token are enough", "calls = 1 + (V - 1)",
              found.map(lambda each: each[3, 0]), vocabulary),
        Claim("They give the probability of every token, however rare", f"{formula}, b = {bias:g}: |p - truth| / truth",
              recovered, bound),
        Claim("The published derivation, with the bias outside of the exponent, does so, too",
              f"p(v) = p(v*) q(v) / q(v*) - b, b = {bias:g}: |p - truth| / truth",
              published, PROMISED, wrong=True),
        Claim(f"By an absolute error, zeros in place of all probabilities below {RARE:g} would pass",
              "max |zeros - truth|", absolute, RARE),
        Claim("By a relative error they pass, too", "max |zeros - truth| / truth",
              relative, PROMISED, wrong=True),
    ]  # fmt: skip


def _figure(found: Both) -> Figure:
    by_rank = found.map(lambda each: each[:2, np.argsort(-each[0])])
    ranks = np.arange(1, by_rank.torch.shape[1] + 1)
    curves = [
        Curve("the model's own", ranks, by_rank.map(lambda each: each[0])),
        Curve("from the top two", ranks, by_rank.map(lambda each: each[1])),
    ]
    return Figure("top_two", "Probabilities of all tokens, by rank.", "rank of the token", "probability", curves, "xy")
