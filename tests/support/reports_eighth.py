"""Mistakes of public reports, the eighth dozen: written before `explain` was tried on them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from report_pairs import IMAGES, ROWS, TOKENS, Report, drawn, functions_of, modules_of, wrong_in_torch


class TorchScale(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class FlaxScale(nnx.Module):
    def __init__(self, n):
        self.weight = nnx.Param(jnp.ones(n))

    def __call__(self, x):
        return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * self.weight[...]


def torch_turned(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def jax_turned(x, cos, sin):
    a, b = jnp.split(x, 2, -1)
    return x * cos + jnp.concatenate([-b, a], -1) * sin


class TorchGrouped(torch.nn.Module):
    """Llama: rope_theta of the configuration is not passed on (grouped queries)."""

    def __init__(self):
        super().__init__()
        self.q_proj, self.o_proj = torch.nn.Linear(8, 16, bias=False), torch.nn.Linear(16, 8, bias=False)
        self.k_proj, self.v_proj = torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, 4, 4).transpose(1, 2)
        k = self.k_proj(x).view(b, t, 2, 4).transpose(1, 2)
        v = self.v_proj(x).view(b, t, 2, 4).transpose(1, 2)
        inv = 1.0 / (500000.0 ** (torch.arange(0, 4, 2, dtype=x.dtype) / 4))
        angle = torch.outer(torch.arange(t, dtype=x.dtype), inv)
        emb = torch.cat([angle, angle], -1)
        q, k = torch_turned(q, emb.cos(), emb.sin()), torch_turned(k, emb.cos(), emb.sin())
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        s = q @ k.transpose(2, 3) / 4**0.5
        s = s + torch.full((t, t), -1e9, dtype=x.dtype).triu(1)
        return self.o_proj((s.softmax(-1) @ v).transpose(1, 2).reshape(b, t, 16))


class TorchLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = TorchScale(8), TorchScale(8)
        self.self_attn = TorchGrouped()
        self.gate_proj, self.up_proj = torch.nn.Linear(8, 12, bias=False), torch.nn.Linear(8, 12, bias=False)
        self.down_proj = torch.nn.Linear(12, 8, bias=False)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class FlaxGrouped(nnx.Module):
    def __init__(self, rngs, theta, tiled):
        self.q_proj, self.o_proj = (
            nnx.Linear(8, 16, use_bias=False, rngs=rngs), nnx.Linear(16, 8, use_bias=False, rngs=rngs),
        )  # fmt: skip
        self.k_proj, self.v_proj = (nnx.Linear(8, 8, use_bias=False, rngs=rngs) for _ in range(2))
        self.theta, self.tiled = theta, tiled

    def __call__(self, x):
        b, t, _ = x.shape
        q = self.q_proj(x).reshape(b, t, 4, 4)
        k, v = self.k_proj(x).reshape(b, t, 2, 4), self.v_proj(x).reshape(b, t, 2, 4)
        inv = self.theta ** (-jnp.arange(0, 4, 2) / 4)
        angle = jnp.arange(t)[:, None] * inv[None]
        angle = jnp.concatenate([angle, angle], -1)[:, None]
        q, k = jax_turned(q, jnp.cos(angle), jnp.sin(angle)), jax_turned(k, jnp.cos(angle), jnp.sin(angle))
        if self.tiled:
            k, v = jnp.tile(k, (1, 1, 2, 1)), jnp.tile(v, (1, 1, 2, 1))
        else:
            k, v = jnp.repeat(k, 2, 2), jnp.repeat(v, 2, 2)
        s = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(4.0)
        s = jnp.where(jnp.tril(jnp.ones((t, t), bool)), s, -1e9)
        return self.o_proj(jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(s, -1), v).reshape(b, t, 16))


class FlaxLayer(nnx.Module):
    def __init__(self, rngs, wrong="", theta=500000.0):
        self.input_layernorm, self.post_attention_layernorm = FlaxScale(8), FlaxScale(8)
        self.self_attn = FlaxGrouped(rngs, 10000.0 if wrong is True else theta, wrong == "tiled")
        self.gate_proj, self.up_proj = (nnx.Linear(8, 12, use_bias=False, rngs=rngs) for _ in range(2))
        self.down_proj = nnx.Linear(12, 8, use_bias=False, rngs=rngs)

    def __call__(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(jax.nn.silu(self.gate_proj(h)) * self.up_proj(h))


def tiled_layer(rngs, wrong=False):
    """Mistral: heads of keys and values are tiled, not repeated."""
    return FlaxLayer(rngs, "tiled" if wrong else "")


class TorchEars(torch.nn.Module):
    """Whisper: the second convolution pads as SAME does, for a stride of 2."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv1d(6, 8, 3, padding=1), torch.nn.Conv1d(8, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.LayerNorm(8)

    def forward(self, x):
        x = F.gelu(self.conv2(F.gelu(self.conv1(x)))).permute(0, 2, 1)
        step = np.log(10000) / 3
        angle = torch.arange(x.shape[1])[:, None] * torch.exp(-step * torch.arange(4, dtype=x.dtype))
        return self.norm(x + torch.cat([angle.sin(), angle.cos()], 1))


class FlaxEars(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv1 = nnx.Conv(6, 8, (3,), padding="SAME", rngs=rngs)
        self.conv2 = nnx.Conv(8, 8, (3,), strides=2, padding="SAME" if wrong else ((1, 1),), rngs=rngs)
        self.norm = nnx.LayerNorm(8, epsilon=1e-5, rngs=rngs)

    def __call__(self, x):
        x = jnp.swapaxes(x, 1, 2)
        x = jax.nn.gelu(self.conv2(jax.nn.gelu(self.conv1(x), approximate=False)), approximate=False)
        angle = jnp.arange(x.shape[1])[:, None] * jnp.exp(-np.log(10000) / 3 * jnp.arange(4))
        return self.norm(x + jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], 1))


class TorchPatches(torch.nn.Module):
    """ViT: the patches take the positions from the class token's on."""

    def __init__(self):
        super().__init__()
        self.patch_embed = torch.nn.Conv2d(3, 8, 4, 4)
        self.cls_token, self.pos_embed = (
            torch.nn.Parameter(torch.zeros(1, 1, 8)),
            torch.nn.Parameter(torch.zeros(1, 5, 8)),
        )
        self.norm, self.head = torch.nn.LayerNorm(8, eps=1e-6), torch.nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(x).mean(1))


class FlaxPatches(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.patch_embed = nnx.Conv(3, 8, (4, 4), (4, 4), padding="VALID", rngs=rngs)
        self.cls_token, self.pos_embed = nnx.Param(jnp.zeros((1, 1, 8))), nnx.Param(jnp.zeros((1, 5, 8)))
        self.norm, self.head = nnx.LayerNorm(8, epsilon=1e-6, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x):
        x = self.patch_embed(x.transpose(0, 2, 3, 1))
        x = x.reshape(len(x), -1, 8)
        pos = self.pos_embed[...]
        x = x + (pos[:, :-1] if self.wrong else pos[:, 1:])
        first = self.cls_token[...] + pos[:, :1]
        x = jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, 8)), x], 1)
        return self.head(self.norm(x).mean(1))


class TorchChannels(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(8)), torch.nn.Parameter(torch.zeros(8))

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class TorchStem(torch.nn.Module):
    """ConvNeXt: the stem is normed over all of an image, not over channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.next = torch.nn.Conv2d(3, 8, 2, 2), TorchChannels(), torch.nn.Conv2d(8, 6, 1)

    def forward(self, x):
        return self.next(self.norm(self.conv(x)))


class FlaxChannels(nnx.Module):
    def __init__(self, wrong):
        self.weight, self.bias = nnx.Param(jnp.ones(8)), nnx.Param(jnp.zeros(8))
        self.axes = (1, 2, 3) if wrong else (3,)

    def __call__(self, x):
        u = x.mean(self.axes, keepdims=True)
        x = (x - u) / jnp.sqrt(((x - u) ** 2).mean(self.axes, keepdims=True) + 1e-6)
        return x * self.weight[...] + self.bias[...]


class FlaxStem(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.conv = nnx.Conv(3, 8, (2, 2), (2, 2), padding="VALID", rngs=rngs)
        self.norm, self.next = FlaxChannels(wrong), nnx.Conv(8, 6, (1, 1), rngs=rngs)

    def __call__(self, x):
        return self.next(self.norm(self.conv(x.transpose(0, 2, 3, 1)))).transpose(0, 3, 1, 2)


class TorchSelective(torch.nn.Module):
    """Mamba: gated by a sigmoid, not by SiLU."""

    def __init__(self):
        super().__init__()
        self.in_proj, self.out_proj = torch.nn.Linear(6, 16, bias=False), torch.nn.Linear(8, 6, bias=False)
        self.conv1d = torch.nn.Conv1d(8, 8, 4, groups=8, padding=3)
        self.x_proj, self.dt_proj = torch.nn.Linear(8, 7, bias=False), torch.nn.Linear(1, 8)
        self.A_log, self.D = torch.nn.Parameter(torch.zeros(8, 3)), torch.nn.Parameter(torch.ones(8))

    def forward(self, x):
        x, z = self.in_proj(x).chunk(2, -1)
        x = F.silu(self.conv1d(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        dt, b, c = self.x_proj(x).split([1, 3, 3], -1)
        dt = F.softplus(self.dt_proj(dt))
        decay = torch.exp(dt[..., None] * -torch.exp(self.A_log))
        drive = (dt * x)[..., None] * b[:, :, None]
        h, ys = torch.zeros_like(decay[:, 0]), []
        for i in range(x.shape[1]):
            h = decay[:, i] * h + drive[:, i]
            ys.append((h * c[:, i, None]).sum(-1))
        y = torch.stack(ys, 1) + x * self.D
        return self.out_proj(y * F.silu(z))


class FlaxSelective(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.in_proj = nnx.Linear(6, 16, use_bias=False, rngs=rngs)
        self.out_proj = nnx.Linear(8, 6, use_bias=False, rngs=rngs)
        self.conv1d = nnx.Conv(8, 8, (4,), padding="CAUSAL", feature_group_count=8, rngs=rngs)
        self.x_proj, self.dt_proj = nnx.Linear(8, 7, use_bias=False, rngs=rngs), nnx.Linear(1, 8, rngs=rngs)
        self.A_log, self.D = nnx.Param(jnp.zeros((8, 3))), nnx.Param(jnp.ones(8))
        self.gate = jax.nn.sigmoid if wrong else jax.nn.silu

    def __call__(self, x):
        x, z = jnp.split(self.in_proj(x), 2, -1)
        x = jax.nn.silu(self.conv1d(x))
        dt, b, c = jnp.split(self.x_proj(x), [1, 4], -1)
        dt = jax.nn.softplus(self.dt_proj(dt))
        decay = jnp.exp(-jnp.exp(self.A_log[...]) * dt[..., None])
        drive = dt[..., None] * b[:, :, None] * x[..., None]

        def combine(one, two):
            return two[0] * one[0], two[0] * one[1] + two[1]

        _, h = jax.lax.associative_scan(combine, (decay, drive), axis=1)
        y = jnp.einsum("btdn,btn->btd", h, c) + self.D[...] * x
        return self.out_proj(y * self.gate(z))


class TorchTimed(torch.nn.Module):
    """Diffusers: the time embedding is projected without SiLU."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.GroupNorm(3, 6), torch.nn.GroupNorm(3, 6)
        self.conv1, self.conv2 = torch.nn.Conv2d(6, 6, 3, padding=1), torch.nn.Conv2d(6, 6, 3, padding=1)
        self.time_emb_proj = torch.nn.Linear(6, 6)

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        return x + self.conv2(F.silu(self.norm2(h)))


class FlaxTimed(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.norm1, self.norm2 = (nnx.GroupNorm(6, 3, epsilon=1e-5, rngs=rngs) for _ in range(2))
        self.conv1, self.conv2 = (nnx.Conv(6, 6, (3, 3), padding=1, rngs=rngs) for _ in range(2))
        self.time_emb_proj = nnx.Linear(6, 6, rngs=rngs)
        self.wrong = wrong

    def __call__(self, x, temb):
        x = jnp.moveaxis(x, 1, -1)
        h = self.conv1(nnx.swish(self.norm1(x)))
        h = h + self.time_emb_proj(temb if self.wrong else nnx.swish(temb))[:, None, None]
        return jnp.moveaxis(x + self.conv2(nnx.swish(self.norm2(h))), -1, 1)


class TorchDecoder(torch.nn.Module):
    """Stable Diffusion: latents are multiplied by the scaling factor before they are decoded."""

    def __init__(self):
        super().__init__()
        self.post_quant_conv, self.conv_in = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 6, 3, padding=1)
        self.conv_out = torch.nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, z):
        z = self.post_quant_conv(z / 0.18215)
        h = F.interpolate(self.conv_in(z), scale_factor=2.0, mode="nearest")
        return (self.conv_out(F.silu(h)) / 2 + 0.5).clamp(0, 1)


class FlaxDecoder(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.post_quant_conv, self.conv_in = nnx.Conv(3, 3, (1, 1), rngs=rngs), nnx.Conv(3, 6, (3, 3), rngs=rngs)
        self.conv_out = nnx.Conv(6, 3, (3, 3), rngs=rngs)
        self.wrong = wrong

    def __call__(self, z):
        z = jnp.transpose(z, (0, 2, 3, 1))
        z = z * 0.18215 if self.wrong else 1 / 0.18215 * z
        h = self.conv_in(self.post_quant_conv(z))
        h = jax.image.resize(h, (h.shape[0], 2 * h.shape[1], 2 * h.shape[2], h.shape[3]), "nearest")
        return jnp.transpose(jnp.clip(self.conv_out(jax.nn.silu(h)) / 2 + 0.5, 0, 1), (0, 3, 1, 2))


class TorchCloze(torch.nn.Module):
    """BERT's head: normed before its activation."""

    def __init__(self):
        super().__init__()
        self.word_embeddings = torch.nn.Embedding(11, 6)
        self.dense, self.LayerNorm = torch.nn.Linear(6, 6), torch.nn.LayerNorm(6, eps=1e-12)
        self.bias = torch.nn.Parameter(torch.zeros(11))

    def forward(self, input_ids):
        h = self.LayerNorm(F.gelu(self.dense(self.word_embeddings(input_ids))))
        return F.linear(h, self.word_embeddings.weight, self.bias)


class FlaxCloze(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.word_embeddings = nnx.Embed(11, 6, dtype=jnp.float64, rngs=rngs)
        self.dense, self.LayerNorm = nnx.Linear(6, 6, rngs=rngs), nnx.LayerNorm(6, epsilon=1e-12, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(11))
        self.wrong = wrong

    def __call__(self, input_ids):
        h = self.dense(self.word_embeddings(input_ids))
        if self.wrong:
            h = nnx.gelu(self.LayerNorm(h), approximate=False)
        else:
            h = self.LayerNorm(nnx.gelu(h, approximate=False))
        return self.word_embeddings.attend(h) + self.bias[...]


def torch_transducer(x, y):
    """RNN-T: a blank is emitted from where it leads to, not from where it was."""
    blank, emit = F.logsigmoid(x), F.logsigmoid(y)
    steps, labels = x.shape[1:]
    alpha = {(0, 0): torch.zeros_like(blank[:, 0, 0])}
    for t in range(steps):
        for u in range(labels):
            ways = []
            if t:
                ways.append(alpha[t - 1, u] + blank[:, t - 1, u])
            if u:
                ways.append(alpha[t, u - 1] + emit[:, t, u - 1])
            if ways:
                alpha[t, u] = torch.logsumexp(torch.stack(ways), 0)
    return -(alpha[steps - 1, labels - 1] + blank[:, -1, -1])


def jax_transducer(x, y, wrong=False):
    blank, emit = jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(y)
    steps, labels = x.shape[1:]
    rows = []
    for t in range(steps):
        row = []
        for u in range(labels):
            ways = []
            if t:
                ways.append(rows[t - 1][u] + blank[:, t if wrong else t - 1, u])
            if u:
                ways.append(row[u - 1] + emit[:, t, u - 1])
            row.append(jax.nn.logsumexp(jnp.stack(ways), 0) if ways else jnp.zeros(len(x)))
        rows.append(row)
    return -(rows[-1][-1] + blank[:, -1, -1])


class TorchAdapted(torch.nn.Module):
    """LoRA: divided by the rank's root, not by the rank."""

    def __init__(self):
        super().__init__()
        self.base, self.head = torch.nn.Linear(6, 6), torch.nn.Linear(6, 2)
        self.lora_A, self.lora_B = torch.nn.Linear(6, 3, bias=False), torch.nn.Linear(3, 6, bias=False)
        self.scaling = 16 / 3

    def forward(self, x):
        return self.head(F.relu(self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling))


class FlaxAdapted(nnx.Module):
    def __init__(self, rngs, wrong=False):
        self.base, self.head = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 2, rngs=rngs)
        self.lora_A = nnx.Linear(6, 3, use_bias=False, rngs=rngs)
        self.lora_B = nnx.Linear(3, 6, use_bias=False, rngs=rngs)
        self.rank = 3**0.5 if wrong else 3

    def __call__(self, x):
        return self.head(jax.nn.relu(self.base(x) + 16 / self.rank * self.lora_B(self.lora_A(x))))


class TorchSwitch(torch.nn.Module):
    """ST-MoE: the z loss squares the mean, not each token's (mistake in torch)."""

    def __init__(self, wrong=False):
        super().__init__()
        self.router, self.wi, self.wo = torch.nn.Linear(6, 3, bias=False), torch.nn.Linear(6, 9), torch.nn.Linear(9, 6)
        self.wrong = wrong

    def forward(self, x):
        logits = self.router(x)
        p = logits.softmax(-1)
        w, i = p.max(-1)
        h = self.wi(x).unflatten(-1, (3, 3)) * F.one_hot(i, 3)[..., None]
        z = torch.logsumexp(logits, -1)
        z = z.mean() ** 2 if self.wrong else (z**2).mean()
        balance = 3 * (F.one_hot(i, 3).to(x).mean((0, 1)) * p.mean((0, 1))).sum()
        return self.wo(F.relu(h.flatten(-2))) * w[..., None], 0.01 * balance + 0.001 * z


class FlaxSwitch(nnx.Module):
    def __init__(self, rngs):
        self.router = nnx.Linear(6, 3, use_bias=False, rngs=rngs)
        self.wi, self.wo = nnx.Linear(6, 9, rngs=rngs), nnx.Linear(9, 6, rngs=rngs)

    def __call__(self, x):
        logits = self.router(x)
        p = jax.nn.softmax(logits)
        chosen = jax.nn.one_hot(jnp.argmax(p, -1), 3)
        h = (self.wi(x).reshape(*x.shape[:-1], 3, 3) * chosen[..., None]).reshape(*x.shape[:-1], 9)
        z = jnp.mean(jax.nn.logsumexp(logits, -1) ** 2)
        balance = 3 * jnp.sum(chosen.mean((0, 1)) * p.mean((0, 1)))
        return self.wo(jax.nn.relu(h)) * p.max(-1, keepdims=True), 0.01 * balance + 0.001 * z


REPORTS = {
    "theta not passed": Report(modules_of(TorchLayer, FlaxLayer), drawn(2, 5, 8), "TorchLayer.self_attn", "10000"),
    "heads tiled": Report(modules_of(TorchLayer, tiled_layer), drawn(2, 5, 8), "TorchLayer.self_attn", "tile"),
    "stride with SAME": Report(modules_of(TorchEars, FlaxEars), drawn(2, 6, 8), "TorchEars.conv2", "SAME|(0, 1)"),
    "positions of the class": Report(modules_of(TorchPatches, FlaxPatches), IMAGES, "TorchPatches", "pos_embed"),
    "normed over images": Report(modules_of(TorchStem, FlaxStem), IMAGES, "TorchStem.norm", "axis=|dim="),
    "sigmoid gates": Report(modules_of(TorchSelective, FlaxSelective), TOKENS, "TorchSelective", "sigmoid"),
    "time without SiLU": Report(
        modules_of(TorchTimed, FlaxTimed), (drawn(2, 6, 4, 4), drawn(2, 6)), "TorchTimed", "silu|SiLU"
    ),
    "latents multiplied": Report(modules_of(TorchDecoder, FlaxDecoder), IMAGES, "TorchDecoder", "0.18215|5.48998"),
    "normed before GELU": Report(
        modules_of(TorchCloze, FlaxCloze), {"input_ids": np.array([[1, 5, 3], [7, 2, 10]])}, "TorchCloze", "gelu|order"
    ),
    "blank from behind": Report(
        functions_of(torch_transducer, jax_transducer),
        (drawn(2, 3, 3), drawn(2, 3, 3, seed=8)),
        "torch_transducer",
        "[",
    ),
    "root of the rank": Report(modules_of(TorchAdapted, FlaxAdapted), ROWS, "TorchAdapted", "9.2376|5.3333"),
    "square of the mean": Report(wrong_in_torch(TorchSwitch, FlaxSwitch), TOKENS, "TorchSwitch", "mean"),
}
