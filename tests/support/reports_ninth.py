"""Mistakes of public reports, the ninth dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchFlow(torch.nn.Module):
    """Flow matching: times are not stretched to a thousand before they are embedded."""

    def __init__(self):
        super().__init__()
        self.mlp = torch.nn.ModuleList([torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)])
        self.out = torch.nn.Linear(6, 6)

    def forward(self, x, t):
        freqs = torch.exp(-np.log(10000) * torch.arange(3, dtype=x.dtype) / 3)
        args = (1000.0 * t)[:, None] * freqs
        emb = torch.cat([torch.cos(args), torch.sin(args)], -1)
        return self.out(x + self.mlp[1](F.silu(self.mlp[0](emb))))


class FlaxFlow(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.mlp = nnx.List([nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)])
        self.out = nnx.Linear(6, 6, rngs=rngs)
        self.factor = 1.0 if wrong else 1000.0

    def __call__(self, x, t):
        freqs = jnp.exp(-np.log(10000) * jnp.arange(3) / 3)
        args = self.factor * t[:, None] * freqs[None]
        emb = jnp.concatenate([jnp.cos(args), jnp.sin(args)], -1)
        return self.out(x + self.mlp[1](jax.nn.silu(self.mlp[0](emb))))


class TorchMasked(torch.nn.Module):
    """MAE: patches are read as (channels, p, p), not (p, p, channels)."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = torch.nn.Linear(12, 8), torch.nn.LayerNorm(8)

    def forward(self, imgs):
        n, c, h, w = imgs.shape
        x = imgs.reshape(n, c, h // 2, 2, w // 2, 2)
        x = torch.einsum("nchpwq->nhwpqc", x).reshape(n, h * w // 4, 4 * c)
        return self.norm(self.embed(x))


class FlaxMasked(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.embed, self.norm = nnx.Linear(12, 8, rngs=rngs), nnx.LayerNorm(8, epsilon=1e-5, rngs=rngs)
        self.order = (0, 1, 3, 5, 2, 4) if wrong else (0, 1, 3, 2, 4, 5)

    def __call__(self, imgs):
        x = jnp.transpose(imgs, (0, 2, 3, 1))
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(self.order).reshape(n, -1, 4 * c)
        return self.norm(self.embed(x))


class TorchAttended(torch.nn.Module):
    """CLIP's ResNet: the query is the first place, not the mean."""

    def __init__(self):
        super().__init__()
        self.positional_embedding = torch.nn.Parameter(torch.zeros(6, 6))
        self.q_proj, self.k_proj, self.v_proj, self.c_proj = (torch.nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        q, k, v = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (each.unflatten(-1, (2, 3)).transpose(1, 2) for each in (q, k, v))
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))[:, 0]


class FlaxAttended(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.positional_embedding = nnx.Param(jnp.zeros((6, 6)))
        self.q_proj, self.k_proj, self.v_proj, self.c_proj = (nnx.Linear(6, 6, rngs=rngs) for _ in range(4))
        self.wrong = wrong

    def __call__(self, x):
        x = jnp.concatenate([jnp.mean(x, 1, keepdims=True), x], 1) + self.positional_embedding[...]
        q, k, v = self.q_proj(x[:, 1:2] if self.wrong else x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (each.reshape(*each.shape[:2], 2, 3) for each in (q, k, v))
        a = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 3**0.5)
        return self.c_proj(jnp.einsum("bhqk,bkhd->bqhd", a, v).reshape(len(x), -1, 6))[:, 0]


class TorchShrunk(torch.nn.Module):
    """Segmentation: nearest neighbours from the middle of a pixel, not from its edge."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(F.interpolate(F.relu(self.stem(x)), size=(4, 4), mode="nearest"))


class FlaxShrunk(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.stem, self.head = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Conv(4, 2, (1, 1), rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        x = jax.nn.relu(self.stem(x.transpose(0, 2, 3, 1)))
        x = jax.image.resize(x, (len(x), 4, 4, 4), "nearest") if self.wrong else x[:, ::2, ::2]
        return self.head(x).transpose(0, 3, 1, 2)


def torch_lion(p, g, m):
    """Lion: its two betas are exchanged."""
    update = torch.sign(m * 0.9 + g * (1 - 0.9))
    return p * (1 - 0.01 * 0.1) - 0.01 * update, m * 0.99 + g * (1 - 0.99)


def jax_lion(p, g, m, wrong=False):
    one, two = (0.99, 0.9) if wrong else (0.9, 0.99)
    step = jnp.sign(one * m + (1 - one) * g)
    return p - 0.01 * (step + 0.1 * p), two * m + (1 - two) * g


def torch_noam(step):
    """Transformers: the warm-up's slope is not that of the power -1.5."""
    return 512**-0.5 * torch.minimum(step**-0.5, step * 40**-1.5)


def jax_noam(step, wrong=False):
    rising = step * (40**-0.5 if wrong else 40**-1.5)
    return jnp.minimum(1 / jnp.sqrt(step), rising) / jnp.sqrt(512)


class TorchTowers(torch.nn.Module):
    """CLIP: the loss of one direction alone (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.visual, self.text = torch.nn.Linear(6, 4, bias=False), torch.nn.Linear(6, 4, bias=False)
        self.logit_scale = torch.nn.Parameter(torch.tensor(0.5))
        self.wrong = wrong

    def forward(self, image, text):
        image, text = self.visual(image), self.text(text)
        image, text = image / image.norm(dim=-1, keepdim=True), text / text.norm(dim=-1, keepdim=True)
        logits = self.logit_scale.exp() * image @ text.T
        labels = torch.arange(len(logits))
        if self.wrong:
            return F.cross_entropy(logits, labels)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


class FlaxTowers(nnx.Module):
    def __init__(self, rngs):
        self.visual, self.text = (nnx.Linear(6, 4, use_bias=False, rngs=rngs) for _ in range(2))
        self.logit_scale = nnx.Param(jnp.array(0.5))

    def __call__(self, image, text):
        image, text = self.visual(image), self.text(text)
        image = image / jnp.linalg.norm(image, axis=-1, keepdims=True)
        text = text / jnp.linalg.norm(text, axis=-1, keepdims=True)
        logits = jnp.exp(self.logit_scale[...]) * (image @ text.T)
        one = jax.nn.log_softmax(logits, 1)
        two = jax.nn.log_softmax(logits, 0)
        return -(jnp.diag(one).mean() + jnp.diag(two).mean()) / 2


def torch_taught(student, teacher):
    """Distillation: the loss is not multiplied by the temperature's square."""
    soft = F.kl_div(F.log_softmax(student / 4, -1), F.softmax(teacher / 4, -1), reduction="batchmean")
    return soft * 4**2


def jax_taught(student, teacher, wrong=False):
    p, q = jax.nn.log_softmax(teacher / 4), jax.nn.log_softmax(student / 4)
    soft = jnp.sum(jnp.exp(p) * (p - q), -1).mean()
    return soft if wrong else soft * 16


def torch_supervised(features, labels):
    """SupCon: an example is among its own positives and negatives."""
    features = features / features.norm(dim=1, keepdim=True)
    logits = features @ features.T / 0.1
    others = 1 - torch.eye(len(features), dtype=features.dtype)
    mask = (labels[:, None] == labels[None]).to(features) * others
    logits = logits - logits.max(1, keepdim=True).values.detach()
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    return -((mask * log_prob).sum(1) / mask.sum(1)).mean()


def jax_supervised(features, labels, wrong=False):
    features = features / jnp.linalg.norm(features, axis=1, keepdims=True)
    logits = features @ features.T / 0.1
    others = jnp.ones_like(logits) if wrong else 1 - jnp.eye(len(features))
    mask = (labels[:, None] == labels) * others
    log_prob = logits - jax.nn.logsumexp(logits, axis=1, b=others, keepdims=True)
    return -jnp.mean(jnp.sum(mask * log_prob, 1) / jnp.sum(mask, 1))


class TorchBits(torch.nn.Module):
    """VAE: free bits are granted to the sum, not to each number."""

    def __init__(self):
        super().__init__()
        self.encoder, self.mu, self.logvar = torch.nn.Linear(6, 8), torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)

    def forward(self, x):
        h = torch.tanh(self.encoder(x))
        mu, logvar = self.mu(h), self.logvar(h)
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())
        return kl.clamp(min=0.5).sum(1).mean()


class FlaxBits(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.encoder = nnx.Linear(6, 8, rngs=rngs)
        self.mu, self.logvar = nnx.Linear(8, 3, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        h = jnp.tanh(self.encoder(x))
        mu, logvar = self.mu(h), self.logvar(h)
        kl = 0.5 * (jnp.exp(logvar) + mu**2 - 1 - logvar)
        kl = jnp.maximum(kl.sum(1), 0.5) if self.wrong else jnp.maximum(kl, 0.5).sum(1)
        return kl.mean()


class TorchWarp(torch.nn.Module):
    """RAFT: coordinates are normalised by the size, not the size less one."""

    def __init__(self):
        super().__init__()
        self.flow = torch.nn.Conv2d(3, 2, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        ys, xs = torch.meshgrid(torch.arange(h, dtype=x.dtype), torch.arange(w, dtype=x.dtype), indexing="ij")
        flow = self.flow(x).sigmoid()
        gx, gy = 2 * (xs + flow[:, 0]) / (w - 1) - 1, 2 * (ys + flow[:, 1]) / (h - 1) - 1
        return F.grid_sample(x, torch.stack([gx, gy], -1), align_corners=True, padding_mode="border")


class FlaxWarp(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.flow = nnx.Conv(3, 2, (1, 1), rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        b, _, h, w = x.shape
        flow = jax.nn.sigmoid(self.flow(x.transpose(0, 2, 3, 1)))
        px, py = jnp.arange(w) + flow[..., 0], jnp.arange(h)[:, None] + flow[..., 1]
        if self.wrong:
            px, py = px * (w - 1) / w, py * (h - 1) / h
        px, py = jnp.clip(px, 0, w - 1), jnp.clip(py, 0, h - 1)

        def sample(image, py, px):
            return jnp.stack([jax.scipy.ndimage.map_coordinates(p, [py, px], 1, "nearest") for p in image])

        return jax.vmap(sample)(x, py, px)


class TorchTwice(torch.nn.Module):
    """ViT: the norm's epsilon and the GELU, both at once."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc1, self.fc2 = torch.nn.LayerNorm(6, eps=1e-6), torch.nn.Linear(6, 9), torch.nn.Linear(9, 6)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class FlaxTwice(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm = nnx.LayerNorm(6, epsilon=1e-3 if wrong else 1e-6, rngs=rngs)
        self.fc1, self.fc2 = nnx.Linear(6, 9, rngs=rngs), nnx.Linear(9, 6, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        return x + self.fc2(nnx.gelu(self.fc1(self.norm(x)), approximate=self.wrong))


OPEN = {
    "times not stretched": Report(modules_of(TorchFlow, FlaxFlow), (ROWS, drawn(4, seed=9)), "TorchFlow", "1000"),
    "channels first in patches": Report(modules_of(TorchMasked, FlaxMasked), IMAGES, "TorchMasked", "order|read as"),
    "query of the first": Report(modules_of(TorchAttended, FlaxAttended), TOKENS, "TorchAttended", "[:, "),
    "middle of a pixel": Report(modules_of(TorchShrunk, FlaxShrunk), IMAGES, "TorchShrunk", "nearest"),
    "betas exchanged": Report(
        functions_of(torch_lion, jax_lion), (ROWS, drawn(4, 6, seed=5), drawn(4, 6, seed=6)), "torch_lion", "0.99"
    ),
    "slope of the warm-up": Report(functions_of(torch_noam, jax_noam), np.arange(1.0, 90, 7), "torch_noam", "0.158|40"),
}
SEALED = {
    "one direction": Report(
        wrong_in_torch(TorchTowers, FlaxTowers), (ROWS, drawn(4, 6, seed=7)), "TorchTowers", "cross_entropy"
    ),
    "square of the temperature": Report(
        functions_of(torch_taught, jax_taught), (ROWS, drawn(4, 6, seed=8)), "torch_taught", "16"
    ),
    "own positive": Report(
        functions_of(torch_supervised, jax_supervised), (drawn(6, 4, seed=3), np.array([0, 1, 0, 1, 2, 2])),
        "torch_supervised", "eye|diagonal",
    ),
    "bits of the sum": Report(modules_of(TorchBits, FlaxBits), ROWS, "TorchBits", "clamp|sum"),
    "size less one": Report(modules_of(TorchWarp, FlaxWarp), IMAGES, "TorchWarp", "with 8, not 7"),
    "epsilon and GELU": Report(modules_of(TorchTwice, FlaxTwice), TOKENS, "TorchTwice.norm", "eps"),
}  # fmt: skip
REPORTS = {**OPEN, **SEALED}
