"""Generation of tokens, greedy or drawn, with a cache of keys and values. Twin: torch_impl/generation.py."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.compile_cache import options_for
from jax_impl.precision import at_least_float32
from jax_impl.weights import to_numpy
from shared.tasks.generation import Decoding, plan

Cache = list[Any]  # what a model keeps of the tokens before, as its `empty_cache` makes it
State = tuple[Array, Array, Cache | None, Array]  # tokens, finished rows, cache, newest tokens


def generate(
    module: nnx.Module,
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
) -> Int[Array, "B L"]:
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
    run = _runner(module)
    tokens, past, finished = start.tokens, None, np.zeros(len(start.lengths), bool)
    for stretch in start.stretches(step_by_step=on_token is not None):
        first, last, keeps = stretch.start, stretch.stop, start.keeps_cache(stretch.start)
        tokens, finished, past, new = run(
            (tokens, finished, past if keeps else None),
            (first, last, start.lengths, start.uniforms),
            decoding=decoding,
            keeps=keeps,
            width=start.width(first),
            size=start.size(first),
        )
        if on_token is not None:
            on_token(to_numpy(new))
        if stop is not None and to_numpy(finished).all():
            break
    return jnp.asarray(tokens)[:, : np.shape(ids)[1] + steps]


def next_logits(
    module: nnx.Module, tokens: Int[Array, "B L"], ends: Int[Array, "B"], past: Cache | None, width: int, size: int
) -> tuple[Float[Array, "B V"], Cache]:
    """Logits of the token at `ends`, from the `width` tokens before it: those that the cache of `size` lacks, or all
    that the context holds, whose positions count from 0.
    """
    rows = jnp.arange(len(tokens))
    first = (ends - width).clip(0)
    columns = first[:, None] + jnp.arange(width)
    inputs = tokens[rows[:, None], columns]
    positions = columns - (first[:, None] if past is None else 0)
    past = module.empty_cache(len(tokens), size) if past is None else past
    x, past = module.advance(inputs, positions, past)
    return module.logits(x[rows, ends - 1 - first]), past


def write_token(
    tokens: Int[Array, "B L"],
    finished: Bool[Array, "B"],
    ends: Int[Array, "B"],
    logits: Float[Array, "B V"],
    uniforms: Float[Array, "B"],
    decoding: Decoding,
) -> tuple[Int[Array, "B L"], Bool[Array, "B"], Int[Array, "B"]]:
    """Put the next token of each row at its end; rows that have met the stop token repeat it."""
    new = choose(logits, uniforms, decoding).astype(tokens.dtype)
    if decoding.stop is not None:
        new = jnp.where(finished, decoding.stop, new)
        finished = finished | (new == decoding.stop)
    return tokens.at[jnp.arange(len(tokens)), ends].set(new), finished, new


def choose(logits: Float[Array, "B V"], uniforms: Float[Array, "B"], decoding: Decoding) -> Int[Array, "B"]:
    """The likeliest token, or one drawn by a uniform number."""
    if decoding.temperature is None:
        return _likeliest(logits)
    scores = at_least_float32(logits) / decoding.temperature
    if decoding.top_k is not None:
        scores = keep_top_k(scores, decoding.top_k)
    if decoding.top_p is not None:
        scores = keep_top_p(scores, decoding.top_p)
    return draw(jax.nn.softmax(scores, axis=-1), uniforms)


def keep_top_k(scores: Float[Array, "B V"], top_k: int) -> Float[Array, "B V"]:
    """-inf for all tokens but the `top_k` likeliest, and those that are as likely as the last of them."""
    least = jax.lax.top_k(scores, min(top_k, scores.shape[-1]))[0][:, -1:]
    return jnp.where(scores < least, -jnp.inf, scores)


def keep_top_p(scores: Float[Array, "B V"], top_p: float) -> Float[Array, "B V"]:
    """-inf for all tokens but the fewest, from the likeliest on, whose probabilities add up to `top_p`."""
    order = jnp.argsort(-scores, axis=-1, stable=True)
    likely = jax.nn.softmax(jnp.take_along_axis(scores, order, axis=-1), axis=-1)
    before = jnp.cumsum(likely, axis=-1) - likely
    kept = jnp.take_along_axis(before < top_p, jnp.argsort(order, axis=-1, stable=True), axis=-1)
    return jnp.where(kept, scores, -jnp.inf)


def draw(probabilities: Float[Array, "B V"], uniforms: Float[Array, "B"]) -> Int[Array, "B"]:
    """The first token at which the probabilities so far add up to more than a uniform number of all."""
    total = jnp.cumsum(probabilities, axis=-1)
    return (total <= uniforms[:, None] * total[:, -1:]).sum(-1).astype(jnp.int32)


def _likeliest(logits: Float[Array, "B V"]) -> Int[Array, "B"]:
    """`predicted_classes`, in two sweeps that XLA vectorises on a CPU, where its argmax goes number by number."""
    scores = jnp.where(jnp.isnan(logits), jnp.inf, logits)  # NaN is the largest, too
    best = scores == scores.max(axis=-1, keepdims=True)
    return jnp.where(best, jnp.arange(logits.shape[-1]), logits.shape[-1]).min(axis=-1).astype(jnp.int32)


def _runner(module: nnx.Module) -> Callable[..., State]:
    """Steps of the module in eval mode, compiled once for each structure of a model and each width and size."""
    graph, state = nnx.split(module)
    weights, structure = jax.tree.flatten(state)
    first = jnp.asarray(weights[0])
    options = options_for(next(iter(first.devices())), first.dtype.name)
    return functools.partial(_compiled(graph, structure, tuple(options.items())), weights)


@functools.cache
def _compiled(graph: Any, structure: Any, options: tuple[tuple[str, Any], ...]) -> Callable[..., State]:
    static = ("decoding", "keeps", "width", "size")

    @functools.partial(jax.jit, static_argnames=static, donate_argnames="state", compiler_options=dict(options))
    def run(weights, state, others, *, decoding, keeps, width, size):
        (tokens, finished, past), (first, last, ends, uniforms) = state, others
        module = nnx.merge(graph, jax.tree.unflatten(structure, weights))
        module.eval()

        def goes_on(state):
            step, _, finished, *_ = state
            return (step < last) & ~(finished.all() & (decoding.stop is not None))

        def advance(state):
            step, tokens, finished, past, _ = state
            logits, grown = next_logits(module, tokens, ends + step, past, width, size)
            tokens, finished, new = write_token(tokens, finished, ends + step, logits, uniforms[step], decoding)
            return step + 1, tokens, finished, grown if keeps else None, new

        begin = first, tokens, finished, past, tokens[:, 0]
        begins_cache = keeps and past is None
        return (advance(begin) if begins_cache else jax.lax.while_loop(goes_on, advance, begin))[1:]

    return run
