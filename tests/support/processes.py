"""Processes that tests start, which import what the tests may import."""

import os
import sys


def environment() -> dict[str, str]:
    """Return this process's environment with its import path, `tests` and all, in PYTHONPATH."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
