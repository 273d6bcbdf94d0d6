"""One compared tensor as a row: what it is, where it belongs, its error and bound, and its worst element."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crosscheck.criterion import as_real, blocks, widened


class Kind(NamedTuple):
    """One kind of compared tensor: the field of `Values` that holds it, and the phase of a run it belongs to."""

    name: str
    attribute: str
    phase: str
    words: str

    @property
    def is_inside(self) -> bool:
        """True for tensors that no caller of the module sees: they locate a fault but are not faults themselves."""
        return self.name.startswith("intermediate")


KINDS = (
    Kind("input", "inputs", "inputs", "input {}"),
    Kind("parameter", "parameters", "parameters", "parameter {}"),
    Kind("intermediate", "intermediates", "forward", "{}"),
    Kind("output", "outputs", "forward", "{}"),
    Kind("intermediate gradient", "intermediate_gradients", "input gradient", "gradient of {}"),
    Kind("input gradient", "input_gradients", "input gradient", "gradient of {}"),
    Kind("parameter gradient", "parameter_gradients", "parameter gradient", "gradient of {}"),
    Kind("running statistic", "statistics", "update", "{} after one pass"),
    Kind("update", "updates", "update", "{}"),
)
RUN_KINDS = (  # what a training run logs
    Kind("loss", "updates", "forward", "loss at step {}"),
    Kind("accuracy", "updates", "forward", "accuracy at step {}"),
    Kind("gradient norm", "updates", "parameter gradient", "gradient norm at step {}"),
    Kind("evaluation loss", "updates", "forward", "evaluation loss per example after step {}"),
    Kind("prediction", "updates", "forward", "prediction per example after step {}"),
)
KIND = {kind.name: kind for kind in (*KINDS, *RUN_KINDS)}
IN_A_RUN = {"update", *(kind.name for kind in RUN_KINDS)}


class Divergence(NamedTuple):
    """Where two modules first diverge."""

    module: str
    phase: str
    tensor: str


class Statistics(NamedTuple):
    """A tensor summarised in a few numbers: those of its finite entries, and the number of non-finite ones."""

    mean: float
    std: float
    smallest: float
    largest: float
    not_finite: int

    @staticmethod
    def of(array: np.ndarray) -> "Statistics":
        """The statistics of an array of any dtype."""
        wide = widened(array)
        finite = wide if np.isfinite(wide).all() else wide[np.isfinite(wide)]
        if not finite.size:
            return Statistics(*[float("nan")] * 4, int(wide.size))
        return Statistics(
            float(finite.mean()),
            float(finite.std()),
            float(finite.min()),
            float(finite.max()),
            int(wide.size - finite.size),
        )

    def __str__(self) -> str:
        text = f"mean {self.mean:.3g}, std {self.std:.3g}, from {self.smallest:.3g} to {self.largest:.3g}"
        return f"{text}, {self.not_finite} not finite" if self.not_finite else text


@dataclass(frozen=True)
class Row:
    """One tensor: its shape on both sides, error and bound (relative L2), and the worst element with both values.

    `module` is the path of the module it belongs to. `sensitivity` is the smallest error, relative to the tensor
    itself, that is seen for certain. `undecided` rows meet a bound that zeros or a different order would meet too;
    `decided_in` names the dtype of the run whose numbers these are, where it is not the one under test. `statistics`
    holds torch's and JAX's if the tensor disagrees.
    """

    tensor: str
    kind: str
    module: str
    shape: tuple[int, ...]
    jax_shape: tuple[int, ...]
    error: float
    bound: float
    worst_index: tuple[int, ...]
    torch_value: float
    jax_value: float
    statistics: tuple[Statistics, ...] = ()
    sensitivity: float = 0.0
    undecided: bool = False
    decided_in: str = ""

    @property
    def agrees(self) -> bool:
        return self.error <= self.bound and not self.undecided  # NaN and infinity never agree

    @property
    def verdict(self) -> str:
        if self.undecided:
            return "undecided"
        return "agrees" if self.agrees else "DISAGREES"

    @property
    def phase(self) -> str:
        """The phase of a run that the tensor belongs to."""
        return KIND[self.kind].phase

    @property
    def label(self) -> str:
        """The tensor in words: `gradient of fc.weight`, `exp_avg of fc.weight after 5 steps`."""
        if self.kind == "update":
            step, group, name = self.tensor.split("/", 2)
            return f"{group} of {name} after {step} step{'' if step == '1' else 's'}"
        if self.step is not None:
            return KIND[self.kind].words.format(self.step)
        return KIND[self.kind].words.format(self.tensor)

    @property
    def step(self) -> int | None:
        """The training step (the first is 1) after which this tensor is compared; None outside training."""
        return int(self.tensor.partition("/")[0]) if self.kind in IN_A_RUN else None

    @property
    def is_nan_in_both(self) -> bool:
        """True if both sides have NaN at the same positions, where nothing can be proven."""
        return bool(self.worst_index) and np.isnan(self.torch_value) and np.isnan(self.jax_value)

    def __str__(self) -> str:
        ours, theirs = digits(self.torch_value, self.jax_value)
        shapes = f"{self.shape}" if self.shape == self.jax_shape else f"torch {self.shape}, jax {self.jax_shape}"
        if self.shape != self.jax_shape:
            return f"{self.label}: the shapes differ, {shapes}"
        if self.is_nan_in_both:
            return f"{self.label} {shapes}: NaN on both sides at the same positions, first at {self.worst_index}"
        bound = f"{self.bound:.2e}{f' in {self.decided_in}' if self.decided_in else ''}"
        bound += ", which zeros or a different order would meet too" if self.undecided else ""
        return (
            f"{self.label} {shapes}: error {self.error:.2e}, bound {bound}, "
            f"worst at {self.worst_index}: torch {ours}, jax {theirs}"
        )


def worst_element(torch_array: np.ndarray, jax_array: np.ndarray) -> tuple[tuple[int, ...], float, float]:
    """Index and both values of the largest difference.

    Non-finite entries that differ rank first, NaN on both sides next.
    """
    if torch_array.shape != jax_array.shape or torch_array.size == 0:
        return (), float("nan"), float("nan")
    found, worst = -1.0, ((), float("nan"), float("nan"))
    for at in blocks(torch_array.shape):
        if found >= 0 and np.array_equal(torch_array[at], jax_array[at]):
            continue
        ours, theirs = (as_real(np.asarray(array[at])).astype(np.float64) for array in (torch_array, jax_array))
        gap = _gap(ours, theirs)
        index = np.unravel_index(int(gap.argmax()), gap.shape)
        if gap[index] > found:
            starts = [each.start or 0 for each in at] + [0] * (gap.ndim - len(at))
            place = tuple(start + int(i) for start, i in zip(starts, index, strict=True))
            found, worst = gap[index], (place, float(ours[index]), float(theirs[index]))
    return worst


def _gap(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far apart entries are: infinitely if only one is a number, almost so if neither is."""
    with np.errstate(invalid="ignore"):
        gap = np.asarray(np.abs(ours - theirs))
    gap[np.isnan(gap)] = np.inf
    gap[np.isnan(ours) & np.isnan(theirs)] = np.finfo(np.float64).max
    gap[ours == theirs] = 0.0
    return gap


def share_of_bound(row: Row) -> float:
    """The error as a fraction of its bound; NaN ranks highest."""
    share = row.error / row.bound if row.bound else row.error
    return share if share == share else float("inf")


def digits(ours: float, theirs: float) -> tuple[str, str]:
    """Both numbers with nine digits, or with seventeen if nine can't tell them apart."""
    short = f"{ours:.9g}", f"{theirs:.9g}"
    return short if short[0] != short[1] or ours == theirs else (f"{ours:.17g}", f"{theirs:.17g}")


def nonfinite_as_text(value: Any) -> Any:
    """Plain data with non-finite numbers as text, so that the JSON is strict."""
    if isinstance(value, dict):
        return {key: nonfinite_as_text(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return nonfinite_as_text(value._asdict())
    if isinstance(value, list | tuple):
        return [nonfinite_as_text(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
