"""A recording: what one side has computed, in memory or in a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosscheck.recording import recording_file
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.noise import Noise
from crosscheck.recording.values import Options, Values

PROOF_DTYPE = np.dtype(np.float64)
SIDES = {"torch": "torch", "jax": "JAX"}


@dataclass
class Recording:
    """The values of one side ("torch" or "jax"), and the arguments that both sides are given, None if no file holds
    them; a torch recording below float64 carries the noise too."""

    side: str
    name: str
    options: Options
    values: Values
    versions: dict[str, str]
    noise: Noise | None = None
    arguments: Arguments | None = None

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically."""
        recording_file.save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Recording":
        """Read what `save` wrote; raises IsogradError if it is missing, damaged or of another version."""
        return Recording(**recording_file.load(path))
