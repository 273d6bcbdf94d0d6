"""The result of a comparison: rows, verdict, first divergence; as text, JSON and HTML."""

import html
import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np


class Kind(NamedTuple):
    """One kind of tensor that is compared, in the order in which a fault shows first."""

    name: str
    attribute: str
    phase: str
    is_gradient: bool


KINDS = (
    Kind("parameter", "parameters", "parameters", False),
    Kind("output", "outputs", "forward", False),
    Kind("input gradient", "input_gradients", "input gradient", True),
    Kind("parameter gradient", "parameter_gradients", "parameter gradient", True),
)
WORDS = {
    "parameter": "parameter {}",
    "output": "{}",
    "input gradient": "gradient of {}",
    "parameter gradient": "gradient of {}",
}
PHASES = {kind.name: kind.phase for kind in KINDS}


class Divergence(NamedTuple):
    """Where two modules part first."""

    module: str
    phase: str
    tensor: str


@dataclass(frozen=True)
class Row:
    """One tensor: its shape on both sides, error and bound (relative L2), and the worst element with both values."""

    tensor: str
    kind: str
    shape: tuple[int, ...]
    jax_shape: tuple[int, ...]
    error: float
    bound: float
    worst_index: tuple[int, ...]
    torch_value: float
    jax_value: float

    @property
    def agrees(self) -> bool:
        return self.error <= self.bound  # NaN and infinity never agree

    @property
    def verdict(self) -> str:
        return "agrees" if self.agrees else "DISAGREES"

    def __str__(self) -> str:
        ours, theirs = digits(self.torch_value, self.jax_value)
        shapes = f"{self.shape}" if self.shape == self.jax_shape else f"torch {self.shape}, jax {self.jax_shape}"
        return (
            f"{WORDS[self.kind].format(self.tensor)} {shapes}: error {self.error:.2e}, bound {self.bound:.2e}, "
            f"worst at {self.worst_index}: torch {ours}, jax {theirs}"
        )


@dataclass(frozen=True)
class Report:
    """All rows of one comparison of one pair of modules."""

    name: str
    dtype: str
    mode: str
    device: str
    rows: list[Row]
    case: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return all(row.agrees for row in self.rows)

    @property
    def disagreements(self) -> list[Row]:
        return [row for row in self.rows if not row.agrees]

    @property
    def first_divergence(self) -> Divergence | None:
        """Module path, phase and tensor of the first row that disagrees; None if all agree."""
        if self.agrees:
            return None
        row = self.disagreements[0]
        module, _, _ = row.tensor.rpartition(".") if row.kind.startswith("parameter") else ("", "", "")
        return Divergence(f"{self.name}.{module}" if module else self.name, PHASES[row.kind], row.tensor)

    @property
    def worst(self) -> Row | None:
        """The row whose error stands highest against its bound."""
        return max(self.rows, key=lambda row: row.error / row.bound if row.bound else row.error, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; non-finite numbers as text, so that the JSON is strict."""
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        first = self.first_divergence
        return _strict(
            {
                "name": self.name,
                "case": self.case,
                "dtype": self.dtype,
                "mode": self.mode,
                "device": self.device,
                "agrees": self.agrees,
                "seconds": round(self.seconds, 3),
                "versions": self.versions,
                "first_divergence": first._asdict() if first else None,
                "rows": rows,
            }
        )

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_html(self) -> str:
        """One self-contained page."""
        cells = ("tensor", "kind", "shape", "error", "bound", "verdict")
        body = "".join(
            f'<tr class="{row.verdict}">'
            + "".join(f"<td>{html.escape(_cell(getattr(row, c)))}</td>" for c in cells)
            + "</tr>"
            for row in self.rows
        )
        head = "".join(f"<th>{cell}</th>" for cell in cells)
        style = (
            "body{font:15px system-ui;margin:2em}td,th{padding:.2em .8em;text-align:left}.DISAGREES{background:#fdd}"
        )
        return (
            f'<!doctype html><meta charset="utf-8"><title>{html.escape(self._title)}</title><style>{style}</style>'
            f"<h1>{html.escape(self._title)}</h1><p>{html.escape(self._summary)}</p><table><tr>{head}</tr>{body}</table>"
        )

    @property
    def _title(self) -> str:
        return " ".join(part for part in (self.name, self.case, self.dtype, self.mode, self.device) if part)

    @property
    def _summary(self) -> str:
        if self.agrees:
            return f"agrees in all {len(self.rows)} tensors"
        first = cast(Divergence, self.first_divergence)
        return (
            f"DISAGREES in {len(self.disagreements)} of {len(self.rows)} tensors, first in the {first.phase} of "
            f"{first.module}: {first.tensor}"
        )

    def __str__(self) -> str:
        return "\n".join([f"{self._title}: {self._summary}", *(f"  {row}" for row in self.disagreements)])


def worst_element(torch_array: np.ndarray, jax_array: np.ndarray) -> tuple[tuple[int, ...], float, float]:
    """Index and both values of the largest difference; non-finite entries that differ count as the largest."""
    if torch_array.shape != jax_array.shape or torch_array.size == 0:
        return (), float("nan"), float("nan")
    ours, theirs = torch_array.astype(np.float64), jax_array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.where(ours == theirs, 0.0, np.nan_to_num(np.abs(ours - theirs), nan=np.inf))
    index = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    return index, float(ours[index]), float(theirs[index])


def digits(ours: float, theirs: float) -> tuple[str, str]:
    """Both numbers with nine digits, or with all seventeen where nine don't tell them apart."""
    short = f"{ours:.9g}", f"{theirs:.9g}"
    return short if short[0] != short[1] or ours == theirs else (f"{ours:.17g}", f"{theirs:.17g}")


def _cell(value: Any) -> str:
    return f"{value:.2e}" if isinstance(value, float) else str(value)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
