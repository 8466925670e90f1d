"""`python -m diffrect` is `diffrect`, also for launchers such as torchrun."""

import sys

from diffrect.cli import main

if __name__ == "__main__":
    sys.exit(main())
