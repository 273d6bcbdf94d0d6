"""Study: the backward pass of the linear recurrent network, written by hand, against automatic differentiation."""

from typing import Any, NamedTuple

import numpy as np

from experiments.studies.checks import check_size
from experiments.studies.sides import Side, numbers
from experiments.studies.study import EPS, Claim, Findings
from shared.arrays import Arrays


class Network(NamedTuple):
    """h_t = W_xh x_t + W_hh h_(t-1), o_t = W_yh h_t, J_t = -log softmax(o_t)[y_t], J their sum; h_(-1) is given."""

    x: Any  # (T, X)
    h: Any  # (H)
    W_xh: Any
    W_hh: Any
    W_yh: Any
    y: Any  # (T, C), one-hot


def linear_rnn(steps: int = 8, inputs: int = 4, hidden: int = 5, classes: int = 3, seed: int = 0) -> Findings:
    """A network of these sizes with weights of largest singular value 1, and one sequence, drawn by `seed`."""
    named = {"steps": steps, "inputs": inputs, "hidden": hidden, "classes": classes}
    T, X, H, C = (check_size(name, size, least=2) for name, size in named.items())
    network = _draw(np.random.default_rng(check_size("seed", seed, least=0)), T, X, H, C)
    rounded = 2 * T * (X + H + C) * EPS  # products of the longest chain, none of which grows
    return Findings([*_module(network, rounded), *_states(network, rounded), *_recurrent_weights(network, rounded)])


def _draw(generator: np.random.Generator, T: int, X: int, H: int, C: int) -> Network:
    x, h = generator.standard_normal((T, X)), generator.standard_normal(H)
    W_xh, W_hh, W_yh = (_of_norm_1(generator.standard_normal(shape)) for shape in ((H, X), (H, H), (C, H)))
    return Network(x, h, W_xh, W_hh, W_yh, np.eye(C)[generator.integers(0, C, T)])


def _of_norm_1(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, 2)


def on(side: Side, network: Network) -> Network:
    """The same network in a framework's arrays."""
    return Network(*map(side.array, network))


def losses(side: Side, n: Network, added: Any) -> Any:
    """J_t of every step, with `added` (T, H) put on the states: the derivative by it is the one by h_i."""
    h, found = n.h, []
    for x, y, more in zip(n.x, n.y, added, strict=True):
        h = n.W_xh @ x + n.W_hh @ h + more
        found.append(loss(side, n.W_yh @ h, y))
    return side.xp.stack(found)


def loss(side: Side, o: Any, y: Any) -> Any:
    """-log softmax(o) of the label."""
    return side.xp.log(side.xp.exp(o).sum()) - (o * y).sum()


def states(n: Network) -> np.ndarray:
    """h_(-1), h_0, ..., h_(T-1), in numpy."""
    found = [n.h]
    for x in n.x:
        found.append(n.W_xh @ x + n.W_hh @ found[-1])
    return np.stack(found)


def output_gradients(n: Network) -> np.ndarray:
    """g_ot = y_hat - y of every step (T, C), in numpy."""
    powers = np.exp(states(n)[1:] @ n.W_yh.T)
    return powers / powers.sum(1, keepdims=True) - n.y


def state_gradients(n: Network, with_powers: bool = True) -> np.ndarray:
    """dJ_t/dh_i (T, T, H) in numpy: (W_hh^T)^(t-i) W_yh^T g_ot for i <= t, else 0; the published one has no powers."""
    found = np.zeros((len(n.x), len(n.x), len(n.h)))
    for t, g in enumerate(output_gradients(n) @ n.W_yh):
        for i in range(t + 1):
            found[t, i] = np.linalg.matrix_power(n.W_hh.T, t - i if with_powers else 0) @ g
    return found


def _module(network: Network, rounded: float) -> list[Claim]:
    def gap(side: Side) -> float:
        ours, theirs = (_parameter_gradients(side, network, how) for how in ("by_hand", "automatic"))
        largest = max(np.abs(each).max() for each in theirs.values())
        return max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs) / largest

    return [
        Claim("LinearRNN's backward pass by hand gives every parameter the gradient of autograd",
              "max |by hand - automatic| / max |automatic|", numbers(gap), rounded),
    ]  # fmt: skip


def _parameter_gradients(side: Side, n: Network, backward: str) -> Arrays:
    (H, X), C = n.W_xh.shape, len(n.W_yh)
    sizes = {"input_size": X, "hidden_size": H, "num_classes": C, "backward": backward}
    weights = {"W_xh.weight": n.W_xh, "W_hh.weight": n.W_hh, "W_yh.weight": n.W_yh}
    biases = {"W_xh.bias": np.zeros(H), "W_hh.bias": np.zeros(H), "W_yh.bias": np.zeros(C)}
    x, h, y = side.array(n.x[None]), side.array(n.h[None, None]), side.array(n.y[None])
    module = side.build("LinearRNN", sizes, weights | biases)
    return side.gradients(module, lambda module: -(module(x, h)[0] * y).sum())


def _far(found: Any, expected: Any) -> Any:
    """The largest difference, by the largest expected entry."""
    return abs(found - expected).max() / abs(expected).max()


def _states(network: Network, rounded: float) -> list[Claim]:
    def of_outputs(side: Side) -> Any:
        n = on(side, network)
        o = side.array(states(network)[1:] @ network.W_yh.T)
        found = side.jit(side.autodiff.grad(lambda o: sum(loss(side, *each) for each in zip(o, n.y, strict=True))))(o)
        return _far(side.array(output_gradients(network)), found)

    def of_states(side: Side, with_powers: bool) -> Any:
        n, zero = on(side, network), side.array(np.zeros((len(network.x), len(network.h))))
        found = side.jit(side.autodiff.jacrev(lambda added: losses(side, n, added)))(zero)
        return _far(side.array(state_gradients(network, with_powers)), found)

    return [
        Claim("The gradient of a loss by its logits", "dJ_t/do_t = y_hat_t - y_t", numbers(of_outputs), rounded),
        Claim("The gradient of a loss by every earlier state",
              "dJ_t/dh_i = (W_hh^T)^(t-i) W_yh^T (y_hat_t - y_t), i <= t",
              numbers(of_states, True), rounded),
        Claim("The published one is the same for all states", "dJ_t/dh_i = W_yh^T (y_hat_t - y_t)",
              numbers(of_states, False), rounded, wrong=True),
    ]  # fmt: skip


def _recurrent_weights(network: Network, rounded: float) -> list[Claim]:
    before, earlier = states(network)[:-1], state_gradients(network)
    both_sums = np.einsum("tih,ik->hk", earlier, before)
    own_step = np.einsum("iih,ik->hk", earlier, before)
    last_loss = np.einsum("ih,ik->hk", earlier[-1], before)

    def error(side: Side, by_hand: np.ndarray) -> Any:
        n, zero = on(side, network), side.array(np.zeros((len(network.x), len(network.h))))
        found = side.jit(side.autodiff.grad(lambda W: losses(side, n._replace(W_hh=W), zero).sum()))(n.W_hh)
        return _far(side.array(by_hand), found)

    formulas = [
        ("The gradient by W_hh has two sums, over losses and over the states before each",
         "dJ/dW_hh = sum_t sum_(i <= t) dJ_t/dh_i h_(i-1)^T", both_sums, False),
        ("One sum is enough: each loss has only its own state", "dJ/dW_hh = sum_t dJ_t/dh_t h_(t-1)^T", own_step, True),
        ("One sum is enough: only the last loss counts", "dJ/dW_hh = sum_i dJ_T/dh_i h_(i-1)^T", last_loss, True),
    ]  # fmt: skip
    return [
        Claim(words, formula, numbers(error, by_hand), rounded, wrong) for words, formula, by_hand, wrong in formulas
    ]
