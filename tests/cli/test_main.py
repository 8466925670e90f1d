"""`python -m diffrect`."""

import subprocess
import sys


def test_module_is_the_command(tmp_path) -> None:
    command = [sys.executable, "-m", "diffrect", "evaluate", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("diffrect: error: nowhere")
