"""Every layer and model against its formula, rewritten with torch's own operations, dropout included.

Agreement between twins can't reveal a mistake made twice; here each is compared with an independent implementation.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import crosscheck
from crosscheck import criterion
from crosscheck.recording.nesting import flatten
from crosscheck.twins.oracles import REFERENCES
from shared import rng
from shared.foreign_layouts import to_foreign
from shared.registry import TWINS
from torch_impl import seed_dropout
from torch_impl.weights import to_arrays

KEY, RATE = (1, 2), 0.3


class Weights:
    """The weights of one module by short names, and its dropout, which is the identity in eval mode."""

    def __init__(self, arrays: dict, train: bool, prefix: str = ""):
        self.arrays, self.train, self.prefix = arrays, train, prefix

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[self.prefix + name])

    def of(self, name: str) -> "Weights":
        return Weights(self.arrays, self.train, f"{self.prefix}{name}.")

    def named(self) -> dict[str, np.ndarray]:
        return {n.removeprefix(self.prefix): a for n, a in self.arrays.items() if n.startswith(self.prefix)}

    def count(self, name: str) -> int:
        """The number of numbered modules below a name."""
        return len({key.split(".")[1] for key in self.named() if key.startswith(f"{name}.")})

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps=1e-5)

    def dropout(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if not self.train:
            return x
        bits = rng.random_bits(rng.fold_in_name(KEY, self.prefix + name), x.numel())
        uniform = ((bits >> 9) | 0x3F800000).view(np.float32) - np.float32(1)
        return x * torch.from_numpy((uniform < np.float32(1 - RATE)).reshape(x.shape)) / (1 - RATE)


def gru(w, inputs, hidden_states=None, lengths=None):
    both_ways = any("backward_cells" in name for name in w.named())
    hidden, layers = next(iter(w.named().values())).shape[0] // 3, w.count("forward_cells" if both_ways else "cells")
    layer = nn.GRU(inputs.shape[-1], hidden, layers, bidirectional=both_ways, batch_first=True, dtype=torch.float64)
    layout = "torch.nn.GRU(bidirectional=True)" if both_ways else "torch.nn.GRU"
    layer.load_state_dict({n: torch.from_numpy(a) for n, a in to_foreign(layout, w.named()).items()})
    if lengths is None:
        return layer(inputs, hidden_states)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    outputs, final = layer(packed, hidden_states)
    return nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0], final


def gru_cell(w, x, h):
    as_layer = Weights({f"cells.0.{name}": array for name, array in w.arrays.items()}, w.train)
    return gru(as_layer, x[:, None], h[None])[1][0]


def encoder(w, inputs, hidden_states=None, lengths=None):
    x = w.dropout("dropout", w["embedding.weight"][inputs])
    x, h = gru(w.of("rnn"), x, hidden_states, lengths)
    batch_size, steps, width = x.shape
    return x.view(batch_size, steps, 2, width // 2).sum(2), h.view(-1, 2, batch_size, width // 2).sum(1)


def soft_attention(w, inputs, hidden_states, mask=None, pooling="none"):
    last = hidden_states[-1].unsqueeze(1).repeat(1, inputs.shape[1], 1)
    scores = w.linear("V", torch.tanh(w.linear("W", torch.cat([inputs, last], 2)))).sum(2)
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), 1).unsqueeze(2)
    attended = inputs * w.dropout("dropout", weights)
    return attended.sum(1) if pooling == "context" else attended, weights


def decoder(w, inputs, hidden_states, mask=None, lengths=None):
    x = w.dropout("dropout", inputs)
    if any(name.startswith("attention.") for name in w.named()):
        attention = w.of("attention")
        x, _ = soft_attention(Weights(attention.arrays, False, attention.prefix), x, hidden_states, mask)  # rate 0
    return gru(w.of("rnn"), x, hidden_states, lengths)


def encoder_decoder(w, inputs, mask=None, lengths=None):
    x, h = encoder(w.of("encoder"), inputs, None, lengths)
    if any(name.startswith("decoder.") for name in w.named()):
        x, h = decoder(w.of("decoder"), x, h, mask, lengths)
    return x[:, 0], h


def review_classifier_gru(w, inputs, mask=None, lengths=None):
    return w.linear("classifier", encoder_decoder(w.of("encoder_decoder"), inputs, mask, lengths)[0])


def self_attention(w, x, mask, heads):
    batch_size, steps, width = x.shape
    q, k, v = (
        w.linear(f"{part}_proj", x).view(batch_size, steps, heads, width // heads).transpose(1, 2) for part in "qkv"
    )
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
    return w.linear("out_proj", attended.transpose(1, 2).reshape(x.shape))


def mlp(w, x):
    hidden = w.dropout("in_dropout", F.gelu(w.linear("in_proj", x), approximate="none"))
    return w.dropout("out_dropout", w.linear("out_proj", hidden))


def pre_norm(w, x, mask):
    x = x + self_attention(w.of("attention"), w.norm("attention_norm", x), mask, heads=3)
    return x + mlp(w.of("mlp"), w.norm("mlp_norm", x))


def post_norm(w, x, mask):
    x = w.norm("attention_norm", x + self_attention(w.of("attention"), x, mask, heads=3))
    return w.norm("mlp_norm", x + mlp(w.of("mlp"), x))


def transformer(w, inputs, mask, block=pre_norm):
    x = torch.cat([w["cls_token"].repeat(len(inputs), 1, 1), w["embedding.weight"][inputs]], 1)
    x = w.dropout("dropout", x + w["positions.weight"][:, : x.shape[1]])
    mask = F.pad(mask, (1, 0), value=True)
    for number in range(w.count("blocks")):
        x = block(w.of(f"blocks.{number}"), x, mask)
    return w.norm("norm", x)[:, 0]


def review_classifier_transformer(w, inputs, mask, block=pre_norm):
    return w.linear("classifier", transformer(w.of("transformer"), inputs, mask, block))


ORACLES = {
    "Linear": lambda w, inputs: F.linear(inputs, w["weight"], w["bias"]),
    "Embedding": lambda w, ids: w["weight"][ids],
    "LearnedPositions": lambda w, x: x + w["weight"][:, : x.shape[1]],
    "GRUCell": gru_cell,
    "Attn": soft_attention,
    "Attn:context": lambda w, **inputs: soft_attention(w, **inputs, pooling="context"),
    "Encoder": encoder,
    "Encoder:two_layers": encoder,
    "DecoderAttn": decoder,
    "DecoderAttn:no_attention": decoder,
    "MLP": mlp,
    "PreNormAttentionBlock": pre_norm,
    "PostNormAttentionBlock": post_norm,
    "EncoderDecoder": encoder_decoder,
    "Transformer": transformer,
    "Transformer:postnorm": lambda w, **inputs: transformer(w, **inputs, block=post_norm),
    "ReviewClassifierGRU": review_classifier_gru,
    "ReviewClassifierGRU:encoder_only": review_classifier_gru,
    "ReviewClassifierGRU:no_attention": review_classifier_gru,
    "ReviewClassifierTransformer": review_classifier_transformer,
    "ReviewClassifierTransformer:postnorm": lambda w, **i: review_classifier_transformer(w, **i, block=post_norm),
}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", ORACLES)
def test_a_twin_computes_its_formula(name, train):
    pair = crosscheck.build_pair(name)
    inputs = {key: torch.from_numpy(array) for key, array in pair.inputs.items()}
    seed_dropout(pair.torch.train(train), KEY)
    train = train and "dropout" in TWINS[name].arguments
    with torch.no_grad():
        found = dict(flatten(pair.torch(**inputs)))
        expected = dict(flatten(ORACLES[name](Weights(to_arrays(pair.torch), train), **inputs)))
    assert found.keys() == expected.keys()
    for key, output in expected.items():
        assert criterion.prove(output.numpy(), found[key].numpy(), 0.0).agrees, key


def test_every_class_has_an_oracle():
    classes = {name for name, twin in TWINS.items() if not twin.function}
    assert classes == ORACLES.keys() | {reference.twin for reference in REFERENCES}
