"""One side of a comparison: a module with its properties, read once, or a recording in its place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosscheck.recording.arguments import Arguments
from crosscheck.recording.nesting import is_float, named_arrays, real_dtype, to_host
from crosscheck.recording.recording import PROOF_DTYPE, Recording

PACKAGES = {"torch": ("torch",), "jax": ("flax", "jax", "jaxlib", "equinox")}


@dataclass(frozen=True)
class Side:
    """One side ("torch" or "jax"): a module or function, or None and a recording in its place.

    `title` is its name in messages; `dtypes` are those of its parameters, which are on `device`. `own` are keywords
    that only this side takes, and `optimizer` makes its updates.
    """

    name: str
    module: Any
    title: str
    dtypes: tuple[np.dtype, ...] = ()
    device: str = "cpu"
    own: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = None
    recorded: Recording | None = None

    @staticmethod
    def of(name: str, module: Any, own: Mapping[str, Any] | None = None, optimizer: Any = None) -> "Side":
        """The side of a module or function, with its title, dtypes and device."""
        device = _device_of(module) if name == "torch" else "cpu"
        own = to_host(dict(own or {}))
        return Side(name, module, title_of(module), tuple(_parameter_dtypes(module)), device, own, optimizer)

    def with_own(self, arguments: Arguments) -> Arguments:
        """The arguments of this side: the common ones plus its own keywords."""
        args, kwargs = arguments
        return args, {**kwargs, **self.own}

    @property
    def size(self) -> int:
        """The number of entries of a torch module's parameters; 0 of anything else."""
        if self.name != "torch" or self.module is None:
            return 0
        from crosscheck.recording.torch_side import size_of

        return size_of(self.module)

    def dtype_under_test(self, arguments: Arguments) -> np.dtype:
        """The floating dtype of the first parameter, or else of the first float input."""
        dtypes = [*self.dtypes, *(array.dtype for array in named_arrays(arguments).values())]
        return real_dtype(next(filter(is_float, dtypes), PROOF_DTYPE))


def side_of(module: Any) -> str:
    """ "torch" or "jax", from the classes that the module is made of; torch for a plain function."""
    return "jax" if is_module_of(module, "jax") else "torch"


def is_module_of(module: Any, side: str) -> bool:
    """True if the module's class or one of its bases comes from that side's framework."""
    kinds = type(module[0] if isinstance(module, tuple) and module else module).__mro__
    return any(kind.__module__.partition(".")[0] in PACKAGES[side] for kind in kinds)


def title_of(module: Any) -> str:
    """The name of the module's class, or of the function."""
    module = module[0] if isinstance(module, tuple) and module else getattr(module, "_orig_mod", module)
    return getattr(module, "__name__", type(module).__name__).replace("<lambda>", "function")


def _parameter_dtypes(module: Any) -> list[np.dtype]:
    """The dtype of every parameter, in order."""
    if side_of(module) == "torch":
        owners = [module] if hasattr(module, "parameters") else _closed_over(module)
        parameters = [each for owner in owners for each in owner.parameters()]
        if not parameters:
            return []
        from torch_impl.weights import to_numpy

        return [to_numpy(parameter.detach().flatten()[:1]).dtype for parameter in parameters]
    import jax

    from crosscheck.recording.jax_modules import parameters_of

    return [np.dtype(leaf.dtype) for leaf in jax.tree.leaves(parameters_of(module))]


def _closed_over(function: Any) -> list[Any]:
    """The torch modules that a plain function closes over: it runs in their dtype."""
    cells = getattr(function, "__closure__", None) or ()
    held = [cell.cell_contents for cell in cells if cell != type(cell)()]
    return [each for each in held if hasattr(each, "parameters") and is_module_of(each, "torch")]


def _device_of(module: Any) -> str:
    """cpu or cuda: where the torch module's parameters are."""
    parameters = list(module.parameters()) if hasattr(module, "parameters") else []
    return parameters[0].device.type if parameters else "cpu"
