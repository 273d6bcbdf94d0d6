"""Formulas of gated recurrent units: one example at a time, and of each only its own steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from crosscheck.twins.formulas.attention import soft_attention
from crosscheck.twins.formulas.layers import Arguments, embedding
from crosscheck.twins.formulas.weights import Weights


def gru_cell(w: Weights, a: Arguments, x: Tensor, h: Tensor) -> Tensor:
    """r, z = s(W_i x + b_i + W_h h + b_h), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h."""
    x_r, x_z, x_n = w.linear("input_proj", x).chunk(3, -1)
    h_r, h_z, h_n = w.linear("hidden_proj", h).chunk(3, -1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    return (1 - z) * torch.tanh(x_n + r * h_n) + z * h


def gru(
    w: Weights, a: Arguments, inputs: Tensor, hidden_states: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Layer after layer in one direction."""
    return _by_example(w, a, [["cells", False]], inputs, hidden_states, lengths)


def bidirectional_gru(
    w: Weights, a: Arguments, inputs: Tensor, hidden_states: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Layer after layer, each reading both directions of the one below."""
    ways = [["forward_cells", False], ["backward_cells", True]]
    return _by_example(w, a, ways, inputs, hidden_states, lengths)


def linear_rnn(w: Weights, a: Arguments, inputs: Tensor, hidden_states: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """h_t = W^(t+1) h_0 + sum over i <= t of W^(t-i) (W_xh x_i + biases), by powers of W = W_hh; log softmax of o_t."""
    start = inputs.new_zeros(1, len(inputs), a["hidden_size"]) if hidden_states is None else hidden_states
    W, given = w["W_hh.weight"], w.linear("W_xh", inputs) + w["W_hh.bias"]
    powers = [torch.linalg.matrix_power(W, power) for power in range(inputs.shape[1] + 1)]
    states = torch.stack(
        [
            start[0] @ powers[t + 1].T + torch.stack([given[:, i] @ powers[t - i].T for i in range(t + 1)]).sum(0)
            for t in range(inputs.shape[1])
        ],
        1,
    )
    logits = w.linear("W_yh", states)
    return logits - logits.logsumexp(-1, keepdim=True), states[None, :, -1]


def encoder(
    w: Weights, a: Arguments, inputs: Tensor, hidden_states: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Embedding, dropout, GRU both ways; outputs and final states of the directions are added."""
    x = w.dropout("dropout", embedding(w.of("embedding"), {"padding_idx": 0}, inputs), a.get("dropout", 0.0))
    x, h = bidirectional_gru(w.of("rnn"), a, x, hidden_states, lengths)
    return sum(x.chunk(2, -1)), h.unflatten(0, (-1, 2)).sum(1)  # type: ignore[return-value]


def decoder(
    w: Weights,
    a: Arguments,
    inputs: Tensor,
    hidden_states: Tensor,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Dropout, soft attention unless switched off, GRU from the encoder's states."""
    x = w.dropout("dropout", inputs, a.get("dropout", 0.0))
    if a.get("with_attention", True):
        x, _ = soft_attention(w.of("attention"), {}, x, hidden_states, mask)
    return gru(w.of("rnn"), a, x, hidden_states, lengths)


def _by_example(
    w: Weights,
    a: Arguments,
    ways: list[list],
    inputs: Tensor,
    hidden_states: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    batch_size, steps, _ = inputs.shape
    if hidden_states is None:
        hidden_states = inputs.new_zeros(len(ways) * a.get("num_layers", 1), batch_size, a["hidden_size"])
    lengths = [steps] * batch_size if lengths is None else lengths.tolist()
    rows, finals = [], []
    for x, states, length in zip(inputs.unbind(0), hidden_states.unbind(1), lengths, strict=True):
        read, ends = _read(w, a, ways, list(x[:length].unbind(0)), list(states.unbind(0)))
        padding = inputs.new_zeros(steps - length, len(ways) * a["hidden_size"])
        rows.append(torch.cat([torch.stack(read), padding]) if read else padding)
        finals.append(torch.stack(ends))
    return torch.stack(rows), torch.stack(finals, 1)


def _read(
    w: Weights, a: Arguments, ways: list[list], x: Sequence[Tensor], states: list[Tensor]
) -> tuple[Sequence[Tensor], list[Tensor]]:
    """The outputs of the last layer and the final states of all, for one example's steps x_t (I)."""
    ends = []
    for layer in range(a.get("num_layers", 1)):
        read = []
        for name, is_backward in ways:
            h, outputs = states[len(ends)], []
            for step in reversed(x) if is_backward else x:
                h = gru_cell(w.of(f"{name}.{layer}"), a, step, h)
                outputs.append(h)
            ends.append(h)
            read.append(outputs[::-1] if is_backward else outputs)
        x = [torch.cat(both) for both in zip(*read, strict=True)]
    return x, ends
