"""The step of a GPT that reads one token of each row, in as few calls as PyTorch allows: their overhead is its time.

JAX has no twin of this file: it compiles the step of models/gpt.py.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from torch_impl.dropout import Dropout
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.small_normal import NormalEmbedding, NormalLinear
from torch_impl.models.gpt import GPT, CausalSelfAttention, FeedForward, GPTBlock, KeysAndValues

# The layers of GPT-2; a model with others is read as it is written.
PLAIN = {
    GPT,
    GPTBlock,
    CausalSelfAttention,
    FeedForward,
    LayerNorm,
    NormalLinear,
    NormalEmbedding,
    Dropout,
    nn.ModuleList,
}


def can_pack(module: nn.Module) -> bool:
    """Whether a module is a GPT without ablations, whose layers are its own and have no hooks."""
    layers = list(module.modules())
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)
    return type(module) is GPT and module.config.is_gpt2 and {type(layer) for layer in layers} <= PLAIN and not hooked


class OneTokenStep:
    """Logits (B, V) after the tokens (B, L) up to positions (B,), of which the cache has all but the last.

    The last one's keys and values are put into the cache, as `advance` does, which gives the same to the rounding.
    Weights are packed once: a later change is not seen.
    """

    def __init__(self, gpt: GPT, cache: list[KeysAndValues]):
        head = gpt.token_embedding if gpt.lm_head is None else gpt.lm_head
        self.tokens, self.places, self.head = gpt.token_embedding.weight, gpt.position_embedding.weight, head.weight
        self.blocks = [PackedBlock(block, past) for block, past in zip(gpt.blocks, cache, strict=True)]
        self.norm = _formula(gpt.norm)
        keys, _ = cache[0]
        batch_size, num_heads, size, _ = keys.shape
        self.rows = torch.arange(batch_size, device=keys.device)
        self.row_of_each_head = self.rows.repeat_interleave(num_heads)
        self.masks = keys.new_full((size, size), -math.inf).triu(1)  # of each position

    def __call__(self, tokens: Int[Tensor, "B L"], positions: Int[Tensor, "B"]) -> Float[Tensor, "B V"]:
        ids = tokens.gather(1, positions[:, None])[:, 0]
        x = torch.embedding(self.tokens, ids) + torch.embedding(self.places, positions)
        mask = self.masks[positions[self.row_of_each_head], None]
        for block in self.blocks:
            x = block(x, (self.rows, positions), mask)
        return F.linear(torch.layer_norm(x, *self.norm), self.head)


class PackedBlock:
    """A block of a GPT with one product for queries, keys and values: x (B, E) -> (B, E)."""

    def __init__(self, block: GPTBlock, past: KeysAndValues):
        attention, feed_forward = block.causal_attention, block.feed_forward
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        weights, biases = zip(*map(_weights, projections), strict=True)
        self.norms = _formula(block.attention_norm), _formula(block.feed_forward_norm)
        self.project = torch.cat(weights), torch.cat(biases)
        self.others = [_weights(each) for each in (attention.out_proj, feed_forward.in_proj, feed_forward.out_proj)]
        self.past, self.flat = past, [each.flatten(0, 1) for each in past]

    def __call__(
        self, x: Float[Tensor, "B E"], places: tuple[Int[Tensor, "B"], Int[Tensor, "B"]], mask: Float[Tensor, "Bm 1 S"]
    ) -> Float[Tensor, "B E"]:
        before_attention, before_feed_forward = self.norms
        out, expand, contract = self.others
        x = x + F.linear(self.attend(torch.layer_norm(x, *before_attention), places, mask), *out)
        hidden = F.linear(torch.layer_norm(x, *before_feed_forward), *expand)
        return x + F.linear(F.gelu(hidden, approximate="tanh"), *contract)

    def attend(
        self, x: Float[Tensor, "B E"], places: tuple[Int[Tensor, "B"], Int[Tensor, "B"]], mask: Float[Tensor, "Bm 1 S"]
    ) -> Float[Tensor, "B E"]:
        """The values of each head, weighted by what the newest token attends to."""
        rows, positions = places
        batch_size, num_heads, _, width = self.past[0].shape
        queries, *fresh = F.linear(x, *self.project).view(batch_size, 3, num_heads, width).unbind(1)
        for past, new in zip(self.past, fresh, strict=True):
            past[rows, :, positions] = new
        keys, values = self.flat
        scores = torch.baddbmm(mask, queries.reshape(-1, 1, width), keys.mT, alpha=1 / math.sqrt(width))
        return torch.bmm(torch.softmax(scores, -1), values).view(batch_size, -1)


def _weights(layer: NormalLinear) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


def _formula(norm: LayerNorm) -> tuple[Any, Tensor, Tensor, float]:
    return norm.weight.shape, norm.weight, norm.bias, norm.eps
