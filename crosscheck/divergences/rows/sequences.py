"""Rows D39 to D43: padded sequences, modes that change the output, dropout masks, and a missing initial state."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import as_float64, draw, largest_gap, measurement

STEPS, WIDTH, HIDDEN = 6, 5, 7


def flax_cell(gru: nn.GRU, suffix: str = "") -> nnx.GRUCell:
    """The first layer of a torch GRU as Flax's cell, in torch's dtype; bias_hh is dropped, as Flax has none."""
    weights = (getattr(gru, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih"))
    weight_ih, weight_hh, bias_ih = (jnp.asarray(weight.detach().numpy()) for weight in weights)
    cell = nnx.GRUCell(gru.input_size, gru.hidden_size, param_dtype=bias_ih.dtype, rngs=nnx.Rngs(0))
    cell.dense_i.kernel.set_value(weight_ih.T)
    cell.dense_i.bias.set_value(bias_ih)
    cell.dense_h.kernel.set_value(weight_hh.T)
    return cell


@measurement()
def _padding_of_a_reversed_gru() -> float:
    inputs, lengths = draw(3, STEPS, WIDTH), np.array([6, 4, 2])
    gru = nn.GRU(WIDTH, HIDDEN, batch_first=True, bidirectional=True, dtype=torch.float64)
    nn.init.zeros_(gru.bias_hh_l0_reverse)  # nnx.GRUCell has none
    packed = pack_padded_sequence(torch.tensor(inputs), torch.tensor(lengths), batch_first=True)
    zeros = as_float64(pad_packed_sequence(gru(packed)[0], batch_first=True)[0])[..., HIDDEN:]
    rnn = nnx.RNN(flax_cell(gru, "_reverse"), reverse=True, keep_order=True)
    read = nnx.jit(lambda rnn, x, lengths: rnn(x, seq_lengths=lengths))
    outputs = read(rnn, jnp.asarray(inputs), jnp.asarray(lengths))
    padded = np.arange(STEPS) >= lengths[:, None]
    return largest_gap(zeros[padded], outputs[padded])


@measurement()
def _encoder_fast_path() -> float:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    nn.init.zeros_(layer.self_attn.out_proj.weight)  # its branches output zero, so it is just two normalisations
    nn.init.zeros_(layer.linear2.weight)
    nn.init.zeros_(layer.linear2.bias)
    encoder = nn.TransformerEncoder(layer, num_layers=1).double().eval()
    inputs, padded = draw(2, 5, 8), np.arange(5) >= np.array([[3], [5]])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)  # the fast path's nested tensors are a prototype
        outputs = encoder(torch.tensor(inputs), src_key_padding_mask=torch.tensor(padded))
    norm = nnx.LayerNorm(8, epsilon=1e-5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return largest_gap(outputs, norm(norm(jnp.asarray(inputs))))


def _distinct_masks(dropped: np.ndarray) -> int:
    """How many (batch, head) pairs of B H Q K differ in what was dropped."""
    return len(np.unique(dropped.reshape(-1, dropped.shape[2] * dropped.shape[3]) != 0, axis=0))


@measurement()
def _masks_of_attention_dropout() -> float:
    batch, heads, steps = 3, 2, 6
    equal = torch.zeros(batch, heads, steps, steps)
    one_hot = torch.eye(steps).expand(batch, heads, steps, steps)  # values that reveal the weights
    own = F.scaled_dot_product_attention(equal, equal, one_hot, dropout_p=0.5)
    q, v = (jnp.asarray(x.transpose(1, 2).numpy()) for x in (equal, one_hot))
    shared = nnx.dot_product_attention(q, q, v, dropout_rng=jax.random.key(0), dropout_rate=0.5)
    return float(_distinct_masks(own.numpy()) - _distinct_masks(np.asarray(shared).swapaxes(1, 2)))


@measurement()
def _masks_of_one_seed() -> float:
    kept = torch.empty(100_000).bernoulli_(0.5, generator=torch.Generator().manual_seed(0))
    return float(np.mean(kept.bool().numpy() != np.asarray(jax.random.bernoulli(jax.random.key(0), 0.5, kept.shape))))


@measurement()
def _no_initial_state() -> float:
    gru = nn.GRU(WIDTH, HIDDEN, batch_first=True, dtype=torch.float64)
    inputs = draw(3, 1, WIDTH)
    weight, bias = (jnp.asarray(as_float64(x)) for x in (gru.weight_ih_l0, gru.bias_ih_l0))
    _, z, n = jnp.split(jnp.asarray(inputs[:, 0]) @ weight.T + bias, 3, axis=-1)  # no state, so no hidden projection
    return largest_gap(gru(torch.tensor(inputs))[0][:, 0], (1 - jax.nn.sigmoid(z)) * jnp.tanh(n))


SEQUENCES = (
    KnownDivergence(
        id="D39",
        name="bigru-padding",
        trigger="a reversed recurrent layer over padded sequences, with its outputs read without a mask",
        predicted=0.69,
        size_of="largest absolute output at padded steps (zeros in torch's packed sequence); other steps are equal",
        measure=_padding_of_a_reversed_gru,
        source="flax#2170; pytorch#1811; flax.nnx.RNN documentation (seq_lengths)",
        to_torch="jnp.where(valid[..., None], outputs, 0.0)",
        to_jax="mask the code that reads the outputs; torch can't produce the values that Flax leaves there",
    ),
    KnownDivergence(
        id="D40",
        name="torch-encoder-fastpath",
        trigger="nn.TransformerEncoder in eval mode without gradients and with src_key_padding_mask",
        predicted=1.59,
        size_of="largest absolute output at padded rows, zero in torch; in train mode torch matches JAX",
        measure=_encoder_fast_path,
        source="torch.nn.TransformerEncoder documentation (fast path, nested tensors)",
        to_torch="jnp.where(valid[..., None], outputs, 0.0) when evaluating",
        to_jax="nn.TransformerEncoder(..., enable_nested_tensor=False)",
    ),
    KnownDivergence(
        id="D41",
        name="broadcast-dropout",
        trigger="dropout of attention weights in Flax, by default",
        predicted=5.0,
        size_of="distinct masks among 3 examples x 2 heads: torch's 6 minus Flax's 1",
        measure=_masks_of_attention_dropout,
        source="flax.nnx.dot_product_attention documentation (broadcast_dropout=True)",
        to_torch="nnx.MultiHeadAttention(..., broadcast_dropout=False)",
        to_jax="multiply the softmax by one mask of shape (1, 1, Q, K)",
    ),
    KnownDivergence(
        id="D42",
        name="dropout-rng",
        trigger="any dropout, even with the same seed on both sides",
        predicted=0.5,
        size_of="share of elements that one side keeps and the other drops, at rate 0.5",
        measure=_masks_of_one_seed,
        source="torch2jax's FAQ: Mersenne Twister or Philox versus threefry",
        to_torch="draw the masks once, in numpy or with the same integer arithmetic, and pass them to the JAX model",
        to_jax="pass the same masks to the torch model: x * mask / (1 - rate)",
    ),
    KnownDivergence(
        id="D43",
        name="hidden-none",
        trigger="a cell that skips the hidden projection if no state is given, and with it b_hr, b_hz and b_hn",
        predicted=0.11,
        size_of="largest absolute difference in a GRU's first step from torch's, which uses zeros if no state is given",
        measure=_no_initial_state,
        source="mlx#3249",
        to_torch="h = jnp.zeros((B, H)) if no state is given",
        to_jax="leave bias_hh out of the first step; better to fix the JAX code",
    ),
)
