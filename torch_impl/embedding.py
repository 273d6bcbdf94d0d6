"""Sentence embeddings: the mean of the states of a text's tokens, as a direction. Twin: jax_impl/embedding.py."""

import numpy as np
import torch
from torch import nn


def embed(module: nn.Module, inputs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Vectors of length 1 (B, E) by a `BertModel`, for ids (B, T) and their mask (Reimers and Gurevych 2019)."""
    device = next(module.parameters()).device
    ids, kept = torch.from_numpy(inputs).to(device), torch.from_numpy(mask).to(device)
    with torch.no_grad():
        states, _ = module(ids, kept)
        weights = kept.to(states.dtype)[..., None]
        mean = (states * weights).sum(1) / weights.sum(1)
        return (mean / (mean**2).sum(-1, keepdim=True).sqrt()).cpu().numpy()
