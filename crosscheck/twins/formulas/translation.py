"""Formulas of translation: one word, one letter and one head at a time."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from crosscheck.twins.formulas.attention import one_head, visible_softmax
from crosscheck.twins.formulas.gpt import normal_embedding
from crosscheck.twins.formulas.layers import Arguments, layer_norm
from crosscheck.twins.formulas.weights import Weights


def reset_before_gru_cell(w: Weights, a: Arguments, x: Tensor, h: Tensor) -> Tensor:
    """r, z = s(W_i x + b + W_h h), n = tanh(W_in x + b_n + W_hn (r h)), h' = h + z (n - h)."""
    x_r, x_z, x_n = w.linear("input_proj", x).chunk(3, -1)
    W_r, W_z = w["hidden_gates"].chunk(2)
    r, z = torch.sigmoid(x_r + h @ W_r.T), torch.sigmoid(x_z + h @ W_z.T)
    return h + z * (torch.tanh(x_n + (r * h) @ w["hidden_candidate"].T) - h)


def additive_attention(
    w: Weights, a: Arguments, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """score_s = V max(0, W_q q + W_k k_s + b) + b', one key at a time."""
    of_query, of_key = w["W.weight"].chunk(2, -1)
    seen = queries @ of_query.T + w["W.bias"]
    scores = [w.linear("V", (seen + key @ of_key.T).clamp(min=0))[..., 0] for key in keys.unbind(1)]
    weights = visible_softmax(torch.stack(scores, 1), mask, 1)
    return (weights[..., None] * values).sum(1, keepdim=True), weights[..., None]


def scaled_dot_attention(
    w: Weights, a: Arguments, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(H)) V over the visible keys."""
    queries = queries.reshape(len(keys), -1, keys.shape[-1])
    return _attended(w, queries, keys, values, None if mask is None else mask[:, None])


def causal_scaled_dot_attention(
    w: Weights, a: Arguments, queries: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Query k reads keys 0 to k."""
    return _attended(w, queries, keys, values, _past(queries.shape[1], keys.shape[1]))


def _attended(w: Weights, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    q, k, v = w.linear("q_proj", queries), w.linear("k_proj", keys), w.linear("v_proj", values)
    weights = visible_softmax(q @ k.mT / math.sqrt(q.shape[-1]), mask, -1)
    return weights @ v, weights


def _past(queries: int, keys: int) -> Tensor:
    return torch.tensor([[s <= t for s in range(keys)] for t in range(queries)])[None]


def sinusoidal_positions(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """x_t + p_t, p_t = sin(t / 10000^(i/E)) at even i, cos(t / 10000^((i-1)/E)) at odd i."""
    steps, width = x.shape[1:]
    rows = [
        [(math.cos if i % 2 else math.sin)(t / 10000 ** ((i - i % 2) / width)) for i in range(width)]
        for t in range(steps)
    ]
    return x + torch.tensor(rows, dtype=x.dtype)


def gru_encoder(w: Weights, a: Arguments, source: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Each word's own letters alone; behind them annotations of 0."""
    letters, size = normal_embedding(w.of("characters"), {}, source), a["hidden_size"]
    words, finals = [], []
    for row, length in zip(letters, source_mask.sum(1).tolist(), strict=True):
        states = _read(w.of("cell"), row[:length, None], letters.new_zeros(1, size))
        words.append(torch.cat([*states, letters.new_zeros(len(row) - length, size)]))
        finals.append(states[-1] if states else letters.new_zeros(1, size))
    return torch.stack(words), torch.cat(finals)


def _read(w: Weights, x: Tensor, h: Tensor) -> list[Tensor]:
    states: list[Tensor] = []
    for letter in x:
        states.append(reset_before_gru_cell(w, {}, letter, states[-1] if states else h))
    return states


def rnn_decoder(
    w: Weights, a: Arguments, targets: Tensor, annotations: Tensor, source_mask: Tensor, hidden: Tensor
) -> tuple[Tensor, None]:
    """Letter after letter from the encoder's state."""
    letters = normal_embedding(w.of("characters"), {}, targets)
    states = _read(w.of("cell"), letters.transpose(0, 1), hidden)
    return w.linear("out", torch.stack(states, 1)), None


def rnn_attention_decoder(
    w: Weights, a: Arguments, targets: Tensor, annotations: Tensor, source_mask: Tensor, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """h_t = cell([letter_t; context of h_(t-1)], h_(t-1))."""
    attention = additive_attention if a.get("attention_type") == "additive" else scaled_dot_attention
    letters, logits, seen = normal_embedding(w.of("characters"), {}, targets), [], []
    for letter in letters.unbind(1):
        context, weights = attention(w.of("attention"), {}, hidden, annotations, annotations, source_mask)
        hidden = reset_before_gru_cell(w.of("cell"), {}, torch.cat([letter, context[:, 0]], -1), hidden)
        logits.append(w.linear("out", hidden))
        seen.append(weights.flatten(1))
    return torch.stack(logits, 1), torch.stack(seen, 1)


def transformer_encoder(w: Weights, a: Arguments, source: Tensor, source_mask: Tensor) -> tuple[Tensor, None]:
    """a = x + attention(x), x = a + max(0, W a + b)."""
    x = sinusoidal_positions(w, {}, normal_embedding(w.of("characters"), {}, source))
    for layer in range(a["num_layers"]):
        x = x + scaled_dot_attention(w.of(f"attentions.{layer}"), {}, x, x, x, source_mask)[0]
        x = x + w.linear(f"feed_forwards.{layer}", x).clamp(min=0)
    return x, None


def transformer_decoder(
    w: Weights, a: Arguments, targets: Tensor, annotations: Tensor, source_mask: Tensor, hidden: None = None
) -> tuple[Tensor, Tensor]:
    """Causal attention, attention over the annotations, max(0, W a + b), each added."""
    x = sinusoidal_positions(w, {}, normal_embedding(w.of("characters"), {}, targets))
    for layer in range(a["num_layers"]):
        x = x + causal_scaled_dot_attention(w.of(f"self_attentions.{layer}"), {}, x, x, x)[0]
        of_layer = w.of(f"encoder_attentions.{layer}")
        context, weights = scaled_dot_attention(of_layer, {}, x, annotations, annotations, source_mask)
        x = x + context
        x = x + w.linear(f"feed_forwards.{layer}", x).clamp(min=0)
    return w.linear("out", x), weights


def decoder_only_translator(w: Weights, a: Arguments, ids: Tensor) -> Tensor:
    """As the decoder, without annotations."""
    x = sinusoidal_positions(w, {}, normal_embedding(w.of("characters"), {}, ids))
    for layer in range(a["num_layers"]):
        x = x + causal_scaled_dot_attention(w.of(f"self_attentions.{layer}"), {}, x, x, x)[0]
        x = x + w.linear(f"feed_forwards.{layer}", x).clamp(min=0)
    return w.linear("out", x)


def post_norm_feed_forward(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """norm(x + dropout(W' max(0, W x + b) + b'))."""
    hidden = w.linear("out_proj", w.linear("in_proj", x).clamp(min=0))
    return layer_norm(w.of("norm"), {}, x + w.dropout("dropout", hidden, a.get("dropout", 0.0)))


def post_norm_encoder(w: Weights, a: Arguments, x: Tensor, source_mask: Tensor) -> Tensor:
    """x = norm(x + dropout(heads(x))), then the feed-forward layer; a norm in the end."""
    for layer in range(a["num_layers"]):
        attended, _ = _heads(w.of(f"self_attentions.{layer}"), a, x, x, source_mask[:, None])
        x = layer_norm(w.of(f"norms.{layer}"), {}, x + w.dropout(f"dropouts.{layer}", attended, a["dropout"]))
        x = post_norm_feed_forward(w.of(f"feed_forwards.{layer}"), a, x)
    return layer_norm(w.of("last_norm"), {}, x)


def post_norm_decoder(
    w: Weights, a: Arguments, x: Tensor, memory: Tensor, source_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """The same with heads over the past, then heads over the memory."""
    past, rate = _past(x.shape[1], x.shape[1]), a["dropout"]
    for layer in range(a["num_layers"]):
        seen, _ = _heads(w.of(f"self_attentions.{layer}"), a, x, x, past)
        x = layer_norm(w.of(f"self_norms.{layer}"), {}, x + w.dropout(f"self_dropouts.{layer}", seen, rate))
        context, weights = _heads(w.of(f"cross_attentions.{layer}"), a, x, memory, source_mask[:, None])
        x = layer_norm(w.of(f"cross_norms.{layer}"), {}, x + w.dropout(f"cross_dropouts.{layer}", context, rate))
        x = post_norm_feed_forward(w.of(f"feed_forwards.{layer}"), a, x)
    return layer_norm(w.of("last_norm"), {}, x), weights


def _heads(w: Weights, a: Arguments, x: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    projected = (w.linear("q_proj", x), w.linear("k_proj", memory), w.linear("v_proj", memory))
    heads = list(zip(*(each.chunk(a["num_heads"], -1) for each in projected), strict=True))
    attended = [one_head(q, k, v, mask) for q, k, v in heads]
    weights = [visible_softmax(q @ k.mT / math.sqrt(q.shape[-1]), mask, -1) for q, k, _ in heads]
    return w.linear("out_proj", torch.cat(attended, -1)), torch.stack(weights, 1)


def post_norm_transformer(w: Weights, a: Arguments, source: Tensor, target: Tensor, source_mask: Tensor) -> Tensor:
    """The decoder over the encoder's outputs."""
    memory = post_norm_encoder(w.of("encoder"), a, source, source_mask)
    return post_norm_decoder(w.of("decoder"), a, target, memory, source_mask)[0]


def positioned_letters(w: Weights, a: Arguments, ids: Tensor) -> Tensor:
    """sqrt(E) times the letter's vector, plus the position's, dropout."""
    vectors = normal_embedding(w.of("characters"), {}, ids)
    return w.dropout("dropout", sinusoidal_positions(w, {}, vectors * vectors.shape[-1] ** 0.5), a.get("dropout", 0.0))


def multi_headed_encoder(w: Weights, a: Arguments, source: Tensor, source_mask: Tensor) -> tuple[Tensor, None]:
    """Positioned letters through the encoder."""
    return post_norm_encoder(w.of("layers"), a, positioned_letters(w.of("letters"), a, source), source_mask), None


def multi_headed_decoder(
    w: Weights, a: Arguments, targets: Tensor, annotations: Tensor, source_mask: Tensor, hidden: None = None
) -> tuple[Tensor, Tensor]:
    """Positioned letters through the decoder, and the mean of its heads' weights."""
    letters = positioned_letters(w.of("letters"), a, targets)
    x, weights = post_norm_decoder(w.of("layers"), a, letters, annotations, source_mask)
    return w.linear("out", x), weights.mean(1)


def translator(w: Weights, a: Arguments, source: Tensor, source_mask: Tensor, targets: Tensor) -> Tensor:
    """The decoder of an architecture over its encoder."""
    encode, decode = PAIRS[a["architecture"]]
    annotations, hidden = encode(w.of("encoder"), a, source, source_mask)
    given = {**a, "attention_type": a["architecture"]}
    logits, _ = decode(w.of("decoder"), given, targets, annotations, source_mask, hidden)
    return logits


PAIRS: dict[str, Sequence] = {
    "plain": (gru_encoder, rnn_decoder),
    "additive": (gru_encoder, rnn_attention_decoder),
    "scaled_dot": (gru_encoder, rnn_attention_decoder),
    "transformer": (transformer_encoder, transformer_decoder),
    "multi_headed": (multi_headed_encoder, multi_headed_decoder),
}
