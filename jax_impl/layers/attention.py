"""Attention from parts: pure functions, one step of the formula each. Twin: torch_impl/layers/attention.py."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int, Shaped

from jax_impl.layers.linear import Linear
from jax_impl.precision import at_least_float32

ALIGNED_TOKENS = 8


def init_qkv_proj(n_embd: int, *, rngs: nnx.Rngs) -> tuple[Linear, Linear, Linear]:
    """Three affine maps E -> E: for the queries, the keys and the values."""
    return Linear(n_embd, n_embd, rngs=rngs), Linear(n_embd, n_embd, rngs=rngs), Linear(n_embd, n_embd, rngs=rngs)


def pairwise_similarities(Q: Float[Array, "*B T d"], K: Float[Array, "*B S d"]) -> Float[Array, "*B T S"]:
    """Dot product of every query with every key."""
    return jnp.einsum("...td,...sd->...ts", Q, K)


def attn_scaled(A: Float[Array, "*B T S"], n_embd: int, n_heads: int) -> Float[Array, "*B T S"]:
    """Scores divided by the square root of the head width."""
    return A / math.sqrt(n_embd / n_heads)


def attn_softmax(A: Float[Array, "*B T S"]) -> Float[Array, "*B T S"]:
    """Softmax over the keys, computed in float32 at least."""
    return jax.nn.softmax(at_least_float32(A), axis=-1).astype(A.dtype)


def compute_outputs(A: Float[Array, "*B T S"], V: Float[Array, "*B S d"]) -> Float[Array, "*B T d"]:
    """Mean of the values, weighted by the attention."""
    return jnp.einsum("...ts,...sd->...td", A, V)


def make_causal_mask(n_tok: int) -> Bool[Array, "T T"]:
    """True where query t may see key s, that is s <= t."""
    return jnp.tril(jnp.ones((n_tok, n_tok), dtype=bool))


def apply_causal_mask(mask: Shaped[Array, "T T"], A: Float[Array, "*B T T"]) -> Float[Array, "*B T T"]:
    """Scores with -inf where the mask is 0."""
    return jnp.where(mask != 0, A, -math.inf)


def visible_keys(positions: Int[Array, "B T"], n_keys: int) -> Bool[Array, "B 1 T S"]:
    """True where the query at a position may see a key: the one at its own position, and those before."""
    return jnp.arange(n_keys) <= positions[:, None, :, None]


def masked_softmax(scores: Float[Array, "*B"], mask: Shaped[Array, "*C"] | None, axis: int) -> Float[Array, "*B"]:
    """Softmax over `axis` of the scores where the mask is not 0; a fully masked row gives zeros.

    The mask is applied before the softmax, as the lowest finite number, so no gradient is NaN.
    """
    wide = at_least_float32(scores)
    if mask is None:
        return jax.nn.softmax(wide, axis=axis).astype(scores.dtype)
    visible = mask != 0
    weights = jax.nn.softmax(jnp.where(visible, wide, jnp.finfo(wide.dtype).min), axis=axis)
    return jnp.where(visible, weights, 0.0).astype(scores.dtype)


def aligned(
    x: Float[Array, "B T E"], mask: Shaped[Array, "..."] | None
) -> tuple[Float[Array, "B U E"], Shaped[Array, "..."] | None]:
    """On a GPU, the tokens and their mask (B, T) with padding up to a multiple of 8, and as they are elsewhere.

    Tensor cores read 8 numbers of bfloat16 at once: 257 tokens would take half as long again as 264.
    """
    missing = -x.shape[1] % ALIGNED_TOKENS
    if missing == 0 or not on_a_gpu(x) or (mask is not None and mask.ndim > 2):
        return x, mask
    mask = jnp.ones(x.shape[:2], x.dtype) if mask is None else mask
    return jnp.pad(x, ((0, 0), (0, missing), (0, 0))), jnp.pad(mask, ((0, 0), (0, missing)))


def on_a_gpu(x: Shaped[Array, "..."]) -> bool:
    """Whether products with this array run on a GPU."""
    return jax.default_backend() != "cpu"


def split_heads(x: Float[Array, "B T E"], n_heads: int) -> Float[Array, "B m T d"]:
    """Cut the width into heads; index head * d + k of the width becomes (head, k)."""
    batch_size, n_tok, width = x.shape
    return x.reshape(batch_size, n_tok, n_heads, width // n_heads).swapaxes(1, 2)


def merge_heads(y: Float[Array, "B m T d"]) -> Float[Array, "B T E"]:
    """Join the heads again; the inverse of `split_heads`."""
    batch_size, n_heads, n_tok, width = y.shape
    return y.swapaxes(1, 2).reshape(batch_size, n_tok, n_heads * width)


def split_heads_qkv(
    Q: Float[Array, "B T E"], K: Float[Array, "B S E"], V: Float[Array, "B S E"], n_heads: int
) -> tuple[Float[Array, "B m T d"], Float[Array, "B m S d"], Float[Array, "B m S d"]]:
    """`split_heads` of queries, keys and values."""
    return split_heads(Q, n_heads), split_heads(K, n_heads), split_heads(V, n_heads)


def self_attention(
    Q: Float[Array, "B T E"], K: Float[Array, "B T E"], V: Float[Array, "B T E"], n_heads: int = 1, causal: bool = True
) -> Float[Array, "B T E"]:
    """Scaled dot-product attention of several heads, causal or not (Vaswani et al. 2017)."""
    _, n_tok, n_embd = Q.shape
    Q, K, V = split_heads_qkv(Q, K, V, n_heads)
    A = attn_scaled(pairwise_similarities(Q, K), n_embd, n_heads)
    if causal:
        A = apply_causal_mask(make_causal_mask(n_tok), A)
    return merge_heads(compute_outputs(attn_softmax(A), V))
