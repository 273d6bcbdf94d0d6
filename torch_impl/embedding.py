"""Sentence embeddings: the mean of the states of a text's tokens, as a direction. Twin: jax_impl/embedding.py."""

import numpy as np
import torch
from torch import nn

from torch_impl.precision import at_least_float32


def embed(module: nn.Module, inputs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Vectors of length 1 (B, E) by a `BertModel`, for ids (B, T) and their mask (Reimers and Gurevych 2019).

    In float32 at least.
    """
    device = next(module.parameters()).device
    ids, kept = torch.from_numpy(inputs).to(device), torch.from_numpy(mask).to(device)
    with torch.no_grad():
        states = at_least_float32(module(ids, kept)[0])
        weights = kept.to(states.dtype)[..., None]
        mean = (states * weights).sum(1) / weights.sum(1)
        return (mean / (mean**2).sum(-1, keepdim=True).sqrt()).cpu().numpy()


def match(module: nn.Module, inputs: np.ndarray, mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Logits (I, N) of images and texts by a `CLIPModel`, for ids (N, T), their mask and pixels (I, C, S, S)."""
    parameter = next(module.parameters())
    ids, kept = (torch.from_numpy(array).to(parameter.device) for array in (inputs, mask))
    with torch.no_grad():
        logits, _, _ = module(ids, torch.from_numpy(pixels).to(parameter.device, parameter.dtype), kept)
        return logits.double().cpu().numpy()
