"""The recorded numbers: the authors' where they are at hand, our own small ones everywhere.

tests/golden was recorded from this package when it agreed with the authors' numbers to 1e-7. It
keeps that agreement from getting lost where theirs are not at hand; 3 classes, 2 channels, 2 rows.
"""

import os
import re
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


def test_a_difference_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(OURS, tmp_path / "golden")
    file = tmp_path / "golden" / "segmenter.npz"
    arrays = dict(np.load(file))
    arrays["logits_train"].flat[np.abs(arrays["logits_train"]).argmax()] *= 1 + 1e-5
    np.savez_compressed(file, **arrays)
    for slow in ("compare_rectifier", "compare_training"):
        monkeypatch.setattr(reference_parity, slow, lambda *_: iter(()))
    assert reference_parity.main([str(tmp_path / "golden")]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^segmenter logits, eval .* ok$", printed, re.MULTILINE)
    assert re.search(r"^segmenter logits, train .* DIFFERS$", printed, re.MULTILINE)
