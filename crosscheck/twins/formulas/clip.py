"""Formulas of CLIP: one image, one patch and one text at a time."""

import torch
from torch import Tensor

from crosscheck.twins.formulas.bert import pre_norm_layer
from crosscheck.twins.formulas.gpt import normal_embedding
from crosscheck.twins.formulas.layers import Arguments, layer_norm
from crosscheck.twins.formulas.weights import Weights


def _tower(a: Arguments, prefix: str) -> dict:
    found = {name.removeprefix(prefix): value for name, value in a.items() if name.startswith(prefix)}
    return {"activation": "quick_gelu", "eps": 1e-5, **found}


def patch_embedding(w: Weights, a: Arguments, pixels: Tensor) -> Tensor:
    """sum over channels, rows and columns of W_ecpq times the pixel, patch by patch."""
    size, vectors = a["patch_size"], []
    for top in range(0, pixels.shape[2] - size + 1, size):
        for left in range(0, pixels.shape[3] - size + 1, size):
            patch = pixels[:, :, top : top + size, left : left + size]
            vectors.append((patch[:, None] * w["weight"]).sum((2, 3, 4)))
    return torch.stack(vectors, 1)


def text_model(w: Weights, a: Arguments, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Causal layers and a norm; each text is read at its first end token, or at its highest id."""
    sizes, steps = _tower(a, "text_"), inputs.shape[1]
    visible = torch.ones(steps, steps, dtype=torch.bool).tril().expand(len(inputs), 1, steps, steps)
    if mask is not None:
        visible = visible * (mask != 0)[:, None, None]
    x = normal_embedding(w.of("token_embedding"), {}, inputs) + w["position_embedding.weight"][:steps]
    for number in range(sizes["num_layers"]):
        x, _ = pre_norm_layer(w.of(f"layers.{number}"), sizes, x, visible)
    x = layer_norm(w.of("norm"), sizes, x)
    return x, torch.stack([row[_end(ids.tolist(), a["end_token"])] for row, ids in zip(x, inputs, strict=True)])


def _end(ids: list[int], token: int | None) -> int:
    token = max(ids) if token is None else token
    return ids.index(token) if token in ids else 0


def vision_model(w: Weights, a: Arguments, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """A class vector and the patches, plus positions, norm, layers; pooled: the norm of the class vector's state."""
    sizes = _tower(a, "vision_")
    patches = patch_embedding(w.of("patch_embedding"), a, pixels)
    x = torch.stack([torch.cat([w["class_embedding"][None], each]) for each in patches])
    x = layer_norm(w.of("input_norm"), sizes, x + w["position_embedding.weight"])
    for number in range(sizes["num_layers"]):
        x, _ = pre_norm_layer(w.of(f"layers.{number}"), sizes, x)
    return x, layer_norm(w.of("norm"), sizes, x[:, 0])


def projection(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """y_o = sum over i of W_oi x_i."""
    return torch.einsum("oi,ni->no", w["weight"], x)


def clip_model(
    w: Weights, a: Arguments, inputs: Tensor, pixels: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of images and texts times exp(s), the texts' and the images' directions."""
    texts = projection(w.of("text_projection"), a, text_model(w.of("text"), a, inputs, mask)[1])
    images = projection(w.of("visual_projection"), a, vision_model(w.of("vision"), a, pixels)[1])
    texts, images = (x / torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (texts, images))
    return torch.exp(w["logit_scale"]) * torch.einsum("id,nd->in", images, texts), texts, images


def contrastive_loss(w: Weights, a: Arguments, logits: Tensor) -> Tensor:
    """The mean over both directions of -log softmax at the own index."""
    rows = [torch.logsumexp(each, -1) - each.diagonal() for each in (logits, logits.T)]
    return torch.cat(rows).mean()
