"""Rows D34 to D38: out-of-range ids, positions that skip padding, and what a mask means and does."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, measurement

PADDING = 1  # RoBERTa's padding id


@measurement()
def _id_beyond_the_table() -> float:
    table, beyond = draw(5, 3), 5
    answer = jnp.asarray(table)[beyond]
    try:
        return largest_gap(F.embedding(torch.tensor(beyond), torch.tensor(table)), answer)
    except IndexError:
        return math.inf


@measurement()
def _roberta_positions() -> float:
    from transformers import RobertaConfig
    from transformers.models.roberta.modeling_roberta import RobertaEmbeddings

    ids = np.array([[0, 5, 6, 7, 2, PADDING, PADDING], [0, 8, 9, 10, 11, 12, 2]])
    config = RobertaConfig(vocab_size=20, hidden_size=16, max_position_embeddings=12, type_vocab_size=1)
    embeddings = RobertaEmbeddings(config).double().eval()
    words, types, positions = (
        jnp.asarray(getattr(embeddings, f"{name}_embeddings").weight.detach().numpy())
        for name in ("word", "token_type", "position")
    )
    summed = words[ids] + types[0] + positions[jnp.arange(ids.shape[1])]
    centred = summed - summed.mean(axis=-1, keepdims=True)
    outputs = centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + config.layer_norm_eps)
    return largest_gap(embeddings(torch.tensor(ids))[ids != PADDING], outputs[ids != PADDING])


@measurement()
def _fully_masked_row() -> float:
    inputs, mask = draw(3, 2, 5, 3, 7), np.ones((2, 1, 5, 5), bool)
    mask[0, 0, 2] = False
    tensors = (torch.tensor(x).transpose(1, 2) for x in inputs)
    zeros = F.scaled_dot_product_attention(*tensors, attn_mask=torch.tensor(mask)).transpose(1, 2)[0, 2]
    means = jax.nn.dot_product_attention(*map(jnp.asarray, inputs), mask=jnp.asarray(mask))[0, 2]
    return largest_gap(zeros, means)


@measurement()
def _mask_added_twice() -> float:
    scores = draw(2, 4)
    fill = torch.full((4,), torch.finfo(torch.bfloat16).min, dtype=torch.bfloat16)
    added = (torch.tensor(scores).bfloat16() + fill + fill).softmax(dim=-1)
    replaced = jnp.where(False, jnp.asarray(scores, jnp.bfloat16), jnp.finfo(jnp.bfloat16).min)
    return largest_gap(added, jax.nn.softmax(replaced, axis=-1))


@measurement()
def _mask_polarity() -> float:
    inputs, mask = draw(2, 5, 7), np.tri(5, dtype=bool)
    attention = nn.MultiheadAttention(7, 1, batch_first=True, dtype=torch.float64)
    with torch.no_grad():  # identity projections
        attention.in_proj_weight.copy_(torch.eye(7).repeat(3, 1))
        attention.out_proj.weight.copy_(torch.eye(7))
    x = torch.tensor(inputs)
    ignored = attention(x, x, x, attn_mask=torch.tensor(mask), need_weights=False)[0][:, :-1]  # the last row is NaN
    y = jnp.asarray(inputs)[:, :, None]
    attended = jax.nn.dot_product_attention(y, y, y, mask=jnp.asarray(mask)[None, None])[:, :-1, 0]
    return largest_gap(ignored, attended)


MASKS = (
    KnownDivergence(
        id="D34",
        name="oob-index",
        trigger="an id that is not below the number of rows, for example after changing the tokenizer",
        predicted=math.inf,
        size_of="infinite if torch raises IndexError where jnp's x[i] returns the last row (jnp.take: NaN)",
        measure=_id_beyond_the_table,
        source="torch.nn.functional.embedding and jax.numpy.ndarray.at documentation",
        to_torch="check ids.max() < table.shape[0] on the host; jnp.take(table, ids, axis=0) turns a wrong id into NaN",
        to_jax="table[ids.clamp(max=table.shape[0] - 1)]",
    ),
    KnownDivergence(
        id="D35",
        name="start-of-positions",
        trigger="another start of positions: RoBERTa's from the padding id + 1, BERT's from 0, a cache's behind it",
        predicted=2.6,
        size_of="largest absolute difference in the normalised embeddings at non-padding tokens",
        measure=_roberta_positions,
        source="transformers RobertaEmbeddings.create_position_ids_from_input_ids; AXLearn's converter",
        to_torch="count alike; RoBERTa's: valid = ids != pad; positions = jnp.cumsum(valid, axis=1) * valid + pad",
        to_jax="pass position_ids=torch.arange(T) to the torch model and train it that way",
    ),
    KnownDivergence(
        id="D36",
        name="fully-masked-row",
        trigger="a query with every key masked",
        predicted=0.7,
        size_of="largest absolute output of that row in JAX, the mean of V, where torch's SDPA gives zeros",
        measure=_fully_masked_row,
        source="torch.nn.functional.scaled_dot_product_attention and jax.nn.dot_product_attention documentation",
        to_torch="jnp.where(mask.any(axis=-1).swapaxes(1, 2)[..., None], outputs, 0.0)",
        to_jax="mask with scores.masked_fill(~mask, torch.finfo(scores.dtype).min) and apply softmax explicitly",
    ),
    KnownDivergence(
        id="D37",
        name="mask-fill",
        trigger="two masks of finfo.min are added in bfloat16, and both hide an entire row",
        predicted=math.nan,
        size_of="NaN if the sum is -inf and its softmax NaN where a single jnp.where gives equal weights",
        measure=_mask_added_twice,
        source="toynlp#50; TransformerLens#366; NeMo Automodel#2658",
        to_torch="add jnp.finfo(dtype).min as many times as the torch code does",
        to_jax="combine the boolean masks and fill once: scores.masked_fill(~(a & b), torch.finfo(scores.dtype).min)",
    ),
    KnownDivergence(
        id="D38",
        name="mask-polarity",
        trigger="a mask for nn.MultiheadAttention (True: ignore) passed to JAX or to torch's SDPA (True: attend)",
        predicted=3.6,
        size_of="largest absolute difference in self-attention under the same causal mask, excluding the last row",
        measure=_mask_polarity,
        source="torch.nn.MultiheadAttention and flax.nnx.MultiHeadAttention documentation",
        to_torch="mask=~attn_mask",
        to_jax="attn_mask=~mask, key_padding_mask=~valid",
    ),
)
