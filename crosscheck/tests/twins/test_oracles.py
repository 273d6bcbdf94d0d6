"""Both twins agree with the frameworks' own layers and with finite differences, in float64, forward and backward."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bounds import is_the_slope
from proofs import SIDES, assert_proven

import crosscheck
from crosscheck import criterion
from crosscheck.recording import torch_side
from crosscheck.recording.nesting import as_call, flatten
from crosscheck.recording.precision import full_precision
from crosscheck.recording.values import Options, cotangent
from crosscheck.twins.oracles import REFERENCES, build_reference
from shared.example_inputs import cases
from shared.foreign_layouts import from_foreign
from shared.registry import TWINS
from torch_impl import self_attention
from torch_impl.weights import to_arrays, to_tensor

OPTIONS = Options(np.dtype("float64"))
# nn.MultiheadAttention gives NaN for a fully masked row and adds up masks of floats; packing refuses empty sequences
REFUSED = ("masked_row", "fractional_mask", "length_0")
QUICK = ("odd_sizes", "far_scores")
WITH_REFERENCE = [
    pytest.param(each, case, id=f"{each.twin}-{case}", marks=[] if case in QUICK else pytest.mark.slow)
    for each in REFERENCES
    for case in cases(TWINS[each.twin])
    if case not in REFUSED
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("reference", "case"), WITH_REFERENCE)
def test_a_twin_agrees_with_the_layer_of_torch(reference, case, side):
    pair = crosscheck.build_pair(reference.twin, case=case)
    with full_precision():
        theirs = torch_side.evaluate(build_reference(reference, to_arrays(pair.torch)), as_call(pair.inputs), OPTIONS)
        ours = SIDES[side].evaluate(getattr(pair, side), as_call(pair.inputs), OPTIONS)
    gradients = {name.removeprefix("layer."): array for name, array in theirs.parameter_gradients.items()}
    identity = reference.layout == "identity"
    theirs.parameter_gradients = gradients if identity else from_foreign(reference.layout, gradients)
    assert_proven(ours, theirs)


@pytest.mark.parametrize(("n_heads", "causal"), [(1, False), (1, True), (3, True)])
def test_self_attention_agrees_with_torchs_functional_with_identity_projections(n_heads, causal):
    torch.manual_seed(447)
    Q, K, V = (torch.randn(1, 10, 6, dtype=torch.float64) for _ in range(3))
    eye, zeros = torch.eye(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    expected, _ = F.multi_head_attention_forward(
        *(x.transpose(0, 1) for x in (Q, K, V)), 6, n_heads, torch.cat([eye] * 3), torch.zeros(18, dtype=torch.float64),
        None, None, False, 0.0, eye, zeros, attn_mask=torch.ones(10, 10).triu(1).bool() if causal else None,
    )  # fmt: skip
    found = self_attention(Q, K, V, n_heads=n_heads, causal=causal)
    assert criterion.prove(expected.transpose(0, 1).numpy(), found.numpy(), 0.0).agrees


@pytest.mark.parametrize(
    "name", ["GRU", "Attn", "MultiHeadedAttention", "LayerNorm", "PreNormAttentionBlock", "Encoder"]
)
def test_a_gradient_is_the_slope_of_central_differences(name):
    """Along a random direction, Richardson extrapolation makes the error fourth order in the step."""
    pair = crosscheck.build_pair(name)
    generator = np.random.default_rng(0)
    floats = {f"input {n}": a for n, a in pair.inputs.items() if a.dtype == np.float64}
    directions = {n: generator.standard_normal(a.shape) for n, a in {**to_arrays(pair.torch), **floats}.items()}
    with full_precision():
        values = torch_side.evaluate(pair.torch, as_call(pair.inputs), OPTIONS)
    gradients = {**values.parameter_gradients, **values.input_gradients}
    if name == "Encoder":  # the forward pass reads the padding row, which has no gradient by design
        directions["embedding.weight"][0] = 0.0
    slope = sum(float((gradients[n] * direction).sum()) for n, direction in directions.items())
    coarse, fine = (_central_difference(pair, directions, step) for step in (2e-3, 1e-3))
    assert is_the_slope(slope, coarse, fine)


def _central_difference(pair, directions, step):
    def value(signed):
        module = crosscheck.build_pair(pair.name).torch
        with torch.no_grad():
            for n, parameter in module.named_parameters():
                parameter += signed * to_tensor(directions[n])
        moved = {
            n: a + signed * directions[f"input {n}"] if f"input {n}" in directions else a
            for n, a in pair.inputs.items()
        }
        with torch.no_grad():
            outputs = dict(flatten(module.eval()(**{n: to_tensor(a) for n, a in moved.items()})))
        return sum(
            float((o.numpy() * cotangent(n, o.shape, o.numpy().dtype, OPTIONS)).sum()) for n, o in outputs.items()
        )

    return (value(step) - value(-step)) / (2 * step)
