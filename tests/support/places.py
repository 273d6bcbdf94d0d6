"""Where the checkout is, where the helpers of the tests are, and how a child process imports them."""

import os
from pathlib import Path

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]


def child_environment(*folders: Path) -> dict[str, str]:
    """The environment of a child process that imports the checkout, the helpers, and test files in these folders."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, SUPPORT, *folders)))}
