"""A module run in its own dtype with every number carried in float64 beside it, several times over: its shadows.

Python, autograd and every cast see the module's own tensors, so a result has the dtype that it really has there; the
shadows follow in float64, and casts between floats leave them as they are. In the first shadow nothing is rounded: it
is the oracle. In the others every result moves at random where the module's own operation rounds, and by as much
(Monte Carlo arithmetic: Parker 1997). An operation rounds where its result differs from that of the same operation in
float64 on the same operands: what only moves numbers around, or happens to be exact, stays as it is.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from crosscheck.criterion import NOISE_RATIO
from crosscheck.recording.precision import roundings_of_a_product
from crosscheck.recording.rounding.taken_apart import parts_of
from torch_impl.weights import to_numpy

WRITTEN = {"native_batch_norm": (3, 4)}  # positions of arguments written in place, which the schema does not declare
FUSED = ("norm", "gelu", "silu", "mish", "softplus", "convolution_backward")  # several operations in other code
REPLACED = ("set_", "resize_")  # operations that exchange a tensor's memory
DIGITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}  # binary
EXPONENT = 0x7FF << 52  # the bits of a float64's exponent
ACTIVE: list["Shadows"] = []


def read(tensor: Tensor) -> np.ndarray:
    """The tensor as numpy; among shadows all of these on a new first axis, with the largest number of the tensor's own
    dtype as infinity."""
    if not ACTIVE:
        with torch._C.DisableTorchFunction():  # a flip replaces functions for the module's own calls alone
            return to_numpy(tensor)
    with _disable_current_modes():
        kept = ACTIVE[-1].of(tensor.detach())
        # equal ones share their memory, which no one writes: they are copied then
        shadows = to_numpy(kept) if kept.stride(0) else kept[:1].resolve_conj().contiguous().numpy()
    if tensor.is_floating_point():
        largest = torch.finfo(tensor.dtype).max
        if shadows.size and not (shadows.max() < largest and shadows.min() > -largest):
            shadows = np.where(np.abs(shadows) >= largest, np.copysign(np.inf, shadows), shadows)
    return np.broadcast_to(shadows, kept.shape)


def is_float(value: Any) -> bool:
    """True for a tensor of real or complex floats."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


class Shadows(TorchDispatchMode):
    """Context in which floats, and what is decided from them, have one exact shadow and `runs` that are rounded.

    Shadows belong to memory rather than to tensors, so views and writes in place need no care. A result in a shorter
    dtype than the one under test is rounded to the latter: what one side alone shortens is its error, and no noise.
    """

    def __init__(self, dtype: torch.dtype, runs: int, seed: int = 0):
        super().__init__()
        self.dtype = dtype
        self.number = 1 + runs
        self.generator = torch.Generator().manual_seed(seed)
        self.kept: dict[int, tuple[StorageWeakRef, Tensor]] = {}  # flat: (shadows, numbers in the memory)
        self.crowded = 1000  # so many are kept before those of freed memory are dropped
        self.uses_mkldnn = torch.backends.mkldnn.enabled  # switched off: its recurrent layers have no float64

    def __enter__(self) -> "Shadows":
        torch.backends.mkldnn.enabled = False
        ACTIVE.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        ACTIVE.remove(self)
        torch.backends.mkldnn.enabled = self.uses_mkldnn

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if parts := parts_of(operation, args, kwargs):
            with self:
                return parts(*args, **kwargs)
        written = _written(operation, args, kwargs)
        if operation.is_view or _is_random(operation):  # a view's memory has shadows, or gets them when it is read
            self._forget(written)
            return operation(*args, **kwargs)
        is_flat = not kwargs and not any(isinstance(each, list | tuple | dict) for each in args)
        leaves, structure = (list(args), None) if is_flat else pytree.tree_flatten((args, kwargs))
        is_followed = any(map(self._is_followed, leaves))
        changes = [is_followed and any(leaf is each for each in written) for leaf in leaves]
        wide = _Wide(operation, structure)
        dtype = next((self._longer(leaf.dtype) for leaf in leaves if is_float(leaf)), torch.float64)
        operands = [
            self._constants(leaf, dtype) if isinstance(leaf, float) else self._operands(leaf, change, wide.is_fused)
            for leaf, change in zip(leaves, changes, strict=True)
        ]
        before = [leaf.clone() if change else leaf for leaf, change in zip(leaves, changes, strict=True)]
        results, made = pytree.tree_flatten(operation(*args, **kwargs))
        if is_followed or any(map(is_float, results)):
            fresh = [not (isinstance(leaf, Tensor) and self._has(leaf)) for leaf in results]
            if any(changes) or any(fresh):
                results = self._follow(wide, operands, list(map(self._own, before)), leaves, changes, results, fresh)
        return pytree.tree_unflatten(results, made)

    def _follow(
        self,
        wide: "_Wide",
        operands: Sequence[Sequence[Any]],
        before: Sequence[Any],
        leaves: Sequence[Any],
        changes: Sequence[bool],
        results: Sequence[Any],
        fresh: Sequence[bool],
    ) -> list[Any]:
        """Do the same to the shadows; returns the results, those that are decided from floats as the exact shadow
        decides. `before` are the operands in float64, as they were before the operation."""
        makes_floats = any(map(is_float, results))
        found = [wide([each[number] for each in operands], makes_floats) for number in range(self.number)]
        exact = wide(before, makes_floats)
        for leaf, change, right in zip(leaves, changes, before, strict=True):
            if change:
                self._round(self.of(leaf), leaf, right, _limit(self._longer(leaf.dtype), right))
        kept = []
        for place, (leaf, is_new) in enumerate(zip(results, fresh, strict=True)):
            if is_new and isinstance(leaf, Tensor):
                limit = wide.limit(self._longer(leaf.dtype), exact[place], before)
                leaf = self._keep(leaf, [each[place] for each in found], exact[place], limit)
            kept.append(found[0][place] if is_new and not isinstance(leaf, Tensor) else leaf)
        return kept

    def of(self, tensor: Tensor, to_write: bool = False) -> Tensor:
        """The shadows of a tensor, on a new first axis; until they are written, equal ones share their memory."""
        storage = tensor.untyped_storage()
        if not self._has(tensor):
            base = torch.empty(0, dtype=tensor.dtype.to_real()).set_(storage)  # type: ignore[call-overload]
            flat = base.clone() if (wide := _float64(base)) is base else wide
            self.kept[storage._cdata] = StorageWeakRef(storage), flat.expand(self.number, -1)
        reference, flat = self.kept[storage._cdata]
        if to_write and not flat.is_contiguous():
            flat = flat.contiguous()
            self.kept[storage._cdata] = reference, flat
        flat = flat.view(torch.complex128) if tensor.is_complex() else flat
        sizes, strides = (self.number, *tensor.size()), (flat.stride(0), *tensor.stride())
        return flat.as_strided(sizes, strides, tensor.storage_offset())

    def _has(self, tensor: Tensor) -> bool:
        kept = self.kept.get(tensor.untyped_storage()._cdata)
        return kept is not None and not kept[0].expired()

    def _own(self, leaf: Any) -> Any:
        """A tensor's own numbers in float64: those of its shadows as long as none of them is written."""
        is_kept = isinstance(leaf, Tensor) and self.number > 1 and self._has(leaf)
        is_equal = is_kept and not self.kept[leaf.untyped_storage()._cdata][1].stride(0)
        return self.of(leaf)[0] if is_equal else _float64(leaf)

    def _is_followed(self, leaf: Any) -> bool:
        return is_float(leaf) or (isinstance(leaf, Tensor) and self._has(leaf))

    def _operands(self, leaf: Any, change: bool, is_fused: bool) -> Sequence[Any]:
        if not change and not self._is_followed(leaf):
            return [leaf] * self.number
        shadows = self.of(leaf, to_write=change)
        if is_fused and not change and leaf.is_floating_point():
            shadows = shadows.clone()
            shadows[1:] += self._random(shadows[1:]) * _limit(self._longer(leaf.dtype), shadows[0])
        return shadows.unbind(0)

    def _constants(self, number: float, dtype: torch.dtype) -> Sequence[float]:
        """Python's number for each shadow: JAX rounds it to the dtype of the tensor that it meets, torch may not."""
        error = float(torch.tensor(number, dtype=dtype)) - number
        if error == 0 or not math.isfinite(error):
            return [number] * self.number
        signs = self._random(torch.empty(self.number - 1)).sign()
        return [number, *(number + float(sign) * error for sign in signs)]

    def _longer(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype, or the one under test if that has more digits."""
        is_short = dtype.is_floating_point and DIGITS.get(dtype, 0) < DIGITS[self.dtype]
        return self.dtype if is_short else dtype

    def _random(self, like: Tensor) -> Tensor:
        return torch.empty_like(like).uniform_(-1, 1, generator=self.generator)

    def _keep(self, result: Tensor, shadows: Sequence[Tensor], exact: Tensor, limit: Tensor) -> Tensor:
        """A new result, after its memory has been given shadows; what is decided from floats is what the exact shadow
        decides."""
        if len(self.kept) > self.crowded:
            self.kept = {key: kept for key, kept in self.kept.items() if not kept[0].expired()}
            self.crowded = 2 * len(self.kept) + 1000
        result = result if is_float(result) else shadows[0]
        stacked = torch.stack([each if each.shape == result.shape else shadows[0] for each in shadows])
        self._round(stacked, result, exact, limit)
        self.of(result, to_write=True).copy_(stacked)
        return result

    def _forget(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            self.kept.pop(tensor.untyped_storage()._cdata, None)

    def _round(self, shadows: Tensor, real: Tensor, exact: Tensor, limit: Tensor) -> None:
        """Move all shadows of a result but the exact one at random: by less than the limit of its rounding, or by the
        operation's own error where that is larger."""
        if not is_float(real):
            return
        if real.is_complex():
            shadows, real, exact = (torch.view_as_real(each.resolve_conj()) for each in (shadows, real, exact))
        error = (real.double() - exact).abs()
        error = error if self._longer(real.dtype) == real.dtype else torch.minimum(error, limit)
        rounds = (error > 0) & error.isfinite()
        error, limit = torch.where(rounds, error, 0.0), torch.where(rounds, limit, 0.0)
        random = self._random(shadows[1:])
        if (error > limit).any():
            shadows[1:] += torch.where(error > limit, torch.copysign(error, random), random * limit)
        else:
            shadows[1:] += random.mul_(limit)


def _limit(dtype: torch.dtype, exact: Tensor, operands: Any = None) -> Tensor:
    """How far rounding to a dtype can move each entry: half a unit in its last place; 0 for integers."""
    if not (dtype.is_floating_point or dtype.is_complex):
        return torch.zeros(())
    exact = torch.view_as_real(exact.resolve_conj()) if exact.is_complex() else exact
    numbers = torch.finfo(dtype)
    power = (exact.view(torch.int64) & EXPONENT).view(torch.float64).clamp_min(numbers.smallest_normal)
    return torch.minimum(power * numbers.eps / 2, exact.abs())


def _limit_of_sum(dtype: torch.dtype, exact: Tensor, operands: Sequence[Any]) -> Tensor:
    """The same for the roundings of all partial sums together: XLA adds up bfloat16 in bfloat16, term by term."""
    terms, *rest = operands
    if terms.dim() == 0 or terms.numel() == 0 or not terms.is_floating_point():
        return _limit(dtype, exact)
    named = [axis for axis in rest if isinstance(axis, int) and not isinstance(axis, bool)]
    axes = named or list(range(terms.dim()))
    partial = terms.movedim(axes, list(range(len(axes)))).reshape(-1, *exact.squeeze().shape).cumsum(0)
    return _limit(dtype, partial).square().sum(0).sqrt().reshape(exact.shape)


def _limit_of_sums(dtype: torch.dtype, exact: Tensor, operands: Sequence[Any]) -> Tensor:
    """The same for results that an operation of many steps adds up from the entries of its first operand."""
    return _limit(dtype, exact) * max(1.0, operands[0].numel() / max(exact.numel(), 1)) ** 0.5


def _limit_of_product(dtype: torch.dtype, exact: Tensor, operands: Sequence[Any]) -> Tensor:
    """The same for a product of matrices: XLA adds it up in its own dtype, term by term, on some processors.

    The k-th of n partial sums has about k / n of the squares of all terms. It is rounded by half a unit of the power of
    two below it, whose square is half as large in the mean: so n / 4 times the squares in all.
    """
    left, right = operands[:2]
    if not are_added_up_short(dtype):
        return _limit(dtype, exact)
    squares = left.square() @ right.square() * (left.shape[-1] / 4)
    return torch.hypot(_limit(dtype, exact), squares.sqrt() * torch.finfo(dtype).eps / 2)


def _limit_of_affine(dtype: torch.dtype, exact: Tensor, operands: Sequence[Any]) -> Tensor:
    """The same for a product to which a bias is added: JAX rounds it, and then the sum, which may be near 0."""
    bias, *factors = operands
    return torch.hypot(_limit(dtype, exact), _limit_of_product(dtype, exact - bias, factors))


def are_added_up_short(dtype: torch.dtype) -> bool:
    """True if XLA's products in this dtype are further off, here, than one rounding each explains."""
    is_short = DIGITS.get(dtype, DIGITS[torch.float64]) < DIGITS[torch.float32]
    return is_short and roundings_of_a_product(str(dtype).removeprefix("torch.")) > NOISE_RATIO


LIMITS = {  # for operations that round once here, and more elsewhere
    "sum": _limit_of_sum, "addmm": _limit_of_affine, "mm": _limit_of_product, "bmm": _limit_of_product,
}  # fmt: skip


class _Wide:
    """An operation on float64 operands, whose casts and new tensors are float64 too: flat operands -> flat results.

    Without a structure the operands are its arguments.
    """

    def __init__(self, operation: Any, structure: pytree.TreeSpec | None):
        name = operation.overloadpacket.__name__
        self.operation = operation
        self.structure = structure
        self.is_fused = any(part in name for part in FUSED)
        sums = _limit_of_sums if name.endswith("backward") and self.is_fused else _limit
        self.limit = LIMITS.get(name, sums)
        self.takes_dtype = any(each.name == "dtype" and each.kwarg_only for each in operation._schema.arguments)

    def __call__(self, leaves: Sequence[Any], makes_floats: bool) -> list[Any]:
        wide = list(map(_widest, leaves))
        args, kwargs = pytree.tree_unflatten(wide, self.structure) if self.structure is not None else (wide, {})
        if makes_floats and self.takes_dtype:
            kwargs["dtype"] = kwargs.get("dtype") or torch.float64
        results = self.operation(*args, **kwargs)
        return [results] if isinstance(results, Tensor) else pytree.tree_leaves(results)


def _written(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes in place."""
    hidden = WRITTEN.get(operation.overloadpacket.__name__, ())
    found = []
    for place, argument in enumerate(operation._schema.arguments):
        if place in hidden or (argument.alias_info is not None and argument.alias_info.is_write):
            found += pytree.tree_leaves(args[place] if place < len(args) else kwargs.get(argument.name))
    return [leaf for leaf in found if isinstance(leaf, Tensor)]


def _is_random(operation: Any) -> bool:
    """True for operations whose results are no function of their operands."""
    name = operation.overloadpacket.__name__
    draws = torch.Tag.nondeterministic_seeded in operation.tags and "attention" not in name
    return draws or name in REPLACED


def _widest(leaf: Any) -> Any:
    if not isinstance(leaf, torch.dtype) or not (leaf.is_floating_point or leaf.is_complex):
        return leaf
    return torch.complex128 if leaf.is_complex else torch.float64


def _float64(value: Any) -> Any:
    """Float tensors in float64, also in a list."""
    if isinstance(value, list):
        return [_float64(each) for each in value]
    return value.to(_widest(value.dtype)) if isinstance(value, Tensor) else value
