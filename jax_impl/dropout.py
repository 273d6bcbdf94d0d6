"""Dropout whose mask is a function of (seed, step, layer path), equal in both frameworks.
Twin: torch_impl/dropout.py.
"""

import zlib

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.random_bits import fold_in, random_mask
from shared import rng


class Dropout(nnx.Dropout):
    """Zero each element with probability `rate` and scale the rest by 1 / (1 - rate); x of any shape.

    With a key (see `seed_dropout`) the mask is shared by both frameworks; without one it is the framework's own.
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs):
        super().__init__(rate, rngs=rngs)
        self.rate = rate
        self.key = nnx.data(None)
        self.native = False

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        if self.key is None:
            return super().__call__(x)
        if self.native:
            return super().__call__(x, rngs=_native(self.key))
        if self.deterministic or self.rate == 0.0:
            return x
        keep = random_mask(self.key, x.shape, rng.keep_threshold(self.rate))
        return jnp.where(keep, x / (1.0 - self.rate), 0.0)

    def take_key(self, key: Array, kind: str) -> None:
        """Draw the masks of this key; with `kind` "native" they come from a generator of XLA that starts there."""
        self.key, self.native = key, kind == "native"


def seed_dropout(module: nnx.Module, key: Array | rng.Key | None, kind: str = "shared") -> None:
    """Give every `Dropout` of `module` its own key, folded from `key` and its path; None: the framework's own masks.

    With `kind` "native" the framework's own masks are drawn too, from a generator that starts at `key`.
    """
    for path, layer in nnx.iter_modules(module):
        if isinstance(layer, Dropout):
            layer.key = None
            if key is not None:
                layer.take_key(_fold_in_name(jnp.asarray(key, jnp.uint32), path), kind)


def _fold_in_name(key: Array, path: tuple[str | int, ...]) -> Array:
    name = ".".join(map(str, path)).encode()
    return fold_in(key, zlib.crc32(name))


def _native(key: Array) -> nnx.Rngs:
    """XLA's own generator, from a key of two words."""
    return nnx.Rngs(dropout=jax.random.wrap_key_data(jnp.tile(key, 2), impl="rbg"))
