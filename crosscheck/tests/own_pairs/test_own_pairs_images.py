"""Transposed convolutions, in both of Flax's layouts, and incorrectly ported biases and kernels."""

import jax
import jax.numpy as jnp
import pytest
import torch
from flax import linen, nnx
from own_pairs import drawn, normal

import crosscheck
from crosscheck.explain import explain
from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.pairing.suggestions import advice
from shared.errors import IsogradError, WeightsError

pytestmark = pytest.mark.usefixtures("float64_in_jax")

IMAGES = normal(2, 3, 5, 6)
LAYOUTS = {f"up{number}": "flax.nnx.ConvTranspose" for number in (1, 2)}
SIZES = {"up1": (3, (4, 4), ((2, 2), (2, 2))), "up2": (2, (2, 3), ((1, 1), (1, 2)))}  # channels, kernel, padding


class TorchDecoder(torch.nn.Module):
    """The first layer's kernel has as many channels in as out, so that its shape is ambiguous."""

    def __init__(self):
        super().__init__()
        self.up1 = torch.nn.ConvTranspose2d(3, 3, 4, 2, 1)
        self.up2 = torch.nn.ConvTranspose2d(3, 2, (2, 3), 2, (0, 1), output_padding=(0, 1))

    def forward(self, x):
        return self.up2(torch.tanh(self.up1(x)))


class FlaxDecoder(nnx.Module):
    def __init__(self, transpose_kernel):
        for name, (channels, kernel, padding) in SIZES.items():
            how = {"padding": padding, "transpose_kernel": transpose_kernel, "rngs": nnx.Rngs(0)}
            setattr(self, name, nnx.ConvTranspose(3, channels, kernel, (2, 2), **how))

    def __call__(self, x):
        return jnp.moveaxis(self.up2(jnp.tanh(self.up1(jnp.moveaxis(x, 1, -1)))), -1, 1)


class LinenDecoder(linen.Module):
    transpose_kernel: bool

    @linen.compact
    def __call__(self, x):
        x = jnp.moveaxis(x, 1, -1)
        for name, (channels, kernel, padding) in SIZES.items():
            how = {"padding": padding, "transpose_kernel": self.transpose_kernel, "param_dtype": x.dtype}
            layer = linen.ConvTranspose(channels, kernel, (2, 2), name=name, **how)
            x = layer(x if name == "up1" else jnp.tanh(x))
        return jnp.moveaxis(x, -1, 1)


def port(style, transpose_kernel):
    if style == "nnx":
        return FlaxDecoder(transpose_kernel)
    module = LinenDecoder(transpose_kernel)
    return module, module.init(jax.random.key(0), IMAGES)


@pytest.mark.parametrize("transpose_kernel", [True, False])
@pytest.mark.parametrize("style", ["nnx", "linen"])
def test_both_layouts_of_a_transposed_convolution_agree(style, transpose_kernel):
    ours, layouts = drawn(TorchDecoder()), {} if transpose_kernel else LAYOUTS
    theirs = copy_weights(ours, port(style, transpose_kernel), layouts=layouts)
    report = crosscheck.compare(ours, theirs, IMAGES, layouts=layouts, updates=2)
    assert report.agrees, str(report)


def test_kernels_with_swapped_channels_come_with_their_layout():
    with pytest.raises(WeightsError, match=r"layouts={'up2': 'flax.nnx.ConvTranspose'}"):
        copy_weights(drawn(TorchDecoder()), FlaxDecoder(transpose_kernel=False))


def test_a_square_kernel_in_the_other_layout_is_named_with_the_layout_that_reads_it():
    ours = drawn(TorchDecoder())
    theirs = copy_weights(ours, FlaxDecoder(transpose_kernel=True))
    kernel = theirs.up1.kernel
    kernel.set_value(jnp.flip(kernel[...], (0, 1)).swapaxes(2, 3))
    explanation = explain(ours, theirs, IMAGES)
    assert explanation.report.first_divergence[:2] == ("TorchDecoder.up1", "parameters")
    assert explanation.divergence.id == "D02"
    assert "transpose_kernel=False, which the layout 'flax.nnx.ConvTranspose' reads" in explanation.flipped


def test_a_bias_that_was_left_at_zero_is_no_matter_of_gates():
    ours = drawn(TorchDecoder())
    theirs = copy_weights(ours, FlaxDecoder(transpose_kernel=True))
    theirs.up1.bias.set_value(jnp.zeros(3))
    explanation = explain(ours, theirs, IMAGES)
    assert explanation.report.first_divergence == ("TorchDecoder.up1", "parameters", "up1.bias")
    assert explanation.divergence is None, str(explanation)


@pytest.mark.parametrize("wrong", [LinenDecoder(transpose_kernel=True), FlaxDecoder, None])
def test_what_has_no_parameters_to_fill_is_one_sentence(wrong):
    with pytest.raises(IsogradError, match="expected an NNX module, a Linen module as the pair"):
        copy_weights(drawn(TorchDecoder()), wrong)


PACKED = {"rnn.weight_ih_l0": (21, 5), "rnn.weight_hh_l0": (21, 7)}


@pytest.mark.parametrize(
    ("torch", "jax", "words"),
    [
        (PACKED, {}, "layouts={'rnn': 'torch.nn.GRU'}"),
        ({**PACKED, "rnn.weight_hh_l0_reverse": (21, 7)}, {}, "{'rnn': 'torch.nn.GRU(bidirectional=True)'}"),
        ({"rnn.weight_hh_l0": (28, 7)}, {}, "layouts={'rnn': 'torch.nn.LSTM'}"),
        ({"cell.weight_hh": (28, 7)}, {}, "layouts={'cell': 'torch.nn.LSTMCell'}"),
        ({"cell.hidden_proj.weight": (28, 7)}, {"cell.dense_i.weight": (28, 5)}, "'flax.nnx.OptimizedLSTMCell'"),
        ({"cell.hidden_proj.weight": (21, 7)}, {"cell.dense_i.weight": (21, 5)}, "{'cell': 'flax.nnx.GRUCell'}"),
        ({"cell.hidden_proj.weight": (7, 7)}, {"cell.i.weight": (7, 5)}, "{'cell': 'flax.linen.SimpleCell'}"),
        ({"layers.0.fc.weight": (3, 5)}, {"layers.fc.weight": (3, 5, 2)}, "layouts={'layers': 'flax.stacked'}"),
        ({"fc.weight": (3, 5)}, {"Dense_0.weight": (3, 5)}, 'rules={r"^Dense_0\\.": "fc."}'),
        ({"fc.weight": (3, 5)}, {"fc.weight": (5, 3)}, ""),
    ],
)
def test_names_that_do_not_pair_up_come_with_what_mends_them(torch, jax, words):
    found = advice(torch, jax)
    assert words in found
    assert (words == "") == (found == "")
