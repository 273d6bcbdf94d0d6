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


def causal_self_attention(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Query t reads keys 0 to t; the zeroed variant takes the softmax over all keys first."""
    steps, rate = range(x.shape[1]), a["dropout"]
    visible = torch.tensor([[s <= t for s in steps] for t in steps])
    projected = [w.linear(name, x).chunk(a["num_heads"], -1) for name in ("q_proj", "k_proj", "v_proj")]
    weights = [_weights(a, q @ k.mT / math.sqrt(q.shape[-1]), visible) for q, k, _ in zip(*projected, strict=True)]
    dropped = w.dropout("weights_dropout", torch.stack(weights, 1), rate).unbind(1)
    heads = [of_head @ v for of_head, v in zip(dropped, projected[2], strict=True)]
    return w.dropout("out_dropout", w.linear("out_proj", torch.cat(heads, -1)), rate)


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
    x = normal_embedding(w.of("token_embedding"), {}, inputs) + w["position_embedding.weight"][: inputs.shape[1]]
    x = w.dropout("dropout", x, a["dropout"])
    for number in range(a["num_layers"]):
        x = gpt_block(w.of(f"blocks.{number}"), a, x)
    head = w["token_embedding.weight" if a.get("tied", True) else "lm_head.weight"]
    return torch.einsum("bte,ve->btv", layer_norm(w.of("norm"), {}, x), head)
