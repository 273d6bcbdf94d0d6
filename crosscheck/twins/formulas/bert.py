"""Formulas of pretrained encoders and of BERT: one head, one activation and one layer at a time."""

import math

import torch
from torch import Tensor

from crosscheck.twins.formulas.attention import visible_softmax
from crosscheck.twins.formulas.gpt import normal_embedding
from crosscheck.twins.formulas.layers import Arguments, layer_norm
from crosscheck.twins.formulas.weights import Weights

CURVES = {  # the activations by their names in configs
    "gelu": lambda x: x * torch.special.ndtr(x),
    "gelu_new": lambda x: x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_fast": lambda x: x / (1 + torch.exp(-2 * 0.7978845608 * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "tanh": lambda x: 1 - 2 / (torch.exp(2 * x) + 1),
}


def self_attention(w: Weights, a: Arguments, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Every head with its own columns of the projections; the outputs, and the weights before dropout."""
    heads, (batch_size, steps, _) = a["num_heads"], x.shape
    if mask is not None:
        mask = (mask[:, None, None] if mask.ndim == 2 else mask).expand(batch_size, heads, steps, steps)
    projected = [w.linear(name, x).chunk(heads, -1) for name in ("q_proj", "k_proj", "v_proj")]
    weights = torch.stack(
        [
            visible_softmax(q @ k.mT / math.sqrt(q.shape[-1]), None if mask is None else mask[:, head], -1)
            for head, (q, k, _) in enumerate(zip(*projected, strict=True))
        ],
        1,
    )
    dropped = w.dropout("weights_dropout", weights, a["attention_dropout"]).unbind(1)
    read = torch.cat([of_head @ v for of_head, v in zip(dropped, projected[2], strict=True)], -1)
    return w.linear("out_proj", read), weights


def activated_mlp(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """Linear, the activation, Linear."""
    return w.linear("out_proj", CURVES[a.get("activation", "gelu")](w.linear("in_proj", x)))


def post_norm_layer(w: Weights, a: Arguments, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y = norm(x + attention(x)), norm(y + mlp(y)), dropout before each sum."""
    attended, weights = self_attention(w.of("self_attention"), a, x, mask)
    x = layer_norm(w.of("attention_norm"), a, x + w.dropout("attention_dropout", attended, a["dropout"]))
    written = w.dropout("mlp_dropout", activated_mlp(w.of("activated_mlp"), a, x), a["dropout"])
    return layer_norm(w.of("mlp_norm"), a, x + written), weights


def pre_norm_layer(w: Weights, a: Arguments, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y = x + attention(norm(x)), y + mlp(norm(y))."""
    attended, weights = self_attention(w.of("self_attention"), a, layer_norm(w.of("attention_norm"), a, x), mask)
    x = x + attended
    return x + activated_mlp(w.of("activated_mlp"), a, layer_norm(w.of("mlp_norm"), a, x)), weights


def bert_embeddings(w: Weights, a: Arguments, inputs: Tensor, token_types: Tensor | None = None) -> Tensor:
    """Token, its type and its position, norm, dropout; the vectors of padding are constants."""
    padding = a.get("padding_idx", 0)
    is_padding = (inputs == padding)[..., None]
    tokens = normal_embedding(w.of("token_embedding"), {}, inputs)
    x = torch.where(is_padding, tokens.detach(), tokens)
    if a["token_types"]:
        types = torch.zeros_like(inputs) if token_types is None else token_types
        x = x + normal_embedding(w.of("token_type_embedding"), {}, types)
    x = x + _positions(w["position_embedding.weight"], a, inputs, padding)
    return w.dropout("dropout", layer_norm(w.of("norm"), a, x), a["dropout"])


def _positions(table: Tensor, a: Arguments, inputs: Tensor, padding: int) -> Tensor:
    if a.get("positions", "absolute") == "absolute":
        return table[: inputs.shape[1]]
    rows = []
    for row in inputs.tolist():
        counted, vectors = padding, []
        for token in row:
            counted += token != padding
            vectors.append(table[padding].detach() if token == padding else table[counted])
        rows.append(torch.stack(vectors))
    return torch.stack(rows)


def bert_model(
    w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None, token_types: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The last states, and a curve of a linear map of the first of them, or that one itself."""
    x = bert_embeddings(w.of("embeddings"), a, inputs, token_types)
    for number in range(a["num_layers"]):
        x, _ = post_norm_layer(w.of(f"layers.{number}"), a, x, mask)
    if not a.get("pooler", True):
        return x, x[:, 0]
    first = w.dropout("pooler_dropout", x[:, 0], _head_dropout(a) if a.get("dropout_before_pooler") else 0.0)
    return x, CURVES[a.get("pooler_activation", "tanh")](w.linear("pooler", first))


def bert_for_sentence_classification(w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """A linear map of the pooled output, after dropout."""
    return w.linear("head", w.dropout("dropout", bert_model(w.of("bert"), a, inputs, mask)[1], _head_dropout(a)))


def _head_dropout(a: Arguments) -> float:
    return a.get("classifier_dropout", a["dropout"])


def bert_for_masked_lm(
    w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None, token_types: Tensor | None = None
) -> Tensor:
    """Linear, activation, norm; then the product with every row of the table of tokens, plus a bias of each."""
    x, _ = bert_model(w.of("bert"), a, inputs, mask, token_types)
    curve = a.get("head_activation") or a.get("activation", "gelu")
    x = layer_norm(w.of("head_norm"), a, CURVES[curve](w.linear("head", x)))
    return torch.einsum("bte,ve->btv", x, w["bert.embeddings.token_embedding.weight"]) + w["head_bias"]
