"""A recording: everything one side computed, in memory or in a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosscheck.recording import recording_file
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.noise import Noise
from crosscheck.recording.values import Options, Values

PROOF_DTYPE = np.dtype(np.float64)
SIDES = {"torch": "torch", "jax": "JAX"}


@dataclass(repr=False)
class Recording:
    """The values of one side ("torch" or "jax"), and the arguments common to both sides (None if a file can't hold
    them); a torch recording below float64 also carries the noise."""

    side: str
    name: str
    options: Options
    values: Values
    versions: dict[str, str]
    noise: Noise | None = None
    arguments: Arguments | None = None

    def __repr__(self) -> str:
        values, mode = self.values, "train" if self.options.train else "eval"
        counts = {"parameters": values.parameters, "inner tensors": values.intermediates, "outputs": values.outputs}
        listed = ", ".join(f"{len(arrays)} {what}" for what, arrays in counts.items())
        return f"Recording of {SIDES[self.side]}'s {self.name} in {self.options.dtype.name}, {mode}: {listed}"

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically."""
        recording_file.save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Recording":
        """Read a file that `save` wrote; raises IsogradError if it is missing or damaged, or has the wrong version."""
        return Recording(**recording_file.load(path))
