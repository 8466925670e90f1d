"""Killed at chosen moments and at random, resumed, the same in the end: a short crash matrix."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crash_matrix.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    # a process of its own: forks of one that has trained cannot train
    command = [sys.executable, SCRIPT, "--kills", "12", "--others", "4", "--iterations", "6"]
    command += ["--method", "supervised", "--folder", tmp_path / "work"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^\| (\w+) \| (\d+) \|.*\| (\d+) \| (\d+) \|$", done.stdout, re.MULTILINE)
    assert [(row[0], row[1]) for row in rows] == [
        ("prepare", "4"),
        ("train", "12"),
        ("predict", "4"),
        ("compare", "4"),
    ]
    assert all(runs == survived for _, _, runs, survived in rows)
