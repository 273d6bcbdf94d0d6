"""Packed sequences whose padding is read, or whose reversed direction is not turned back."""

from typing import Any

import torch
from torch import Tensor

from crosscheck.causes.flips.flip import Flip

PACK, UNPACK = torch._VF._pack_padded_sequence, torch._VF._pad_packed_sequence


class Padding:
    """Packs sequences as if all were of full length; `is_hidden` puts zeros in the place of what follows their ends."""

    def __init__(self, is_hidden: bool):
        self.is_hidden = is_hidden
        self.lengths = torch.zeros(0)

    def pack(self, function: Any, x: Tensor, lengths: Tensor, batch_first: bool) -> Any:
        self.lengths = lengths
        return function(x, torch.full_like(lengths, x.shape[1 if batch_first else 0]), batch_first)

    def unpack(self, function: Any, data: Tensor, sizes: Tensor, batch_first: bool, value: float, total: int) -> Any:
        x, _ = function(data, sizes, batch_first, value, total)
        after = torch.arange(x.shape[1 if batch_first else 0])[None] >= self.lengths[:, None]
        after = (after if batch_first else after.T)[..., None]
        return (torch.where(after, value, x) if self.is_hidden else x), self.lengths


def turned(data: Tensor, sizes: Tensor) -> Tensor:
    """Packed outputs, each sequence in reverse time."""
    x, lengths = UNPACK(data, sizes, True, 0.0, len(sizes))
    places = torch.arange(x.shape[1])[None]
    places = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return PACK(x.gather(1, places[..., None].expand_as(x)), lengths, True)[0]


def _flip(what: str, is_hidden: bool) -> Flip:
    padding = Padding(is_hidden)
    return Flip("D39", what, {PACK: padding.pack, UNPACK: padding.unpack})


PADDING_FLIPS = (
    _flip("the padding of packed sequences read, with zeros for its outputs", True),
    _flip("the padding of packed sequences read", False),
)
