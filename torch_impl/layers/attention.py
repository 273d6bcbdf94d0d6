"""Attention from parts: pure functions, one step of the formula each. Twin: jax_impl/layers/attention.py."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from torch_impl.layers.linear import Linear
from torch_impl.precision import at_least_float32

ALIGNED_TOKENS = 8


def init_qkv_proj(n_embd: int) -> tuple[Linear, Linear, Linear]:
    """Three affine maps E -> E: for the queries, the keys and the values."""
    return Linear(n_embd, n_embd), Linear(n_embd, n_embd), Linear(n_embd, n_embd)


def pairwise_similarities(Q: Float[Tensor, "*B T d"], K: Float[Tensor, "*B S d"]) -> Float[Tensor, "*B T S"]:
    """Dot product of every query with every key."""
    return torch.einsum("...td,...sd->...ts", Q, K)


def attn_scaled(A: Float[Tensor, "*B T S"], n_embd: int, n_heads: int) -> Float[Tensor, "*B T S"]:
    """Scores divided by the square root of the head width."""
    return A / math.sqrt(n_embd / n_heads)


def attn_softmax(A: Float[Tensor, "*B T S"]) -> Float[Tensor, "*B T S"]:
    """Softmax over the keys, computed in float32 at least."""
    return torch.softmax(at_least_float32(A), dim=-1).to(A.dtype)


def compute_outputs(A: Float[Tensor, "*B T S"], V: Float[Tensor, "*B S d"]) -> Float[Tensor, "*B T d"]:
    """Mean of the values, weighted by the attention."""
    return torch.einsum("...ts,...sd->...td", A, V)


def make_causal_mask(n_tok: int) -> Bool[Tensor, "T T"]:
    """True where query t may see key s, that is s <= t."""
    return torch.ones(n_tok, n_tok, dtype=torch.bool).tril()


def apply_causal_mask(mask: Shaped[Tensor, "T T"], A: Float[Tensor, "*B T T"]) -> Float[Tensor, "*B T T"]:
    """Scores with -inf where the mask is 0."""
    return torch.where(mask.to(A.device) != 0, A, -math.inf)


def visible_keys(positions: Int[Tensor, "B T"], n_keys: int) -> Bool[Tensor, "B 1 T S"]:
    """True where the query at a position may see a key: the one at its own position, and those before."""
    return torch.arange(n_keys, device=positions.device) <= positions[:, None, :, None]


def masked_softmax(scores: Float[Tensor, "*B"], mask: Shaped[Tensor, "*C"] | None, axis: int) -> Float[Tensor, "*B"]:
    """Softmax over `axis` of the scores where the mask is not 0; a fully masked row gives zeros.

    The mask is applied before the softmax, as the lowest finite number, so no gradient is NaN.
    """
    wide = at_least_float32(scores)
    if mask is None:
        return torch.softmax(wide, dim=axis).to(scores.dtype)
    visible = mask != 0
    weights = torch.softmax(torch.where(visible, wide, torch.finfo(wide.dtype).min), dim=axis)
    return torch.where(visible, weights, 0.0).to(scores.dtype)


def aligned(
    x: Float[Tensor, "B T E"], mask: Shaped[Tensor, "..."] | None
) -> tuple[Float[Tensor, "B U E"], Shaped[Tensor, "..."] | None]:
    """On a GPU, the tokens and their mask (B, T) with padding up to a multiple of 8, and as they are elsewhere.

    Tensor cores read 8 numbers of bfloat16 at once: 257 tokens would take half as long again as 264.
    """
    missing = -x.shape[1] % ALIGNED_TOKENS
    if missing == 0 or not on_a_gpu(x) or (mask is not None and mask.ndim > 2):
        return x, mask
    mask = x.new_ones(x.shape[:2]) if mask is None else mask
    return F.pad(x, (0, 0, 0, missing)), F.pad(mask, (0, missing))


def on_a_gpu(x: Shaped[Tensor, "..."]) -> bool:
    """Whether products with this tensor run on a GPU."""
    return x.is_cuda


def split_heads(x: Float[Tensor, "B T E"], n_heads: int) -> Float[Tensor, "B m T d"]:
    """Cut the width into heads; index head * d + k of the width becomes (head, k)."""
    batch_size, n_tok, width = x.shape
    return x.reshape(batch_size, n_tok, n_heads, width // n_heads).swapaxes(1, 2)


def merge_heads(y: Float[Tensor, "B m T d"]) -> Float[Tensor, "B T E"]:
    """Join the heads again; the inverse of `split_heads`."""
    batch_size, n_heads, n_tok, width = y.shape
    return y.swapaxes(1, 2).reshape(batch_size, n_tok, n_heads * width)


def split_heads_qkv(
    Q: Float[Tensor, "B T E"], K: Float[Tensor, "B S E"], V: Float[Tensor, "B S E"], n_heads: int
) -> tuple[Float[Tensor, "B m T d"], Float[Tensor, "B m S d"], Float[Tensor, "B m S d"]]:
    """`split_heads` of queries, keys and values."""
    return split_heads(Q, n_heads), split_heads(K, n_heads), split_heads(V, n_heads)


def self_attention(
    Q: Float[Tensor, "B T E"],
    K: Float[Tensor, "B T E"],
    V: Float[Tensor, "B T E"],
    n_heads: int = 1,
    causal: bool = True,
) -> Float[Tensor, "B T E"]:
    """Scaled dot-product attention of several heads, causal or not (Vaswani et al. 2017)."""
    _, n_tok, n_embd = Q.shape
    Q, K, V = split_heads_qkv(Q, K, V, n_heads)
    A = attn_scaled(pairwise_similarities(Q, K), n_embd, n_heads)
    if causal:
        A = apply_causal_mask(make_causal_mask(n_tok), A)
    return merge_heads(compute_outputs(attn_softmax(A), V))
