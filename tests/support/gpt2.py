"""GPT-2 of transformers, with the sizes and the weights of ours."""

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from shared.configs.gpt import GPTConfig
from shared.foreign_layouts import to_foreign
from torch_impl.weights import to_tensor


def layout_of(config: GPTConfig) -> str:
    return "transformers.GPT2LMHeadModel" + ("" if config.tied else "(tie_word_embeddings=False)")


def gpt2_of_transformers(config: GPTConfig, arrays: dict[str, np.ndarray]) -> torch.nn.Module:
    sizes = GPT2Config(
        vocab_size=config.vocabulary_size,
        n_positions=config.sequence_length,
        n_embd=config.embed_dim,
        n_layer=config.num_layers,
        n_head=config.num_heads,
        n_inner=config.hidden_dim,
        tie_word_embeddings=config.tied,
        attn_implementation="eager",
    )
    model = GPT2LMHeadModel(sizes).double()
    foreign = {name: to_tensor(array) for name, array in to_foreign(layout_of(config), arrays).items()}
    missing, unexpected = model.load_state_dict(foreign, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"] if config.tied else [], [])
    return model
