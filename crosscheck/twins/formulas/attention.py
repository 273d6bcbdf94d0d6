"""Formulas of attention, one head and one step at a time."""

import math

import torch
from torch import Tensor

from crosscheck.twins.formulas.layers import Arguments, layer_norm
from crosscheck.twins.formulas.weights import Weights


def pairwise_similarities(w: Weights, a: Arguments, Q: Tensor, K: Tensor) -> Tensor:
    """A_ts = sum over d of Q_td K_sd."""
    return (Q[:, :, None] * K[:, None]).sum(-1)


def attn_scaled(w: Weights, a: Arguments, A: Tensor) -> Tensor:
    """A / sqrt(d), d = n_embd / n_heads."""
    return A * (a["n_embd"] // a["n_heads"]) ** -0.5


def attn_softmax(w: Weights, a: Arguments, A: Tensor) -> Tensor:
    """exp(A_ts) / sum over s of exp(A_ts)."""
    return visible_softmax(A, None, -1)


def compute_outputs(w: Weights, a: Arguments, A: Tensor, V: Tensor) -> Tensor:
    """sum over s of A_ts V_s."""
    return (A[..., None] * V[:, None]).sum(2)


def make_causal_mask(w: Weights, a: Arguments) -> Tensor:
    """True where s <= t."""
    return torch.tensor([[s <= t for s in range(a["n_tok"])] for t in range(a["n_tok"])])


def apply_causal_mask(w: Weights, a: Arguments, mask: Tensor, A: Tensor) -> Tensor:
    """-inf where the mask is 0."""
    return A.masked_fill(mask == 0, -math.inf)


def masked_softmax(w: Weights, a: Arguments, scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """The softmax over `axis` of what the mask does not hide."""
    return visible_softmax(scores, mask, a["axis"])


def split_heads(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Head k is the k-th slice of the width."""
    return torch.stack(x.chunk(a["n_heads"], -1), 1)


def merge_heads(w: Weights, a: Arguments, y: Tensor) -> Tensor:
    """The heads, one after the other."""
    return torch.cat(y.unbind(1), -1)


def split_heads_qkv(w: Weights, a: Arguments, Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, ...]:
    """Each of the three split alike."""
    return tuple(split_heads(w, a, x) for x in (Q, K, V))


def self_attention(w: Weights, a: Arguments, Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """One head at a time; a causal query sees its own key and those before."""
    visible = torch.ones(Q.shape[1], Q.shape[1]).tril() if a.get("causal", True) else None
    heads = zip(*(x.chunk(a.get("n_heads", 1), -1) for x in (Q, K, V)), strict=True)
    return torch.cat([one_head(*head, visible) for head in heads], -1)


def soft_attention(
    w: Weights, a: Arguments, inputs: Tensor, hidden_states: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """score_t = sum of V tanh(W_x x_t + W_h h + b) + b', h the last layer's state; dropout on the weights alone."""
    of_inputs, of_state = w["W.weight"].chunk(2, -1)
    state = hidden_states[-1] @ of_state.T + w["W.bias"]
    energy = torch.stack([torch.tanh(x @ of_inputs.T + state) for x in inputs.unbind(1)], 1)
    scores = energy @ w["V.weight"].sum(0) + w["V.bias"].sum()
    weights = visible_softmax(scores, mask, 1)[..., None]
    outputs = inputs * w.dropout("dropout", weights, a.get("dropout", 0.0))
    return outputs.sum(1) if a.get("pooling", "none") == "context" else outputs, weights


def multi_headed_attention(w: Weights, a: Arguments, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """Every head with its own rows of the projections; the mask hides keys, or is of each head and query."""
    heads, (batch_size, steps, _) = a["num_heads"], hidden_states.shape
    if mask is not None:
        mask = mask[:, None, None] if mask.ndim == 2 else mask
        mask = mask.expand(batch_size, heads, steps, steps)
    projected = [w.linear(name, hidden_states).chunk(heads, -1) for name in ("q_proj", "k_proj", "v_proj")]
    of_heads = [
        one_head(q, k, v, None if mask is None else mask[:, head])
        for head, (q, k, v) in enumerate(zip(*projected, strict=True))
    ]
    return w.linear("out_proj", torch.cat(of_heads, -1))


def relative_attention(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Query by query: its scores against all keys, plus p of how far it is behind each; weights of -inf are 0."""
    queries, keys, values = (w.linear(name, x) for name in ("q_proj", "k_proj", "v_proj"))
    middle, steps, outputs = a["sequence_length"] - 1, x.shape[1], []
    for i in range(steps):
        p = torch.stack([w["positions"][middle + i - j] for j in range(steps)])
        scores = (keys * queries[:, i, None]).sum(-1) / math.sqrt(a["head_size"]) + p
        weights = visible_softmax(scores, torch.isfinite(p)[None], -1)
        outputs.append((weights[..., None] * values).sum(1))
    return torch.stack(outputs, 1)


def mlp(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Linear, GELU(x) = x Phi(x), dropout, Linear, dropout."""
    hidden = w.linear("in_proj", x)
    hidden = w.dropout("in_dropout", hidden * torch.special.ndtr(hidden), a.get("dropout", 0.0))
    return w.dropout("out_dropout", w.linear("out_proj", hidden), a.get("dropout", 0.0))


def pre_norm_block(w: Weights, a: Arguments, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """y = x + attention(norm(x)), y + mlp(norm(y))."""
    x = x + multi_headed_attention(w.of("attention"), a, layer_norm(w.of("attention_norm"), {}, x), mask)
    return x + mlp(w.of("mlp"), a, layer_norm(w.of("mlp_norm"), {}, x))


def post_norm_block(w: Weights, a: Arguments, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """y = norm(x + attention(x)), norm(y + mlp(y))."""
    x = layer_norm(w.of("attention_norm"), {}, x + multi_headed_attention(w.of("attention"), a, x, mask))
    return layer_norm(w.of("mlp_norm"), {}, x + mlp(w.of("mlp"), a, x))


def one_head(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V."""
    return visible_softmax(q @ k.mT / math.sqrt(q.shape[-1]), mask, -1) @ v


def visible_softmax(scores: Tensor, mask: Tensor | None, axis: int) -> Tensor:
    """exp(x) / sum exp(x) over the scores whose mask is not 0, and 0 for the others, also where all are hidden."""
    hidden = torch.zeros_like(scores, dtype=torch.bool) if mask is None else (mask == 0).expand_as(scores)
    largest = scores.detach().masked_fill(hidden, torch.finfo(scores.dtype).min).amax(axis, keepdim=True)
    powers = torch.exp((scores - largest).masked_fill(hidden, -math.inf))
    total = powers.sum(axis, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)
