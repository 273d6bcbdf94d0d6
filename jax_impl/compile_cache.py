"""Programs that JAX keeps between runs: a damaged one is compiled again and replaced.

PyTorch has no twin of this file: its compiler checks what it has kept.
"""

from pathlib import Path
from typing import Any

import jax


def compiled_or_loaded(lowered: jax.stages.Lowered, name: str, options: dict[str, Any] | None) -> jax.stages.Compiled:
    """The program of the function `name`, from JAX's cache where it is there and sound."""
    quiet = jax.config.jax_raise_persistent_cache_errors
    try:
        jax.config.update("jax_raise_persistent_cache_errors", True)
        return lowered.compile(options)
    except Exception:  # of the cache, whose errors have no class of their own; one of the program comes again below
        _forget(name)
        jax.config.update("jax_raise_persistent_cache_errors", quiet)
        return lowered.compile(options)
    finally:
        jax.config.update("jax_raise_persistent_cache_errors", quiet)


def _forget(name: str) -> None:
    """Remove the kept programs of functions of this name: JAX never replaces one that it can't read."""
    folder = jax.config.jax_compilation_cache_dir
    for path in Path(folder).glob(f"jit_{name}-*") if folder else ():
        path.unlink(missing_ok=True)
