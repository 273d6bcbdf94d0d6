"""Recurrent network without an activation, with its backward pass by hand. Twin: jax_impl/layers/linear_rnn.py."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.configs.validation import check_choice
from torch_impl.layers.linear import Linear
from torch_impl.precision import at_least_float32

BACKWARD = ("by_hand", "automatic")


class LinearRNN(nn.Module):
    """h_t = W_xh x_t + W_hh h_(t-1), o_t = W_yh h_t: inputs (B, T, I), hidden_states (1, B, H) -> (B, T, C), (1, B, H).

    Returns log softmax(o_t) and the last state. Each map has a bias; no initial state means zeros. The backward pass is
    written out, or the framework's (`backward` "by_hand" or "automatic").
    """

    def __init__(self, input_size: int, hidden_size: int, num_classes: int, backward: str = "by_hand"):
        super().__init__()
        check_choice("backward", backward, BACKWARD)
        self.hidden_size = hidden_size
        self.backward = backward
        self.W_xh = Linear(input_size, hidden_size)
        self.W_hh = Linear(hidden_size, hidden_size)
        self.W_yh = Linear(hidden_size, num_classes)

    def forward(
        self, inputs: Float[Tensor, "B T I"], hidden_states: Float[Tensor, "1 B H"] | None = None
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "1 B H"]]:
        if hidden_states is None:
            hidden_states = inputs.new_zeros(1, inputs.shape[0], self.hidden_size)
        maps = [(each.weight, each.bias) for each in (self.W_xh, self.W_hh, self.W_yh)]
        run = _ByHand.apply if self.backward == "by_hand" else _forward
        log_probabilities, states = run(inputs, hidden_states[0], *maps[0], *maps[1], *maps[2])
        return log_probabilities, states[:, -1][None]


def _forward(inputs, h, W_xh, b_xh, W_hh, b_hh, W_yh, b_yh):
    """Log-probabilities (B, T, C) and states (B, T, H)."""
    states = []
    for projected in (inputs @ W_xh.T + b_xh + b_hh).unbind(1):
        h = projected + h @ W_hh.T
        states.append(h)
    states = torch.stack(states, dim=1)
    logits = at_least_float32(states @ W_yh.T + b_yh)
    return torch.log_softmax(logits, dim=-1).to(inputs.dtype), states


def _backward(inputs, h, W_xh, W_hh, W_yh, log_probabilities, states, d_log_probabilities, d_states):
    """Gradients of what `_forward` reads, in its order; for J = -log y_hat[y], g_o = y_hat - y.

    g_h of step i sums (W_hh^T)^(t-i) W_yh^T g_o of all steps t >= i; dJ/dW_hh sums g_h h_(t-1)^T of all steps.
    """
    d_wide = at_least_float32(d_log_probabilities)
    y_hat = torch.exp(at_least_float32(log_probabilities))
    g_o = (d_wide - y_hat * d_wide.sum(dim=-1, keepdim=True)).to(inputs.dtype)
    g, g_h = torch.zeros_like(h), []
    for g_of_step in reversed((g_o @ W_yh + d_states).unbind(1)):
        g = g_of_step + g @ W_hh
        g_h.append(g)
    g_h = torch.stack(g_h[::-1], dim=1)
    before = torch.cat([h[:, None], states[:, :-1]], dim=1)
    d_W_xh, d_W_hh = torch.einsum("bth,bti->hi", g_h, inputs), torch.einsum("bth,btk->hk", g_h, before)
    d_W_yh, d_b, d_b_yh = torch.einsum("btc,bth->ch", g_o, states), g_h.sum(dim=(0, 1)), g_o.sum(dim=(0, 1))
    return g_h @ W_xh, g @ W_hh, d_W_xh, d_b, d_W_hh, d_b, d_W_yh, d_b_yh


class _ByHand(torch.autograd.Function):
    """`_forward` with the gradients of `_backward`."""

    @staticmethod
    def forward(*arguments):
        return _forward(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, h, W_xh, _, W_hh, _, W_yh, _ = inputs
        ctx.save_for_backward(x, h, W_xh, W_hh, W_yh, *output)

    @staticmethod
    def backward(ctx, d_log_probabilities, d_states):
        return _backward(*ctx.saved_tensors, d_log_probabilities, d_states)
