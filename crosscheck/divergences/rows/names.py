"""Rows D13 to D16: what a state_dict names, shares or stores differently from a parameter tree."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import as_float64, draw, measurement


@measurement()
def _cut_tie() -> float:
    table, ids = draw(50, 16), np.arange(40).reshape(8, 5) % 23
    ours = torch.tensor(table, requires_grad=True)
    logits = F.embedding(torch.tensor(ids), ours) @ ours.T
    F.cross_entropy(logits[:, :-1].flatten(0, 1), torch.tensor(ids[:, 1:]).flatten()).backward()

    def loss(embedding, head):
        log_probabilities = jax.nn.log_softmax(embedding[ids[:, :-1]] @ head.T)
        return -jnp.take_along_axis(log_probabilities, ids[:, 1:, None], axis=-1).mean()

    theirs = jax.jit(jax.grad(loss))(jnp.asarray(table), jnp.asarray(table))  # the head is now a separate leaf
    expected = as_float64(ours.grad)
    return float(np.linalg.norm(as_float64(theirs) - expected) / np.linalg.norm(expected))


@measurement()
def _buffers() -> float:
    twin = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    return float(len(nn.BatchNorm1d(3).state_dict()) - len(jax.tree.leaves(nnx.state(twin))))


@measurement()
def _unknown_names() -> float:
    twin = nnx.WeightNorm(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    known = {"weight_g", "weight_v"} | {str(part) for path, _ in nnx.to_flat_state(nnx.state(twin)) for part in path}
    return float(sum(name not in known for name in weight_norm(nn.Linear(4, 3)).state_dict()))


@measurement()
def _numpy_of_bfloat16() -> float:
    np.asarray(jnp.ones(3, jnp.bfloat16))  # ml_dtypes gives numpy the dtype
    try:
        torch.ones(3, dtype=torch.bfloat16).numpy()
    except TypeError:
        return float("inf")
    return 0.0


NAMES = (
    KnownDivergence(
        id="D13",
        name="tied-embedding",
        trigger="the head is tied to the embedding: one leaf in Flax, two names for one tensor in a state_dict",
        predicted=0.88,
        size_of="relative L2 error of the embedding's gradient when a port makes the head a leaf; outputs are equal",
        measure=_cut_tie,
        source="safetensors#98, safetensors#493",
        to_torch="logits = embedding.attend(hidden), no leaf for the head: the gradient then sums both uses",
        to_jax="head.weight = embedding.weight, and save only one of the two names",
    ),
    KnownDivergence(
        id="D14",
        name="buffers",
        trigger="state_dict names without a counterpart, such as num_batches_tracked, position_ids or causal masks",
        predicted=1.0,
        size_of="count of tensors in the state_dict of nn.BatchNorm1d without a counterpart in nnx.BatchNorm",
        measure=_buffers,
        source="transformers#12545, transformers' utilities that load torch weights in Flax",
        to_torch="list those names as ignored explicitly, so that any other unused name is an error",
        to_jax="module.load_state_dict({**module.state_dict(), **converted}): the module's own buffers stay",
    ),
    KnownDivergence(
        id="D15",
        name="weight-norm-names",
        trigger="a table for weight_g and weight_v, or kernel, reads a weight-normalised layer of current torch",
        predicted=2.0,
        size_of="count of names in a weight-normalised nn.Linear that neither torch's older API nor nnx.WeightNorm has",
        measure=_unknown_names,
        source="transformers#24030",
        to_torch="layer.scales = {('kernel',): original0[:, 0]} of nnx.WeightNorm, layer_instance.kernel = original1.T",
        to_jax="parametrizations.weight.original0 = scale[:, None] and parametrizations.weight.original1 = kernel.T",
    ),
    KnownDivergence(
        id="D16",
        name="bf16-numpy",
        trigger="bfloat16 weights pass through numpy, which has no such dtype: converters silently widen them",
        predicted=float("inf"),
        size_of="infinite if torch refuses numpy() of a bfloat16 tensor while JAX converts",
        measure=_numpy_of_bfloat16,
        source="openpi#978, transformers' utilities that load torch weights in Flax",
        to_torch="torch.from_numpy(np.array(x).view(np.int16)).view(torch.bfloat16) keeps the bits of a JAX array",
        to_jax="jnp.asarray(tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)), not tensor.float().numpy()",
    ),
)
