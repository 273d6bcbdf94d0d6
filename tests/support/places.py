"""Where the checkout is, and where the helpers of the tests are."""

from pathlib import Path

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]
