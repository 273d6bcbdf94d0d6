"""Named arrays, the common currency of weights, gradients, optimiser moments and recordings."""

from collections.abc import Mapping

import numpy as np

Arrays = dict[str, np.ndarray]
ArrayMapping = Mapping[str, np.ndarray]  # read-only
