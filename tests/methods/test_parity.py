"""The recorded numbers: the authors' where they are at hand, our own small ones everywhere.

tests/golden was recorded from this package when it agreed with the authors' numbers to 1e-7. It
keeps that agreement from getting lost where theirs are not at hand; 3 classes, 2 channels, 2 rows.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import reference_parity

OURS = Path(__file__).parents[1] / "golden"


def theirs() -> Path:
    """The authors' numbers lie beside the real scans."""
    folder = Path(os.environ.get("DIFFRECT_DATA", "")).parent / "golden"
    if not os.environ.get("DIFFRECT_DATA") or not folder.is_dir():
        pytest.skip("needs the authors' numbers: a folder golden beside DIFFRECT_DATA")
    return folder


def test_our_recorded_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference_parity.main([str(OURS)]) == 0
    assert "DIFFERS" not in capsys.readouterr().out


def test_the_authors_numbers() -> None:
    assert reference_parity.main([str(theirs())]) == 0


def test_a_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(OURS, tmp_path / "golden")
    file = tmp_path / "golden" / "training_steps.npz"
    arrays = dict(np.load(file))
    arrays["values"][-1, 3] *= 1 + 1e-5
    np.savez_compressed(file, **arrays)
    assert reference_parity.main([str(tmp_path / "golden")]) == 1
    assert f"training {arrays['names'][3]}" in capsys.readouterr().out
