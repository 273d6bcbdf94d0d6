"""Faults in the affine map, and in the linear recurrent network with its backward pass by hand."""

from crosscheck.faults.fault import alike, both_sides

FILE = "layers/linear.py"
TORCH, JAX = "return super().forward(inputs)", "return super().__call__(inputs)"
RNN_FILE, RNN = "layers/linear_rnn.py", "LinearRNN"
BACK, OF_STATES = (RNN, "", "input gradient"), (RNN, "W_hh", "parameter gradient")
STOP = "from jax.lax import stop_gradient\n\n        "

# Short rows are easier to scan.
# fmt: off
LINEAR = (
    *both_sides(
        "linear-bias-dropped", "layer", "the bias is missing", FILE,
        (TORCH, f"{TORCH} - self.bias"), (JAX, f"{JAX} - self.bias"), "Attn", "W",
    ),
    *both_sides(
        "linear-bias-added-twice", "layer", "the bias is added by the caller too", FILE,
        (TORCH, f"{TORCH} + self.bias"), (JAX, f"{JAX} + self.bias"), "MLP", "in_proj",
    ),
    *both_sides(
        "linear-bias-frozen", "layer", "the bias gets no gradient", FILE,
        (TORCH, f"{TORCH} + (self.bias.detach() - self.bias)"),
        (JAX, f"{STOP}{JAX} + (stop_gradient(self.bias[...]) - self.bias[...])"), "Linear", "", "parameter gradient",
    ),
    *both_sides(
        "linear-weight-frozen", "layer", "the weight gets no gradient", FILE,
        (TORCH, f"{TORCH} + inputs @ (self.weight.detach() - self.weight).T"),
        (JAX, f"{STOP}{JAX} + inputs @ (stop_gradient(self.kernel[...]) - self.kernel[...])"),
        "Linear", "", "parameter gradient",
    ),
    *both_sides(
        "linear-input-detached", "layer", "no gradient flows to the input", FILE,
        (TORCH, "return super().forward(inputs.detach())"),
        (JAX, f"{STOP}return super().__call__(stop_gradient(inputs))"),
        "Linear", "", "input gradient",
    ),
    *both_sides(
        "linear-input-in-float32", "precision", "the input is rounded to float32 in a float64 run", FILE,
        (TORCH, "return super().forward(inputs.float().type_as(inputs))"),
        (JAX, 'return super().__call__(inputs.astype("float32").astype(inputs.dtype))'), "Linear", divergence="D53",
    ),
    *both_sides(
        "linear-inputs-centred", "layer", "the mean over the features is subtracted first", FILE,
        (TORCH, "return super().forward(inputs - inputs.mean(dim=-1, keepdim=True))"),
        (JAX, "return super().__call__(inputs - inputs.mean(axis=-1, keepdims=True))"), "GRUCell", "input_proj",
    ),
)

RNN_FORWARD = (
    *both_sides(
        "linear-rnn-recurrence-transposed", "layer", "the state is multiplied by W_hh^T", RNN_FILE,
        *alike("projected + h @ W_hh.T", "projected + h @ W_hh"), RNN,
    ),
    *both_sides(
        "linear-rnn-with-tanh", "layer", "the state passes through tanh", RNN_FILE,
        ("h = projected + h @ W_hh.T", "h = torch.tanh(projected + h @ W_hh.T)"),
        ("h = projected + h @ W_hh.T", "h = jnp.tanh(projected + h @ W_hh.T)"), RNN,
    ),
    *both_sides(
        "linear-rnn-state-bias-missing", "layer", "the bias of the recurrent map is missing", RNN_FILE,
        *alike("inputs @ W_xh.T + b_xh + b_hh", "inputs @ W_xh.T + b_xh"), "LinearRNN:automatic",
    ),
    *both_sides(
        "linear-rnn-final-state-first", "layer", "the first state is returned in place of the last", RNN_FILE,
        *alike("states[:, -1][None]", "states[:, 0][None]"), RNN,
    ),
    *both_sides(
        "linear-rnn-softmax-over-steps", "layer", "the softmax runs over the steps", RNN_FILE,
        ("torch.log_softmax(logits, dim=-1)", "torch.log_softmax(logits, dim=1)"),
        ("jax.nn.log_softmax(logits, axis=-1)", "jax.nn.log_softmax(logits, axis=1)"), RNN,
    ),
)

RNN_BACKWARD = (
    *both_sides(
        "linear-rnn-powers-dropped", "layer", "dJ_t/dh_i has no powers of W_hh", RNN_FILE,
        *alike("g = g_of_step + g @ W_hh", "g = g_of_step + 0 * (g @ W_hh)"), *BACK,
    ),
    *both_sides(
        "linear-rnn-powers-transposed", "layer", "the gradient goes back through W_hh^T", RNN_FILE,
        *alike("g = g_of_step + g @ W_hh", "g = g_of_step + g @ W_hh.T"), *BACK,
    ),
    *both_sides(
        "linear-rnn-one-power-short", "layer", "the gradient skips the last product with W_hh", RNN_FILE,
        ("return g_h @ W_xh, g @ W_hh, d_W_xh", "return g_h @ W_xh, g, d_W_xh"),
        ("return g_h @ W_xh, g @ W_hh, d_W_xh", "return g_h @ W_xh, g, d_W_xh"), *BACK,
    ),
    *both_sides(
        "linear-rnn-output-gradient-positive", "layer", "dJ/do = y_hat + y in place of y_hat - y", RNN_FILE,
        ("d_wide - y_hat * d_wide.sum(dim=-1, keepdim=True)", "-d_wide - y_hat * d_wide.sum(dim=-1, keepdim=True)"),
        ("d_wide - y_hat * d_wide.sum(axis=-1, keepdims=True)", "-d_wide - y_hat * d_wide.sum(axis=-1, keepdims=True)"),
        *BACK,
    ),
    *both_sides(
        "linear-rnn-output-gradient-without-softmax", "layer", "dJ/do = -y: the softmax has no gradient", RNN_FILE,
        ("y_hat * d_wide.sum(dim=-1, keepdim=True)", "0 * y_hat"),
        ("y_hat * d_wide.sum(axis=-1, keepdims=True)", "0 * y_hat"), *BACK,
    ),
    *both_sides(
        "linear-rnn-own-state-in-sum", "layer", "dJ/dW_hh pairs each g_h with the state of its own step", RNN_FILE,
        ('"bth,btk->hk", g_h, before)', '"bth,btk->hk", g_h, states)'),
        ('"bth,btk->hk", g_h, before)', '"bth,btk->hk", g_h, states)'), *OF_STATES,
    ),
    *both_sides(
        "linear-rnn-first-step-left-out", "layer", "dJ/dW_hh leaves out the first step", RNN_FILE,
        ('"bth,btk->hk", g_h, before)', '"bth,btk->hk", g_h[:, 1:], before[:, 1:])'),
        ('"bth,btk->hk", g_h, before)', '"bth,btk->hk", g_h[:, 1:], before[:, 1:])'), *OF_STATES,
    ),
    *both_sides(
        "linear-rnn-recurrent-gradient-transposed", "layer", "dJ/dW_hh is transposed", RNN_FILE,
        *alike('"bth,btk->hk"', '"bth,btk->kh"'), *OF_STATES,
    ),
    *both_sides(
        "linear-rnn-final-state-ignored", "layer", "the gradient of the last state is lost", RNN_FILE,
        *alike("(g_o @ W_yh + d_states)", "(g_o @ W_yh + 0 * d_states)"), *BACK,
    ),
    *both_sides(
        "linear-rnn-bias-gradient-mean", "layer", "the gradient of the biases is a mean over the batch", RNN_FILE,
        ("g_h.sum(dim=(0, 1))", "g_h.sum(dim=1).mean(dim=0)"), ("g_h.sum(axis=(0, 1))", "g_h.sum(axis=1).mean(axis=0)"),
        RNN, "W_xh", "parameter gradient",
    ),
)
# fmt: on

LINEAR_RNN = (*RNN_FORWARD, *RNN_BACKWARD)
