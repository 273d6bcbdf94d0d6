"""Where the checkout is, where the helpers of the tests are, and how a child process imports them."""

import os
from pathlib import Path

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]


def child_environment(*folders: Path) -> dict[str, str]:
    """The environment of a child process that imports the checkout, the helpers, test files in these folders, and what
    its parent finds by PYTHONPATH.
    """
    parents = filter(None, [os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, (ROOT, SUPPORT, *folders)), *parents])}
