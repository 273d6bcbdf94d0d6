"""Study: how large gradients through many layers or steps can be, and how large they are."""

from typing import Any

import numpy as np

from experiments.studies.checks import check_size
from experiments.studies.sides import Side, both, numbers
from experiments.studies.study import EPS, ROUNDING, Both, Claim, Curve, Figure, Findings

LARGEST = 0.25  # sigma_max of the sigmoid network's matrices; also the largest slope of a sigmoid
INPUTS, FARTHEST = 200, 4.0  # at which the ReLU chain's slope is taken
GAINS = (0.5, 1.0, 1.5)  # sigma_max of the vanilla network's matrix


def depth(layers: int = 12, width: int = 6, steps: int = 40, seed: int = 0) -> Findings:
    """A ReLU chain of numbers and a sigmoid network of `layers` layers, recurrent networks over `steps` steps."""
    layers, width = check_size("layers", layers, least=3), check_size("width", width, least=2)
    steps = check_size("steps", steps, least=2)
    generator = np.random.default_rng(check_size("seed", seed, least=0))
    chain = generator.uniform(0.5, 1.5, layers) * generator.choice([-1, 1], layers)
    biases, points = large_biases(generator, chain), np.linspace(-FARTHEST, FARTHEST, INPUTS)
    matrices = [scaled(generator.standard_normal((width, width)), LARGEST) for _ in range(layers - 1)]
    start = generator.standard_normal(width)
    jacobians = both(sigmoid_jacobians, matrices, start)
    recurrent = Recurrent(generator, width, steps, seed)
    claims = [
        *_relu(chain, biases, points),
        *_sigmoid(jacobians),
        *_powers(generator, width),
        *_products(jacobians, matrices),
    ]
    return Findings([*claims, *recurrent.claims()], [_figure_of_layers(jacobians), recurrent.figure()])


def scaled(matrix: np.ndarray, largest: float) -> np.ndarray:
    """The matrix with this largest singular value."""
    return matrix * largest / np.linalg.norm(matrix, 2)


def large_biases(generator: np.random.Generator, chain: np.ndarray) -> np.ndarray:
    """Biases about as large as what they are added to, so that few inputs end where the chain is flat."""
    size, found = FARTHEST, []
    for w in np.abs(chain):
        found.append(generator.uniform(0.9, 2.0) * w * size)
        size = w * size + found[-1]
    return np.array(found)


def relu_slopes(side: Side, chain: np.ndarray, biases: np.ndarray, points: np.ndarray) -> Any:
    """df/dx of f(x) = max(0, w_n max(0, ... max(0, w_1 x + b_1)) + b_n) at each point."""

    def f(x: Any) -> Any:
        for w, b in zip(chain, biases, strict=True):
            x = side.xp.where(w * x + b > 0, w * x + b, 0 * x)
        return x.sum()

    return side.jit(side.autodiff.grad(f))(side.array(points))


def sigmoid_jacobians(side: Side, matrices: list[np.ndarray], start: np.ndarray) -> Any:
    """dx_k/dx_1 of x_(k+1) = sigmoid(W_k x_k), for every k from 2 on: (layers - 1, width, width)."""

    def layer(x: Any, W: Any) -> Any:
        return 1 / (1 + side.xp.exp(-(W @ x)))

    jacobian, found = _with_value(side, layer), []
    x, product = side.array(start), side.array(np.eye(len(start)))
    for W in map(side.array, matrices):
        slope, x = jacobian(x, W)
        product = slope @ product
        found.append(product)
    return side.xp.stack(found)


def _with_value(side: Side, f: Any) -> Any:
    """f -> (its Jacobian by the first argument, its value), in one compiled function."""
    jacobian = side.autodiff.jacrev(f)
    return side.jit(lambda *arguments: (jacobian(*arguments), f(*arguments)))


def _relu(chain: np.ndarray, biases: np.ndarray, points: np.ndarray) -> list[Claim]:
    def ratio(side: Side, w: np.ndarray, b: np.ndarray) -> Any:
        return abs(relu_slopes(side, w, b, points)).max() / np.abs(np.prod(chain))

    any_signs = numbers(lambda side: ratio(side, chain, biases))
    reached = numbers(lambda side: abs(ratio(side, np.abs(chain), np.abs(biases)) - 1))
    f, rounded = "f(x) = max(0, w_n max(0, ... max(0, w_1 x + b_1)) + b_n)", 2 * len(chain) * ROUNDING
    return [
        Claim("The slope of a ReLU chain is at most the product of its weights' magnitudes",
              f"{f}: |f'(x)| / prod |w_i| <= 1", any_signs, 1 + rounded),
        Claim("With positive weights and biases the product is reached", "max f'(x) / prod w_i = 1", reached, rounded),
    ]  # fmt: skip


def norms(matrices: np.ndarray) -> np.ndarray:
    """The largest singular value of each."""
    return np.linalg.norm(matrices, 2, axis=(1, 2))


def _sigmoid(jacobians: Both) -> list[Claim]:
    layers, width = jacobians.torch.shape[:2]
    powers = (LARGEST * 0.25) ** np.arange(1, layers + 1)
    ratios = jacobians.map(lambda each: (norms(each) / powers).max())
    return [
        Claim("The Jacobian of a sigmoid network with sigma_max(W) = 1/4 shrinks by 16 in every layer",
              "sigma_max(dx_n/dx_1) / (1/16)^(n-1) <= 1, the largest over n", ratios, 1 + 2 * layers * width * EPS),
    ]  # fmt: skip


def _powers(generator: np.random.Generator, width: int) -> list[Claim]:
    """W^i by the singular value decomposition of W."""
    W = generator.standard_normal((width, width))
    W, symmetric, power = W / np.linalg.norm(W, 2), W @ W.T / np.linalg.norm(W @ W.T, 2), 3

    def error(side: Side, matrix: np.ndarray) -> Any:
        given = side.array(matrix)
        U, S, Vh = side.xp.linalg.svd(given)
        return abs(side.xp.linalg.matrix_power(given, power) - (U * S**power) @ Vh).max()

    rounded = 2 * power * width**1.5 * EPS  # products of matrices of norm 1, and the decomposition's own
    return [
        Claim("The published proof: a power of any W has the powers of its singular values", "W^i = U S^i V^T",
              numbers(error, W), rounded, wrong=True),
        Claim("That is so where U = V: for a symmetric W without negative eigenvalues", "W = U S U^T: W^i = U S^i U^T",
              numbers(error, symmetric), rounded),
    ]  # fmt: skip


def _products(jacobians: Both, matrices: list[np.ndarray]) -> list[Claim]:
    """What the published proof needs in place of the powers: here A is a layer's matrix, B the Jacobian before it."""

    def largest(each: np.ndarray) -> float:
        before = each[:-1]
        return float((norms(np.stack(matrices[1:]) @ before) / (LARGEST * norms(before))).max(initial=0.0))

    return [
        Claim("The largest singular value of a product is at most the product of the largest ones",
              "sigma_max(A B) / (sigma_max(A) sigma_max(B)) <= 1", jacobians.map(largest),
              1 + 4 * len(matrices[0]) ** 1.5 * EPS),
    ]  # fmt: skip


def _figure_of_layers(jacobians: Both) -> Figure:
    layers = np.arange(2, len(jacobians.torch) + 2)
    values = jacobians.map(lambda each: np.linalg.svd(each, compute_uv=False))
    bound = (LARGEST * 0.25) ** (layers - 1.0)
    curves = [
        Curve("the bound (1/16)^(n-1)", layers, Both(bound, bound)),
        Curve("largest singular value", layers, values.map(lambda each: each[:, 0])),
        Curve("smallest singular value", layers, values.map(lambda each: each[:, -1])),
    ]
    return Figure("depth_layers", "Singular values of dx_n/dx_1 of a sigmoid network.", "layer n", "", curves, "y")


class Recurrent:
    """The singular values of dh_t/dh_0, measured for vanilla networks of three sizes and for a GRU."""

    def __init__(self, generator: np.random.Generator, width: int, steps: int, seed: int):
        self.inputs = generator.standard_normal((steps, width))
        self.matrix = generator.standard_normal((width, width))
        self.width, self.seed = width, seed
        self.vanilla = {gain: both(self._vanilla, gain) for gain in GAINS}
        self.gru = both(self._gru)

    def claims(self) -> list[Claim]:
        steps = len(self.inputs)
        powers = {gain: gain ** np.arange(1, steps + 1) for gain in GAINS}
        ratios = [each.map(norms).map(np.divide, powers[gain]) for gain, each in self.vanilla.items()]
        largest = Both(*(max(ratio.max() for ratio in side) for side in zip(*ratios, strict=True)))
        last = {"a vanilla network with sigma_max(W) = 1": self.vanilla[1.0], "a GRU": self.gru}
        return [
            Claim("The Jacobian of a vanilla network grows at most like the powers of sigma_max(W)",
                  "h_t = tanh(W h_(t-1) + x_t): sigma_max(dh_t/dh_0) / sigma_max(W)^t <= 1, the largest over t and W",
                  largest, 1 + 2 * steps * self.width * EPS),
            *(
                Claim(f"Largest singular value after {steps} steps of {name}", f"sigma_max(dh_t/dh_0), t = {steps}",
                      found.map(lambda each: norms(each)[-1]))
                for name, found in last.items()
            ),
        ]  # fmt: skip

    def figure(self) -> Figure:
        names = {f"vanilla, sigma_max(W) = {gain:g}": found for gain, found in self.vanilla.items()} | {"GRU": self.gru}
        times = np.arange(1, len(self.inputs) + 1)
        curves = [Curve(name, times, found.map(norms)) for name, found in names.items()]
        caption = "Largest singular value of dh_t/dh_0: a vanilla network of three sizes against a GRU."
        return Figure("depth_recurrent", caption, "step t", "sigma_max", curves, "y")

    def _vanilla(self, side: Side, gain: float) -> Any:
        W = side.array(scaled(self.matrix, gain))
        return self._jacobians(side, lambda h, x: side.xp.tanh(W @ h + x))

    def _gru(self, side: Side) -> Any:
        """GRUCell with its usual initial values."""
        sizes = {"input_size": self.width, "hidden_size": self.width}
        cell = side.build("GRUCell", sizes, self.seed)
        return self._jacobians(side, lambda h, x: cell(x[None], h[None])[0])

    def _jacobians(self, side: Side, step: Any) -> Any:
        jacobian, found = _with_value(side, step), []
        h, product = side.array(np.zeros(self.width)), side.array(np.eye(self.width))
        for x in map(side.array, self.inputs):
            slope, h = jacobian(h, x)
            product = slope @ product
            found.append(product)
        return side.xp.stack(found)
