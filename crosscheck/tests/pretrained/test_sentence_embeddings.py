"""Sentence embeddings are the mean of a text's states, of length 1, equal in both frameworks."""

import jax
import numpy as np
import torch
from bounds import roundings_of_a_deep_gradient
from transformers_models import folder_of_transformers

import jax_impl
import torch_impl
from jax_impl.embedding import embed as jax_embed
from torch_impl.embedding import embed as torch_embed


def test_both_frameworks_give_the_mean_of_the_states_as_a_direction(tmp_path):
    folder = tmp_path / "bert"
    folder_of_transformers(folder, "BertModel", layer_norm_eps=1e-5)
    jax.config.update("jax_enable_x64", True)
    ids = np.array([[2, 4, 5, 3], [2, 6, 3, 0]], np.int32)
    mask = (ids > 0).astype(np.int32)
    model = torch_impl.from_pretrained(folder, dtype="float64")
    states = model(torch.from_numpy(ids), torch.from_numpy(mask))[0].detach().numpy()
    means = np.stack([states[0].mean(0), states[1, :3].mean(0)])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    found = (torch_embed(model, ids, mask), jax_embed(jax_impl.from_pretrained(folder, dtype="float64"), ids, mask))
    for vectors in found:
        assert np.linalg.norm(vectors - expected) <= roundings_of_a_deep_gradient() * np.linalg.norm(expected)
