"""Study: what a decoder-only translator costs, by the course's formulas, by count, and by the frameworks' counters."""

from typing import Any

import numpy as np

from experiments.studies.checks import check_size, check_sizes
from experiments.studies.counters import count
from experiments.studies.scaling_law import LAYERS, forward_flops, parameters
from experiments.studies.sides import Side, both
from experiments.studies.study import Both, Claim, Curve, Figure, Findings
from shared.data.pairs.letters import VOCABULARY_SIZE

WIDTHS = (16, 32, 48, 64, 96, 128)
OF_SCORE, OF_STATE = (
    16,
    24,
)  # derived: operations beside products, at most, of a score and of a state's entry
EMBEDDING = "characters.weight"


def scaling(widths: tuple[int, ...] = WIDTHS, layers: int = LAYERS, s: int = 24, seed: int = 0) -> Findings:
    """Parameters and FLOPs of decoder-only translators of several widths h, on s letters."""
    widths = check_sizes("widths", widths, count=2)
    layers, s, seed = check_size("layers", layers), check_size("s", s, least=2), check_size("seed", seed, least=0)
    found, h = both(_counted, widths, layers, s, seed), np.array(widths, np.float64)
    formula = {"parameters": parameters(h, layers), "flops": forward_flops(h, s, layers)}
    return Findings(
        [*_of_parameters(found, formula["parameters"], h), *_of_flops(found, formula["flops"], h, layers, s)],
        [_figure(found, formula, widths)],
    )


def _counted(side: Side, widths: tuple[int, ...], layers: int, s: int, seed: int) -> Any:
    """Parameters without and with the embedding, and the FLOPs of a forward pass, of every width: (widths, 3)."""
    ids = np.random.default_rng(seed).integers(0, VOCABULARY_SIZE, (1, s))
    rows = []
    for width in widths:
        sizes = {"vocabulary_size": VOCABULARY_SIZE, "hidden_size": width, "num_layers": layers}
        module = side.build("DecoderOnlyTranslator", sizes, seed)
        counts = {name: array.size for name, array in side.components.to_arrays(module).items()}
        flops = count(side, lambda x, module=module: module(x), side.array(ids)).flops
        rows.append([sum(counts.values()) - counts[EMBEDDING], sum(counts.values()), flops])
    return np.array(rows)


def _of_parameters(found: Both, formula: np.ndarray, h: np.ndarray) -> list[Claim]:
    return [
        Claim(
            "Parameters beside the embedding are L (4 h^2 + 4 h) + h V + V",
            "|count - formula|, the largest",
            found.map(lambda rows: np.abs(rows[:, 0] - formula).max()),
            0.0,
        ),
        Claim(
            "The embedding, which the formula leaves out, adds h V",
            "|count - formula - h V|, the largest",
            found.map(lambda rows: np.abs(rows[:, 1] - formula - h * VOCABULARY_SIZE).max()),
            0.0,
        ),
        Claim(
            "Share of the parameters that the formula leaves out, at the smallest width",
            "h V / count",
            found.map(lambda rows: float(h[0] * VOCABULARY_SIZE / rows[0, 1])),
        ),
    ]


def _of_flops(found: Both, formula: np.ndarray, h: np.ndarray, layers: int, s: int) -> list[Claim]:
    """PyTorch counts products alone, the formula adds 3 s^2 a layer for the softmax, and XLA counts every operation."""
    products = formula - 3 * layers * s**2
    beside = OF_SCORE * layers * s**2 + OF_STATE * (layers + 1) * s * h + OF_STATE * s * VOCABULARY_SIZE
    return [
        Claim(
            "FLOPs counted, over the formula's, at the smallest width",
            "count / (L (8 s h^2 + 4 s^2 h + 3 s^2) + 2 s V h)",
            found.map(lambda rows: float(rows[0, 2] / formula[0])),
        ),
        Claim(
            "FLOPs counted, over the formula's, at the largest width",
            "count / formula",
            found.map(lambda rows: float(rows[-1, 2] / formula[-1])),
        ),
        Claim(
            "No product is missing from the formula: what is counted beside products is of scores and states",
            "|count - products| / (16 L s^2 + 24 (L + 1) s h + 24 s V), the largest",
            found.map(lambda rows: float((np.abs(rows[:, 2] - products) / beside).max())),
            1.0,
        ),
    ]


def _figure(found: Both, formula: dict[str, np.ndarray], widths: tuple[int, ...]) -> Figure:
    exact = Both(formula["flops"], formula["flops"])
    curves = [
        Curve("counted", widths, found.map(lambda rows: rows[:, 2])),
        Curve("formula", widths, exact),
    ]
    return Figure(
        "scaling_flops", "FLOPs of a forward pass, by count and by formula.", "width h", "FLOPs", curves, "xy"
    )
