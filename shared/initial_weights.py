"""Initial weights by (seed, parameter name), drawn by numpy, so that both frameworks start from the same numbers."""

import functools
import math
import re
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from shared.configs.clip import LOGIT_SCALE
from shared.configs.gpt import DEVIATION
from shared.errors import IsogradError

Shapes = Mapping[str, tuple[int, ...]]
Draw = Callable[[np.random.Generator, str, Shapes], np.ndarray]


def normal(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """N(0, 1)."""
    return generator.standard_normal(shapes[name])


def normal_but_padding(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """N(0, 1), with zeros in row 0, the padding token's."""
    table = normal(generator, name, shapes)
    table[0] = 0.0
    return table


def ones(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """1."""
    return np.ones(shapes[name])


def zeros(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """0."""
    return np.zeros(shapes[name])


def uniform_by_hidden_size(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """U(-1 / sqrt(H), 1 / sqrt(H)) in a GRU cell of H units, whose three gates are stacked."""
    bound = (shapes[name][0] // 3) ** -0.5
    return generator.uniform(-bound, bound, shapes[name])


def uniform_by_inputs(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """U(-1 / sqrt(I), 1 / sqrt(I)) in a linear map of I inputs; for a bias, those of its weight."""
    weight = re.sub(r"bias$", "weight", name)
    if weight not in shapes:
        raise IsogradError(f"the initial values of {name!r} depend on the inputs of {weight!r}, which is missing")
    bound = shapes[weight][-1] ** -0.5
    return generator.uniform(-bound, bound, shapes[name])


def uniform_by_columns(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """U(-1 / sqrt(I), 1 / sqrt(I)) in a matrix of I columns that stands alone."""
    bound = shapes[name][-1] ** -0.5
    return generator.uniform(-bound, bound, shapes[name])


def small_normal(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """N(0, 0.02), as in GPT-2."""
    return DEVIATION * normal(generator, name, shapes)


def small_normal_by_depth(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """N(0, 0.02 / sqrt(2 L)) in a model of L blocks, each of which writes twice to the residual path."""
    blocks = {found[1] for other in shapes if (found := re.search(r"blocks\.(\d+)\.", other))}
    return small_normal(generator, name, shapes) / math.sqrt(2 * max(len(blocks), 1))


def normal_by_width(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """N(0, 1 / E) for vectors of width E, as in CLIP."""
    return normal(generator, name, shapes) * shapes[name][-1] ** -0.5


def logit_scale(generator: np.random.Generator, name: str, shapes: Shapes) -> np.ndarray:
    """ln(1 / 0.07), as in CLIP."""
    return np.full(shapes[name], LOGIT_SCALE)


INITIALISERS: tuple[tuple[str, Draw], ...] = (  # the first pattern found in a name applies
    (r"(token_type|patch)_embedding\.weight$", small_normal),
    (r"((self_attention|activated_mlp)\.\w+|(^|\.)(pooler|head))\.weight$", small_normal),
    (r"(self_attention|activated_mlp)\.\w+\.bias$|(^|\.)(pooler|head)\.bias$|head_bias$", zeros),
    (r"_projection\.weight$|class_embedding$", normal_by_width),
    (r"logit_scale$", logit_scale),
    (r"((token|position|pair)_embedding|lm_head)\.weight$", small_normal),
    (r"(causal_attention|feed_forward)\.out_proj\.weight$", small_normal_by_depth),
    (r"(causal_attention|feed_forward)\.(\w_proj\.)?\w+\.weight$", small_normal),
    (r"(causal_attention|feed_forward)\.(\w_proj\.)?\w+\.bias$", zeros),
    (r"(input|hidden)_proj\.(weight|bias)$", uniform_by_hidden_size),
    (r"hidden_(gates|candidate)$", uniform_by_columns),
    (r"embedding\.weight$", normal_but_padding),
    (r"letters\.characters\.weight$", normal_by_width),
    (r"characters\.weight$", normal),
    (r"(positions(\.weight)?|cls_token)$", normal),
    (r"norm\w*(\.\d+)?\.weight$", ones),
    (r"norm\w*(\.\d+)?\.bias$", zeros),
    (r"(weight|bias)$", uniform_by_inputs),
)


def initial_weights(shapes: Shapes, seed: int, dtype: np.dtype | type = np.float32) -> dict[str, np.ndarray]:
    """Draw every parameter of `shapes` (canonical name -> shape); each depends only on the seed and its own name.

    Raises IsogradError for a name that no row of the table matches.
    """
    return {name: _draw(name, shapes, seed).astype(dtype) for name in shapes}


def _draw(name: str, shapes: Shapes, seed: int) -> np.ndarray:
    for pattern, draw in INITIALISERS:
        if re.search(pattern, name):
            return draw(np.random.default_rng([seed, zlib.crc32(name.encode())]), name, shapes)
    raise IsogradError(
        f"no initialiser in shared/initial_weights.py matches the parameter {name!r}: add a row to the table"
    )


@functools.cache
def orthogonal_directions(count: int, width: int, seed: int = 0) -> np.ndarray:
    """`count` vectors (count, width) of N(0, 1), orthogonal in groups of `width` (Choromanski et al. 2021)."""
    generator, groups = np.random.default_rng(seed), -(-count // width)
    rotations, triangles = np.linalg.qr(generator.standard_normal((groups, width, width)))
    signs = np.sign(np.diagonal(triangles, axis1=1, axis2=2))  # without which no rotation is as likely as any other
    directions = (rotations * signs[:, None]).reshape(-1, width)
    lengths = np.linalg.norm(generator.standard_normal(directions.shape), axis=1)
    return (directions * lengths[:, None])[:count]
