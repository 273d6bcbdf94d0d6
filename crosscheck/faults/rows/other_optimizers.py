"""Faults in the optimisers other than AdamW, each in a run of the model it trains."""

from crosscheck.faults.fault import Change, Fault

TORCH, JAX = "torch_impl/optimizer.py", "jax_impl/optimizer.py"
UPDATE = {"module": "optimizer", "phase": "update", "mode": "run"}
L2, ROOTED = "gradients = _with_decay(gradients, weights, self.config.weight_decay)\n        ", "(jnp.sqrt(s) + eps)"
SQUARES = ", weights, gradients, square_avg"

# fmt: off
RULES: tuple[Fault, ...] = (
    Fault(
        "sgd-dampened/torch", "optimizer", "torch", "the momentum adds the gradient damped",
        (Change(TORCH, "dampening=0.0", "dampening=0.1"),), "ReviewClassifierGRU:no_attention", **UPDATE,
    ),
    Fault(
        "adam-without-decay/jax", "optimizer", "jax", "the decay is not added to the gradient",
        (Change(JAX, f"{L2}return self.rule", "return self.rule"),), "ReviewClassifierGRU:encoder_only", **UPDATE,
    ),
    Fault(
        "rmsprop-eps-inside-the-root/jax", "optimizer", "jax", "eps is added to the mean square, not to its root",
        (Change(JAX, f"{ROOTED}{SQUARES}", f"jnp.sqrt(s + eps){SQUARES}"),),
        "ReviewClassifierTransformer:postnorm", **UPDATE, divergence="D58",
    ),
    Fault(
        "adagrad-forgets/jax", "optimizer", "jax", "the sum of squares decays",
        (Change(JAX, "s + g * g, total", "0.9 * s + g * g, total"),), "ReviewClassifierTransformer", **UPDATE,
    ),
)
# fmt: on
