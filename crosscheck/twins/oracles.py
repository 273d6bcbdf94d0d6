"""Outside oracles: the frameworks' own layers with our weights, as data.

A layout's rules only rename and permute, so they convert gradients as well as weights.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.arrays import ArrayMapping
from shared.foreign_layouts import to_foreign
from shared.registry import Twin, find_twin
from torch_impl.weights import to_tensor


@dataclass(frozen=True)
class Reference:
    """A torch layer that computes the same as a twin; `call` passes it the twin's inputs."""

    twin: str
    layout: str
    make: Callable[[Twin], nn.Module]
    call: Callable[..., object]


class Called(nn.Module):
    """A reference layer with the twin's calling convention."""

    def __init__(self, layer: nn.Module, call: Callable[..., object]):
        super().__init__()
        self.layer = layer
        self.call = call

    def forward(self, *args: Tensor, **kwargs: Tensor) -> object:
        return self.call(self.layer, *args, **kwargs)


class FunctionalLayerNorm(nn.Module):
    """`F.layer_norm` as a module."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.layer_norm(inputs, self.weight.shape, self.weight, self.bias, eps=1e-5)


def _packed_gru(layer: nn.GRU, inputs: Tensor, hidden_states: Tensor | None = None, lengths: Tensor | None = None):
    if lengths is None:
        return layer(inputs, hidden_states)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    outputs, hidden = layer(packed, hidden_states)
    padded, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])
    return padded, hidden


def _self_attention(layer: nn.MultiheadAttention, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    ignored = None if mask is None else ~mask  # torch's mask is True where a key is ignored
    return layer(hidden_states, hidden_states, hidden_states, key_padding_mask=ignored, need_weights=False)[0]


def _gru(bidirectional: bool) -> Callable[[Twin], nn.Module]:
    def make(twin: Twin) -> nn.Module:
        sizes = {name: size for name, size in twin.arguments.items() if name != "implementation"}
        return nn.GRU(**sizes, batch_first=True, bidirectional=bidirectional)

    return make


def _attention(twin: Twin) -> nn.Module:
    heads = twin.arguments["num_heads"]
    return nn.MultiheadAttention(heads * twin.arguments["head_size"], heads, batch_first=True)


def _transformer(twin: Twin) -> nn.Module:
    sizes = {name: twin.arguments[name] for name in ("embed_dim", "num_heads", "num_layers", "hidden_dim")}
    width, heads, layers, hidden = sizes.values()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "enable_nested_tensor", UserWarning)  # that it has no shortcut for our sizes
        return nn.Transformer(width, heads, layers, layers, hidden, twin.arguments["dropout"], batch_first=True)


def _encoded_and_decoded(layer: nn.Transformer, source: Tensor, target: Tensor, source_mask: Tensor) -> Tensor:
    hidden = {"src_key_padding_mask": ~source_mask, "memory_key_padding_mask": ~source_mask}
    past = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)  # True where a key is ignored
    return layer(source, target, tgt_mask=past, **hidden)


def _layer_norm(twin: Twin) -> nn.Module:
    return FunctionalLayerNorm(twin.arguments["hidden_size"])


GRU_LAYOUT, BOTH_WAYS = "torch.nn.GRU", "torch.nn.GRU(bidirectional=True)"
REFERENCES = (
    Reference("GRU", GRU_LAYOUT, _gru(False), _packed_gru),
    Reference("GRU:two_layers", GRU_LAYOUT, _gru(False), _packed_gru),
    Reference("GRU:fused", GRU_LAYOUT, _gru(False), _packed_gru),
    Reference("BidirectionalGRU", BOTH_WAYS, _gru(True), _packed_gru),
    Reference("BidirectionalGRU:two_layers", BOTH_WAYS, _gru(True), _packed_gru),
    Reference("BidirectionalGRU:fused", BOTH_WAYS, _gru(True), _packed_gru),
    Reference("MultiHeadedAttention", "torch.nn.MultiheadAttention", _attention, _self_attention),
    Reference("PostNormTransformer", "torch.nn.Transformer", _transformer, _encoded_and_decoded),
    Reference("LayerNorm", "identity", _layer_norm, lambda layer, inputs: layer(inputs)),
)


def build_reference(reference: Reference, arrays: ArrayMapping) -> nn.Module:
    """The reference in float64 with our weights."""
    layer = reference.make(find_twin(reference.twin)).double()
    foreign = dict(arrays) if reference.layout == "identity" else to_foreign(reference.layout, arrays)
    layer.load_state_dict({name: to_tensor(array) for name, array in foreign.items()})
    return Called(layer, reference.call)
