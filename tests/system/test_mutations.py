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
from diffrect.imaging.decoders import guard
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume
from support.mutations import mutated, samples

MUTATIONS = int(os.environ.get("DIFFRECT_MUTATIONS", "12"))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("samples"))


def read(file: Path) -> Volume:
    """Read a file as an image."""
    if file.suffix == ".h5":
        return Ssl4misCase("a", "a", (file,)).load().image
    return read_image(file)


def outcome(file: Path) -> str:
    """Read a file as an image and as a label; return what was said about it."""
    said = []
    for reader in [read] if file.suffix == ".h5" else [read, read_label]:
        try:
            array = reader(file).array
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


@pytest.mark.parametrize("name", NAMES)
def test_files_are_read_alike_where_there_is_no_other_process(
    name: str, originals: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    file.write_bytes(originals[name])
    there = read(file)
    monkeypatch.setattr(guard, "_SEPARATE", False)
    here = read(file)
    assert np.array_equal(there.array, here.array)
    assert (there.array.dtype, there.array.strides) == (here.array.dtype, here.array.strides)


def test_every_kind_is_mutated(originals: dict[str, bytes]) -> None:
    assert originals.keys() == set(NAMES)
