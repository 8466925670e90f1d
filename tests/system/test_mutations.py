"""Damaged and hostile files that C code reads become an array or a line, and nothing else.

DIFFRECT_MUTATIONS=300 tries that many of each kind in place of a few.
"""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.errors import InputError
from diffrect.imaging.read import read_image, read_label
from support.mutations import mutated, samples

MUTATIONS = int(os.environ.get("DIFFRECT_MUTATIONS", "12"))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("samples"))


def outcome(file: Path) -> str:
    """Read a file as an image and as a label; return what was said about it."""
    said = []
    if file.suffix == ".h5":
        readers = [lambda file: Ssl4misCase("a", "a", (file,)).load().image]
    else:
        readers = [read_image, read_label]
    for read in readers:
        try:
            array = read(file).array
        except InputError as error:
            said.append(str(error))
            assert said[-1].startswith(str(file))
            assert "\n" not in said[-1]
        else:
            assert array.dtype.kind in "iuf"
            assert np.isfinite(array).all()
            said.append(f"{array.dtype} {array.shape}")
    return ", ".join(said)


NAMES = (
    *("plain.dcm", "frames.dcm", "rle.dcm", "jpeg.dcm", "jpeg2000.dcm", "chunks.h5", "plain.h5"),
    *("grey.png", "palette.png", "raw.tif", "lzw.tif", "fax.tif", "colour.jpg", "progressive.jpg"),
)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files(name: str, originals: dict[str, bytes], tmp_path: Path) -> None:
    file, chance = tmp_path / name, random.Random(name)
    file.write_bytes(originals[name])
    assert "expected a readable" not in outcome(file)
    for _ in range(MUTATIONS):
        file.write_bytes(mutated(name, originals[name], chance))
        outcome(file)


def test_every_kind_is_mutated(originals: dict[str, bytes]) -> None:
    assert originals.keys() == set(NAMES)
