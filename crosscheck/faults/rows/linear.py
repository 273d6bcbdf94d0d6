"""Faults in the affine map."""

from crosscheck.faults.fault import both_sides

FILE = "layers/linear.py"
TORCH, JAX = "return super().forward(inputs)", "return super().__call__(inputs)"
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
# fmt: on
