"""`python -m experiments` is the same as `isograd`."""

import sys

from experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
