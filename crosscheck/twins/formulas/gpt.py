"""Formulas of GPT: one head, one query and one layer at a time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from crosscheck.twins.formulas.attention import visible_softmax
from crosscheck.twins.formulas.layers import Arguments, layer_norm
from crosscheck.twins.formulas.weights import Weights
from shared.initial_weights import orthogonal_directions


def normal_embedding(w: Weights, a: Arguments, ids: Tensor) -> Tensor:
    """Row `ids` of the table."""
    return torch.nn.functional.one_hot(ids, len(w["weight"])).to(w["weight"].dtype) @ w["weight"]


PROJECTIONS = {"none": "qkv", "kv": "qkk", "qk": "qqv", "qkv": "qqq"}  # that give queries, keys and values


def causal_self_attention(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Query t reads keys 0 to t; the zeroed variant takes the softmax over all keys first."""
    steps, rate = range(x.shape[1]), a["dropout"]
    visible = torch.tensor([[s <= t for s in steps] for t in steps])
    letters, similarity = PROJECTIONS[a.get("shared", "none")], a.get("similarity", "dot")
    queries, keys, values = (_projected(w, a, f"{letter}_proj", x).chunk(a["num_heads"], -1) for letter in letters)
    if a.get("positions") == "rotary":
        queries, keys = ([_turned(of_head) for of_head in part] for part in (queries, keys))
    if (summed := SUMMED.get(a.get("attention", "softmax"))) is not None:
        parts = (torch.stack(part, 1) for part in (queries, keys, values))
        heads = summed(w.of("summed"), a, *parts, torch.tensor([[*steps]])).unbind(1)
        return w.dropout("out_dropout", w.linear("out_proj", torch.cat(heads, -1)), rate)
    scores = [SIMILARITIES[similarity](q, k) / math.sqrt(q.shape[-1]) for q, k in zip(queries, keys, strict=True)]
    weights = [_weights(a, of_head, visible) for of_head in scores]
    dropped = w.dropout("weights_dropout", torch.stack(weights, 1), rate).unbind(1)
    heads = [of_head @ v for of_head, v in zip(dropped, values, strict=True)]
    return w.dropout("out_dropout", w.linear("out_proj", torch.cat(heads, -1)), rate)


def _projected(w: Weights, a: Arguments, name: str, x: Tensor) -> Tensor:
    if (made := PROJECTED.get(a.get("projection", "linear"))) is not None:
        return made(w.of(name), a, x)
    return w.linear(name, x)


def nonlinear_projection(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """GELU by tanh of a linear map."""
    return _gelu(w.linear("in_proj", x))


def mlp_projection(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Linear, GELU by tanh, linear."""
    return w.linear("last_proj", _gelu(w.linear("in_proj", x)))


PROJECTED = {"nonlinear": nonlinear_projection, "mlp": mlp_projection}


def attention_free(
    w: Weights, a: Arguments, queries: Tensor, keys: Tensor, values: Tensor, positions: Tensor
) -> Tensor:
    """One query at a time: sigmoid(q) times a softmax of k + w over the keys so far, in each dimension by itself."""
    biases = w["pair_embedding.weight"]
    return _free(queries, keys, values, lambda t: biases[t, : t + 1])


def attention_free_simple(
    w: Weights, a: Arguments, queries: Tensor, keys: Tensor, values: Tensor, positions: Tensor
) -> Tensor:
    """The same with w = 0."""
    return _free(queries, keys, values, lambda t: torch.zeros(t + 1, dtype=keys.dtype))


def _free(queries: Tensor, keys: Tensor, values: Tensor, biases: Callable[[int], Tensor]) -> Tensor:
    found = []
    for t in range(queries.shape[2]):
        weights = torch.softmax(keys[:, :, : t + 1] + biases(t)[:, None], 2)
        found.append((weights * values[:, :, : t + 1]).sum(2) / (1 + torch.exp(-queries[:, :, t])))
    return torch.stack(found, 2)


def random_feature_attention(
    w: Weights, a: Arguments, queries: Tensor, keys: Tensor, values: Tensor, positions: Tensor
) -> Tensor:
    """The kernel of every query and key as a matrix, with the keys to come cut off."""
    width = keys.shape[-1]
    directions = torch.from_numpy(orthogonal_directions(4 * width, width))
    q, k = (_features(part / width**0.25, directions) for part in (queries, keys))
    kernel = torch.tril((q[:, :, :, None] * k[:, :, None]).sum(-1))
    return (kernel / kernel.sum(-1, keepdim=True)) @ values


def _features(x: Tensor, directions: Tensor) -> Tensor:
    """exp(w x - x^2 / 2), which is exp((w^2 - |x - w|^2) / 2)."""
    distances = ((x[..., None, :] - directions) ** 2).sum(-1)
    return torch.exp((directions**2).sum(-1) / 2 - distances / 2) + 1e-6


SUMMED = {
    "attention_free": attention_free,
    "attention_free_simple": attention_free_simple,
    "random_features": random_feature_attention,
}


def _dot(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT


def _cosine(q: Tensor, k: Tensor) -> Tensor:
    """q k / (|q| |k|)."""
    lengths = [torch.sqrt((part * part).sum(-1) + 1e-12) for part in (q, k)]
    return q @ k.mT / (lengths[0][:, :, None] * lengths[1][:, None])


def _distance(q: Tensor, k: Tensor) -> Tensor:
    """2 q k - |q|^2 - |k|^2, which is -|q - k|^2."""
    return 2 * q @ k.mT - (q * q).sum(-1)[:, :, None] - (k * k).sum(-1)[:, None]


def _additive(q: Tensor, k: Tensor) -> Tensor:
    """The sum of tanh(q + k), one query at a time."""
    return torch.stack([torch.tanh(q[:, t, None] + k).sum(-1) for t in range(q.shape[1])], 1)


SIMILARITIES = {"dot": _dot, "cosine": _cosine, "distance": _distance, "additive": _additive}


def _turned(x: Tensor) -> Tensor:
    """Pairs of numbers as complex ones, times e^(i p / 10000^(2n / d))."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    angles = _angles(x.shape[1], x.shape[2])
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def _angles(steps: int, width: int) -> Tensor:
    """p / 10000^(2n / width) of position p and pair n."""
    rates = [10_000 ** (-2 * n / width) for n in range((width + 1) // 2)]
    return torch.tensor([[p * rate for rate in rates] for p in range(steps)], dtype=torch.float64)


def _sinusoids(steps: int, width: int) -> Tensor:
    """The sine and the cosine of each angle, in turn, with a mean square of 0.02^2."""
    angles = _angles(steps, width)
    return 0.02 * math.sqrt(2) * torch.stack((torch.sin(angles), torch.cos(angles)), -1).flatten(-2)[:, :width]


def _weights(a: Arguments, scores: Tensor, visible: Tensor) -> Tensor:
    if a.get("attention") == "zeroed":
        return visible_softmax(scores, None, -1) * visible
    return visible_softmax(scores, visible, -1)


def feed_forward(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Linear, x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), Linear, dropout."""
    return w.dropout("out_dropout", w.linear("out_proj", _gelu(w.linear("in_proj", x))), a["dropout"])


def _gelu(x: Tensor) -> Tensor:
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gpt_block(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """y = x + attention(norm(x)), y + feed_forward(norm(y))."""
    x = x + causal_self_attention(w.of("causal_attention"), a, layer_norm(w.of("attention_norm"), {}, x))
    return x + feed_forward(w.of("feed_forward"), a, layer_norm(w.of("feed_forward_norm"), {}, x))


def gpt(w: Weights, a: Arguments, inputs: Tensor) -> Tensor:
    """Token t plus position t, dropout, blocks, norm; logits by the table of the tokens, or by one of their own."""
    x, kind = normal_embedding(w.of("token_embedding"), {}, inputs), a.get("positions", "learned")
    if kind == "learned":
        x = x + w["position_embedding.weight"][: inputs.shape[1]]
    if kind == "sinusoidal":
        x = x + _sinusoids(inputs.shape[1], x.shape[-1])
    x = w.dropout("dropout", x, a["dropout"])
    for number in range(a["num_layers"]):
        x = gpt_block(w.of(f"blocks.{number}"), a, x)
    head = w["token_embedding.weight" if a.get("tied", True) else "lm_head.weight"]
    return torch.einsum("bte,ve->btv", layer_norm(w.of("norm"), {}, x), head)
