"""Formulas of whole models."""

import torch
from torch import Tensor

from crosscheck.twins.formulas.attention import post_norm_block, pre_norm_block
from crosscheck.twins.formulas.layers import Arguments, embedding, layer_norm, positions
from crosscheck.twins.formulas.recurrent import decoder, encoder
from crosscheck.twins.formulas.weights import Weights

BLOCKS = {"prenorm": pre_norm_block, "postnorm": post_norm_block}


def encoder_decoder(
    w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The output at position 0 and the final states."""
    x, h = encoder(w.of("encoder"), a, inputs, None, lengths)
    if not a.get("encoder_only", False):
        x, h = decoder(w.of("decoder"), a, x, h, mask, lengths)
    return x[:, 0], h


def transformer(w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """CLS token and tokens, plus positions, dropout, blocks in which every query sees CLS, the norm of position 0."""
    x = torch.stack([torch.cat([w["cls_token"][0], row]) for row in embedding(w.of("embedding"), {}, inputs)])
    x = w.dropout("dropout", positions(w.of("positions"), a, x), a.get("dropout", 0.3))
    if mask is not None:
        mask = torch.nn.functional.pad(mask != 0, (1, 0), value=True)
    for number in range(a.get("num_layers", 2)):
        x = BLOCKS[a.get("block", "prenorm")](w.of(f"blocks.{number}"), a, x, mask)
    return layer_norm(w.of("norm"), {}, x[:, 0])


def review_classifier_gru(
    w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None, lengths: Tensor | None = None
) -> Tensor:
    """A linear map of the output at position 0."""
    return w.linear("classifier", encoder_decoder(w.of("encoder_decoder"), a, inputs, mask, lengths)[0])


def review_classifier_transformer(w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """A linear map of the CLS token's output."""
    return w.linear("classifier", transformer(w.of("transformer"), a, inputs, mask))
