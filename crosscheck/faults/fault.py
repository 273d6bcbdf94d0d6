"""A fault as data: a small change to one twin's source, and where a check must find it."""

from dataclasses import dataclass

TextChange = tuple[str, str]  # (old, new)
TORCH_MASK = "torch.from_numpy(rng.random_mask(key, math.prod(shape), threshold, first)).reshape(shape)"

KINDS = (
    "layer", "model", "loss", "optimizer", "schedule", "mask", "position", "dropout", "weight rule", "precision",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Replaces the text `old`, which occurs once in the repository's file `path`, by `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Fault:
    """One fault in one twin.

    `check` names the comparison that must fail: a twin of the registry with its case, mode (eval, train; "run" trains
    with both backends) and dtype. `module` is the path of the fault inside that twin ("" is the twin itself), `phase`
    where it shows first. `divergence` is the catalogue row it corresponds to, if any.
    """

    name: str
    kind: str
    side: str
    what: str
    changes: tuple[Change, ...]
    twin: str
    module: str
    phase: str
    case: str = "odd_sizes"
    mode: str = "eval"
    dtype: str = "float64"
    divergence: str | None = None


@dataclass(frozen=True)
class Equivalent:
    """A change to one twin that computes the same up to rounding: no check may fail."""

    name: str
    side: str
    what: str
    changes: tuple[Change, ...]
    twin: str
    case: str = "odd_sizes"
    mode: str = "eval"
    dtype: str = "float64"


def both_sides(
    name: str,
    kind: str,
    what: str,
    file: str,
    torch: tuple[str, str],
    jax: tuple[str, str],
    twin: str,
    module: str = "",
    phase: str = "forward",
    **rest: str,
) -> tuple[Fault, Fault]:
    """The same fault in the torch twin and in the JAX twin; `torch` and `jax` are (old, new)."""
    changes = {side: (Change(f"{side}_impl/{file}", *texts),) for side, texts in (("torch", torch), ("jax", jax))}
    return tuple(  # type: ignore[return-value]
        Fault(f"{name}/{side}", kind, side, what, changes[side], twin, module, phase, **rest)  # type: ignore[arg-type]
        for side in ("torch", "jax")
    )


def both_sides_equal(
    name: str, what: str, file: str, torch: tuple[str, str], jax: tuple[str, str], twin: str, **rest: str
) -> tuple[Equivalent, Equivalent]:
    """The same harmless change in each twin."""
    return tuple(  # type: ignore[return-value]
        Equivalent(f"{name}/{side}", side, what, (Change(f"{side}_impl/{file}", *texts),), twin, **rest)
        for side, texts in (("torch", torch), ("jax", jax))
    )


def alike(old: str, new: str) -> tuple[TextChange, TextChange]:
    """The same change for torch and JAX, whose code is the same here."""
    return (old, new), (old, new)
