"""Recurrent network without an activation, with its backward pass by hand. Twin: torch_impl/layers/linear_rnn.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.layers.linear import Linear
from jax_impl.precision import at_least_float32
from shared.configs.validation import check_choice

BACKWARD = ("by_hand", "automatic")


class LinearRNN(nnx.Module):
    """h_t = W_xh x_t + W_hh h_(t-1), o_t = W_yh h_t: inputs (B, T, I), hidden_states (1, B, H) -> (B, T, C), (1, B, H).

    Returns log softmax(o_t) and the last state. Each map has a bias; no initial state means zeros. The backward pass is
    written out, or the framework's (`backward` "by_hand" or "automatic").
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_classes: int, backward: str = "by_hand", *, rngs: nnx.Rngs
    ):
        check_choice("backward", backward, BACKWARD)
        self.hidden_size = hidden_size
        self.backward = backward
        self.W_xh = Linear(input_size, hidden_size, rngs=rngs)
        self.W_hh = Linear(hidden_size, hidden_size, rngs=rngs)
        self.W_yh = Linear(hidden_size, num_classes, rngs=rngs)

    def __call__(
        self, inputs: Float[Array, "B T I"], hidden_states: Float[Array, "1 B H"] | None = None
    ) -> tuple[Float[Array, "B T C"], Float[Array, "1 B H"]]:
        if hidden_states is None:
            hidden_states = jnp.zeros((1, inputs.shape[0], self.hidden_size), inputs.dtype)
        maps = [(each.kernel[...].T, each.bias[...]) for each in (self.W_xh, self.W_hh, self.W_yh)]
        run = _by_hand if self.backward == "by_hand" else _forward
        log_probabilities, states = run(inputs, hidden_states[0], *maps[0], *maps[1], *maps[2])
        return log_probabilities, states[:, -1][None]


def _forward(inputs, h, W_xh, b_xh, W_hh, b_hh, W_yh, b_yh):
    """Log-probabilities (B, T, C) and states (B, T, H)."""

    def step(h: Array, projected: Array) -> tuple[Array, Array]:
        h = projected + h @ W_hh.T
        return h, h

    projected = inputs @ W_xh.T + b_xh + b_hh
    states = jax.lax.scan(step, h, projected.swapaxes(0, 1))[1].swapaxes(0, 1)
    logits = at_least_float32(states @ W_yh.T + b_yh)
    return jax.nn.log_softmax(logits, axis=-1).astype(inputs.dtype), states


def _backward(saved, cotangents):
    """Gradients of what `_forward` reads, in its order; for J = -log y_hat[y], g_o = y_hat - y.

    g_h of step i sums (W_hh^T)^(t-i) W_yh^T g_o of all steps t >= i; dJ/dW_hh sums g_h h_(t-1)^T of all steps.
    """
    inputs, h, W_xh, W_hh, W_yh, log_probabilities, states = saved
    d_log_probabilities, d_states = cotangents
    d_wide = at_least_float32(d_log_probabilities)
    y_hat = jnp.exp(at_least_float32(log_probabilities))
    g_o = (d_wide - y_hat * d_wide.sum(axis=-1, keepdims=True)).astype(inputs.dtype)

    def step(g: Array, g_of_step: Array) -> tuple[Array, Array]:
        g = g_of_step + g @ W_hh
        return g, g

    each_step = (g_o @ W_yh + d_states).swapaxes(0, 1)
    g, g_h = jax.lax.scan(step, jnp.zeros_like(h), each_step, reverse=True)
    g_h = g_h.swapaxes(0, 1)
    before = jnp.concatenate([h[:, None], states[:, :-1]], axis=1)
    d_W_xh, d_W_hh = jnp.einsum("bth,bti->hi", g_h, inputs), jnp.einsum("bth,btk->hk", g_h, before)
    d_W_yh, d_b, d_b_yh = jnp.einsum("btc,bth->ch", g_o, states), g_h.sum(axis=(0, 1)), g_o.sum(axis=(0, 1))
    return g_h @ W_xh, g @ W_hh, d_W_xh, d_b, d_W_hh, d_b, d_W_yh, d_b_yh


def _saving_forward(inputs, h, W_xh, b_xh, W_hh, b_hh, W_yh, b_yh):
    outputs = _forward(inputs, h, W_xh, b_xh, W_hh, b_hh, W_yh, b_yh)
    return outputs, (inputs, h, W_xh, W_hh, W_yh, *outputs)


_by_hand = jax.custom_vjp(_forward)
_by_hand.defvjp(_saving_forward, _backward)
