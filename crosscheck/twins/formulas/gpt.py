"""Formulas of GPT: one head, one query and one layer at a time."""

import math

import torch
from torch import Tensor

from crosscheck.twins.formulas.attention import visible_softmax
from crosscheck.twins.formulas.layers import Arguments, layer_norm
from crosscheck.twins.formulas.weights import Weights


def normal_embedding(w: Weights, a: Arguments, ids: Tensor) -> Tensor:
    """Row `ids` of the table."""
    return torch.nn.functional.one_hot(ids, len(w["weight"])).to(w["weight"].dtype) @ w["weight"]


PROJECTIONS = {"none": "qkv", "kv": "qkk", "qk": "qqv", "qkv": "qqq"}  # that give queries, keys and values


def causal_self_attention(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Query t reads keys 0 to t; the zeroed variant takes the softmax over all keys first."""
    steps, rate = range(x.shape[1]), a["dropout"]
    visible = torch.tensor([[s <= t for s in steps] for t in steps])
    letters, similarity = PROJECTIONS[a.get("shared", "none")], a.get("similarity", "dot")
    queries, keys, values = (w.linear(f"{letter}_proj", x).chunk(a["num_heads"], -1) for letter in letters)
    if a.get("positions") == "rotary":
        queries, keys = ([_turned(of_head) for of_head in part] for part in (queries, keys))
    scores = [SIMILARITIES[similarity](q, k) / math.sqrt(q.shape[-1]) for q, k in zip(queries, keys, strict=True)]
    weights = [_weights(a, of_head, visible) for of_head in scores]
    dropped = w.dropout("weights_dropout", torch.stack(weights, 1), rate).unbind(1)
    heads = [of_head @ v for of_head, v in zip(dropped, values, strict=True)]
    return w.dropout("out_dropout", w.linear("out_proj", torch.cat(heads, -1)), rate)


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
    """The sine and the cosine of each angle, in turn."""
    angles = _angles(steps, width)
    return torch.stack((torch.sin(angles), torch.cos(angles)), -1).flatten(-2)[:, :width]


def _weights(a: Arguments, scores: Tensor, visible: Tensor) -> Tensor:
    if a.get("attention") == "zeroed":
        return visible_softmax(scores, None, -1) * visible
    return visible_softmax(scores, visible, -1)


def feed_forward(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Linear, x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), Linear, dropout."""
    x = w.linear("in_proj", x)
    x = x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return w.dropout("out_dropout", w.linear("out_proj", x), a["dropout"])


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
