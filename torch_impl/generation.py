"""Generation of tokens, greedy or drawn, with a cache of keys and values. Twin: jax_impl/generation.py."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.tasks.generation import Decoding, plan
from torch_impl.losses import predicted_classes
from torch_impl.one_token import OneTokenStep, can_pack
from torch_impl.precision import at_least_float32
from torch_impl.recorded import Recording
from torch_impl.weights import to_numpy

STRETCH = 256  # logits
Cache = list[Any]  # what a model keeps of the tokens before, as its `empty_cache` makes it


def generate(
    module: nn.Module,
    ids: Any,
    *,
    steps: int,
    lengths: Any = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    seed: int = 0,
    cache: bool = True,
    on_token: Callable[[np.ndarray], None] | None = None,
) -> Int[Tensor, "B L"]:
    """Continue prompts (B, T) by `steps` tokens: (B, T + steps), each prompt directly followed by its new tokens.

    Prompts of unequal `lengths` (B,) are padded on the right; behind their tokens stands 0, behind `stop` again `stop`.
    A model has a `config` with its sizes, `empty_cache`, `advance` and `logits`, as GPT does.
    Without a temperature the likeliest token is taken. `on_token` is given the new tokens (B,) of each step.
    Raises IsogradError for what the model can't read and for settings that mean nothing.
    """
    decoding = Decoding(temperature, top_k, top_p, stop)
    config = module.config
    start = plan(
        ids,
        steps=steps,
        lengths=lengths,
        stop=stop,
        seed=seed,
        cache=cache,
        vocabulary_size=config.vocabulary_size,
        context=config.sequence_length,
    )
    place = functools.partial(torch.tensor, device=next(module.parameters()).device)
    with _evaluating(module) as read:
        tokens, ends, uniforms = place(start.tokens), place(start.lengths), place(start.uniforms)
        past, finished = None, place(np.zeros(len(start.lengths), bool))
        for step in range(steps):
            keeps = start.keeps_cache(step)
            past = past if keeps else None
            logits, past = read(tokens, ends + step, past, width=start.width(step), size=start.size(step))
            tokens, finished, new = write_token(
                tokens, finished, ends + step, logits, uniforms[step], decoding=decoding
            )
            if on_token is not None:
                on_token(to_numpy(new))
            if stop is not None and to_numpy(finished).all():
                break
    return tokens[:, : np.shape(ids)[1] + steps]


def next_logits(
    module: nn.Module, tokens: Int[Tensor, "B L"], ends: Int[Tensor, "B"], past: Cache | None, width: int, size: int
) -> tuple[Float[Tensor, "B V"], Cache]:
    """Logits of the token at `ends`, from the `width` tokens before it: those that the cache of `size` lacks, or all
    that the context holds, whose positions count from 0.
    """
    rows = torch.arange(len(tokens), device=tokens.device)
    first = (ends - width).clip(0)
    columns = first[:, None] + torch.arange(width, device=tokens.device)
    inputs = tokens[rows[:, None], columns]
    positions = columns - (first[:, None] if past is None else 0)
    past = module.empty_cache(len(tokens), size) if past is None else past
    x, past = module.advance(inputs, positions, past)
    return module.logits(x[rows, ends - 1 - first]), past


def write_token(
    tokens: Int[Tensor, "B L"],
    finished: Bool[Tensor, "B"],
    ends: Int[Tensor, "B"],
    logits: Float[Tensor, "B V"],
    uniforms: Float[Tensor, "B"],
    decoding: Decoding,
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B"], Int[Tensor, "B"]]:
    """Put the next token of each row at its end; rows that have met the stop token repeat it."""
    new = choose(logits, uniforms, decoding).to(tokens.dtype)
    if decoding.stop is not None:
        new = torch.where(finished, decoding.stop, new)
        finished = finished | (new == decoding.stop)
    tokens[torch.arange(len(tokens), device=tokens.device), ends] = new
    return tokens, finished, new


def choose(logits: Float[Tensor, "B V"], uniforms: Float[Tensor, "B"], decoding: Decoding) -> Int[Tensor, "B"]:
    """The likeliest token, or one drawn by a uniform number."""
    if decoding.temperature is None:
        return _likeliest(logits)
    scores = at_least_float32(logits) / decoding.temperature
    if decoding.top_k is not None:
        scores = keep_top_k(scores, decoding.top_k)
    if decoding.top_p is not None:
        scores = keep_top_p(scores, decoding.top_p)
    return draw(torch.softmax(scores, dim=-1), uniforms)


def keep_top_k(scores: Float[Tensor, "B V"], top_k: int) -> Float[Tensor, "B V"]:
    """-inf for all tokens but the `top_k` likeliest, and those that are as likely as the last of them."""
    least = torch.topk(scores, min(top_k, scores.shape[-1])).values[:, -1:]
    return torch.where(scores < least, -torch.inf, scores)


def keep_top_p(scores: Float[Tensor, "B V"], top_p: float) -> Float[Tensor, "B V"]:
    """-inf for all tokens but the fewest, from the likeliest on, whose probabilities add up to `top_p`."""
    order = torch.argsort(-scores, dim=-1, stable=True)
    likely = torch.softmax(torch.take_along_dim(scores, order, dim=-1), dim=-1)
    before = torch.cumsum(likely, dim=-1) - likely
    kept = torch.take_along_dim(before < top_p, torch.argsort(order, dim=-1, stable=True), dim=-1)
    return torch.where(kept, scores, -torch.inf)


def draw(probabilities: Float[Tensor, "B V"], uniforms: Float[Tensor, "B"]) -> Int[Tensor, "B"]:
    """The first token at which the probabilities so far add up to more than a uniform number of all."""
    total = torch.cumsum(probabilities, dim=-1)
    return (total <= uniforms[:, None] * total[:, -1:]).sum(-1).int()


def _likeliest(logits: Float[Tensor, "B V"]) -> Int[Tensor, "B"]:
    """`predicted_classes`; on a CPU, PyTorch finds the largest number quicker than its place, so that it is looked for
    in one stretch alone, and in what is left over behind the last.
    """
    whole = logits.shape[-1] // STRETCH * STRETCH
    if logits.is_cuda or not whole:
        return predicted_classes(logits)
    stretches = logits[:, :whole].unflatten(-1, (-1, STRETCH))
    first = stretches.amax(-1).argmax(-1)
    candidates = torch.cat([stretches[torch.arange(len(logits)), first], logits[:, whole:]], -1)
    best = predicted_classes(candidates)
    return torch.where(best < STRETCH, first * STRETCH, whole - STRETCH).int() + best


class _Reader:
    """`next_logits` of a module; what reads a cache, whose memory `advance` changes, is one graph on a GPU."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.past: Cache | None = None
        self.read_newest: Callable[[Tensor, Tensor], Tensor] | None = None  # of the past

    def __call__(self, tokens: Tensor, ends: Tensor, past: Cache | None, *, width: int, size: int) -> tuple[Any, Cache]:
        if past is None:
            return next_logits(self.module, tokens, ends, None, width, size)
        if self.read_newest is None or self.past is not past:
            self.past, read = past, self._reader_of_newest(past, size)
            self.read_newest = Recording(read, (tokens, ends)) if tokens.is_cuda else read
        return self.read_newest(tokens, ends), past

    def _reader_of_newest(self, past: Cache, size: int) -> Callable[[Tensor, Tensor], Tensor]:
        if not can_pack(self.module):
            return lambda tokens, ends: next_logits(self.module, tokens, ends, past, 1, size)[0]
        step = OneTokenStep(self.module, past)
        return lambda tokens, ends: step(tokens, ends - 1)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[Callable[..., tuple[Tensor, Cache]]]:
    """`next_logits` of the module, whose layers are in eval mode meanwhile; without gradients."""
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        yield torch.inference_mode()(_Reader(module))
    finally:
        for layer, mode in modes.items():
            layer.training = mode
