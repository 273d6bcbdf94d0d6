"""Operations that lose digits run in float32 at least, although weights and inputs are bfloat16: seen from inside.

No error bound shows it: a side that rounds more is judged by the noise of the other, which would round alike.
"""

from collections import defaultdict
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxprs_in_params
from torch.utils._python_dispatch import TorchDispatchMode

import crosscheck
from crosscheck.recording.jax_modules import as_function
from crosscheck.recording.nesting import flat_outputs, is_float
from crosscheck.recording.tracing import Tracer
from crosscheck.recording.values import Options
from crosscheck.twins.pair import Pair
from shared.example_inputs import cases
from shared.registry import BATCH, TWINS
from torch_impl.weights import to_tensor

OPTIONS = Options(np.dtype("bfloat16"))
NARROW = {"bfloat16", "float16"}
WIDE = {  # the operations of exponentials, logarithms, roots and means, and torch's gradients of them
    "torch": {
        "_softmax",
        "_log_softmax",
        "_softmax_backward_data",
        "_log_softmax_backward_data",
        "sqrt",
        "mean",
        "pow",
    },
    "jax": {"exp", "log", "sqrt", "rsqrt", "integer_pow", "square"},
}
SOFTMAX = {"torch": {"_softmax", "_softmax_backward_data"}, "jax": {"exp"}}
NORM = {"torch": {"sqrt", "mean", "pow"}, "jax": {"sqrt", "integer_pow"}}
CROSS_ENTROPY = {"torch": {"_log_softmax", "_log_softmax_backward_data"}, "jax": {"exp", "log"}}
TANH = {"torch": {"tanh"}, "jax": {"tanh"}}
SIGMOID = {"torch": {"sigmoid"}, "jax": {"logistic"}}
MUST_OCCUR = {  # what is computed in float32 inside a twin
    "attn_softmax": SOFTMAX,
    "masked_softmax": SOFTMAX,
    "self_attention": SOFTMAX,
    "MultiHeadedAttention": SOFTMAX,
    "Attn": SOFTMAX,
    "LayerNorm": NORM,
    "cross_entropy": CROSS_ENTROPY,
    "CausalSelfAttention:additive": TANH,
    "ActivatedMLP:tanh": TANH,
    "AttentionFree": SIGMOID,
    "SimpleAttentionFree": SIGMOID,
    "FeedForward": {"torch": {"gelu"}, "jax": {"tanh"}},
}


class Recorder(TorchDispatchMode):
    """Notes the dtypes of the float tensors that each operation reads."""

    def __init__(self):
        super().__init__()
        self.seen = defaultdict(set)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        read = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.is_floating_point()]
        self.seen[function.overloadpacket.__name__] |= {str(tensor.dtype).removeprefix("torch.") for tensor in read}
        return function(*args, **(kwargs or {}))


def in_torch(pair: Pair) -> dict[str, set[str]]:
    inputs = {key: to_tensor(array) for key, array in pair.inputs.items()}
    for tensor in inputs.values():
        tensor.requires_grad_(tensor.is_floating_point())
    with Recorder() as recorder:
        outputs = [output for output in flat_outputs(pair.torch(**inputs)).values() if output.requires_grad]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    return recorder.seen


def in_jax(pair: Pair) -> dict[str, set[str]]:
    function, *arguments = as_smooth_function(pair)
    return dtypes_of(jax.make_jaxpr(function)(*arguments))


def in_both_passes_of_jax(pair: Pair) -> dict[str, set[str]]:
    function, *arguments = as_smooth_function(pair)

    def both(*arguments):
        outputs, pull_back = jax.vjp(function, *arguments)
        return pull_back(jax.tree.map(jnp.ones_like, outputs))

    return dtypes_of(jax.make_jaxpr(both)(*arguments))


def as_smooth_function(pair: Pair) -> tuple:
    """The JAX twin as a function of its weights and float inputs, and these."""
    call, parameters, _ = as_function(pair.jax, OPTIONS)
    arrays = {key: jnp.asarray(array) for key, array in pair.inputs.items()}

    def function(parameters, floats):
        return flat_outputs(call(Tracer(lambda _, array: array), parameters, (), {**arrays, **floats}))

    return function, parameters, {key: array for key, array in arrays.items() if is_float(array.dtype)}


def dtypes_of(program: ClosedJaxpr) -> dict[str, set[str]]:
    seen = defaultdict(set)
    for operation in operations(program.jaxpr):
        dtypes = {str(variable.aval.dtype) for variable in operation.invars}
        seen[operation.primitive.name] |= {dtype for dtype in dtypes if "float" in dtype}
    return seen


def operations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every operation, also of the programs inside (jit, loops, custom derivatives)."""
    for operation in jaxpr.eqns:
        yield operation
        for inner in jaxprs_in_params(operation.params):
            yield from operations(inner)


SIDES = {"torch": in_torch, "jax": in_jax}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", TWINS)
def test_what_loses_digits_is_computed_in_float32_in(name, side):
    seen = SIDES[side](crosscheck.build_pair(name, dtype="bfloat16"))
    narrow = {operation for operation, dtypes in seen.items() if dtypes & NARROW}
    assert not narrow & WIDE[side]
    assert all(seen[operation] == {"float32"} for operation in MUST_OCCUR.get(name, {side: ()})[side])


@pytest.mark.parametrize("side", SIDES)
def test_cosines_are_scaled_in_float32(side, monkeypatch):
    pair = crosscheck.build_pair("CLIPModel", dtype="bfloat16")
    module, place = getattr(pair, side), to_tensor if side == "torch" else jnp.asarray
    vectors = {"embed_texts": BATCH, "embed_images": len(pair.inputs["pixels"])}
    for name, rows in vectors.items():
        array = place(np.random.default_rng(rows).standard_normal((rows, 12)).astype(ml_dtypes.bfloat16))
        monkeypatch.setattr(type(module), name, lambda self, *inputs, array=array: array)
    logits, texts, images = module(**{name: place(array) for name, array in pair.inputs.items()})
    scale, cosines, found = (np.asarray(as_float32(each)) for each in (module.logit_scale, images @ texts.T, logits))
    assert np.array_equal(found, (np.exp(scale) * cosines).astype(ml_dtypes.bfloat16).astype(np.float32))


def as_float32(x):
    return x.detach().float() if isinstance(x, torch.Tensor) else jnp.asarray(x[...], jnp.float32)


def test_jax_adds_up_the_gradients_of_equal_ids_in_float32():
    """torch's own kernel does."""
    assert in_both_passes_of_jax(crosscheck.build_pair("Embedding", dtype="bfloat16"))["scatter-add"] == {"float32"}


@pytest.mark.parametrize("name", [name for name, twin in TWINS.items() if twin.function and ":" not in name])
def test_a_function_that_takes_exponentials_is_checked_beyond_their_range(name):
    takes_exponentials = "exp" in in_jax(crosscheck.build_pair(name, dtype="bfloat16"))
    assert not takes_exponentials or "far_scores" in cases(TWINS[name])
