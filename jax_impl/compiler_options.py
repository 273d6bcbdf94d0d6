"""Options of XLA's compiler, as far as this version of it knows them. PyTorch has no twin of this file."""

import functools
from collections.abc import Mapping

import jax
import numpy as np

Option = bool | int


def known(options: Mapping[str, Option], device: jax.Device) -> dict[str, Option]:
    """Those of the options that XLA knows for this device: they come and go with its versions."""
    return {name: value for name, value in options.items() if _is_known(name, value, device)}


@functools.cache
def _is_known(name: str, value: Option, device: jax.Device) -> bool:
    zero = jax.device_put(np.zeros((), np.float32), device)
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(zero).compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
