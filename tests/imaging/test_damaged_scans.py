"""Scans that a bit, a cut or a hostile value has changed: the right voxels, or one line."""

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.imaging.read import read_image
from support.scans import grid, write_scan

ROUNDS = 20  # per kind of file; thousands were run while the readers were written
VOXELS = np.random.default_rng(3).integers(0, 900, (5, 4, 3)).astype("<i2")
RAW = VOXELS.tobytes(order="F")
NRRD = (
    b"NRRD0005\ntype: short\ndimension: 3\nspace: LPS\nsizes: 5 4 3\nkinds: domain domain domain\n"
    b"space directions: (1.5,0,0) (0,1.25,0) (0,0,4)\nendian: little\nspace origin: (1,2,3)\n"
    b"encoding: %s\n\n"
)
META = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    b"CompressedData = %s\nOffset = 1 2 3\nElementSpacing = 1.5 1.25 4\nDimSize = 5 4 3\n"
    b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)
HOSTILE = [
    *(b"-1", b"0", b"-3", b"65535", b"2147483648", b"99999999999999999999", b"1e308", b"nan"),
    *(b"", b"LIST", b"/etc/passwd", b"../a", b"%d", b"\r", b"\n\n", b"\0", b"True", b"MET_DOUBLE"),
]


def compressed(content: bytes, start: int = 0) -> range:
    """The places that a checksum covers: all that gzip, zlib or bzip2 has written."""
    return range(start, len(content))


def contents(folder: Path) -> dict[str, tuple[bytes, range]]:
    """Small files by name, and the places where a changed byte must not change a voxel."""
    plain = write_scan(folder / "a.nii", VOXELS, grid(np.eye(3))).read_bytes()
    volume = folder / "a.mgh"
    nib.save(nib.MGHImage(VOXELS.astype(np.int32), np.eye(4)), volume)
    whole = {
        "a.nii.gz": (gzip.compress(plain), 0),
        "a.mgz": (gzip.compress(volume.read_bytes()), 0),
        "b.nrrd": ((head := NRRD % b"gzip") + gzip.compress(RAW), len(head)),
        "c.nrrd": ((head := NRRD % b"bzip2") + bz2.compress(RAW), len(head)),
        "b.mha": ((head := META % b"True") + zlib.compress(RAW), len(head)),
    }
    found = {
        name: (content, compressed(content, start)) for name, (content, start) in whole.items()
    }
    for name, content in {
        "a.nii": plain,
        "a.mgh": volume.read_bytes(),
        "a.nrrd": NRRD % b"raw" + RAW,
        "a.mha": META % b"False" + RAW,
    }.items():
        found[name] = (content, range(0))
    return found


def flipped(content: bytes, sums: range, generator: np.random.Generator) -> tuple[bytes, bool]:
    """Flip one bit; whether a checksum covers it."""
    place = int(generator.integers(len(content)))
    changed = bytearray(content)
    changed[place] ^= 1 << int(generator.integers(8))
    return bytes(changed), place in sums


def cut(content: bytes, sums: range, generator: np.random.Generator) -> tuple[bytes, bool]:
    """Cut the file off, or a piece out of it."""
    start = int(generator.integers(len(content)))
    end = len(content) if generator.random() < 0.5 else start + int(generator.integers(1, 9))
    return content[:start] + content[end:], start in sums


def replaced(content: bytes, sums: range, generator: np.random.Generator) -> tuple[bytes, bool]:
    """Put a hostile value in the place of a word, or of a number in a binary header."""
    if b"ElementType" not in content and b"NRRD" not in content:
        inside = content[:2] == b"\x1f\x8b"
        changed = bytearray(gzip.decompress(content) if inside else content)
        place = int(generator.integers(0, 340))
        value = [b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\xff"]
        new = value[int(generator.integers(len(value)))]
        changed[place : place + len(new)] = new
        return gzip.compress(changed) if inside else bytes(changed), False
    end = max(content.find(b"\n\n"), content.find(b"LOCAL")) + 5
    words = content[:end].split(b" ")
    words[int(generator.integers(1, len(words)))] = HOSTILE[int(generator.integers(len(HOSTILE)))]
    return b" ".join(words) + content[end:], False


Mutation = Callable[[bytes, range, np.random.Generator], tuple[bytes, bool]]


@pytest.mark.parametrize("mutation", [flipped, cut, replaced])
def test_mutations_are_seen_or_harmless(tmp_path: Path, mutation: Mutation) -> None:
    generator = np.random.default_rng(7)
    for name, (content, sums) in contents(tmp_path).items():
        for _ in range(ROUNDS):
            changed, covered = mutation(content, sums, generator)
            path = tmp_path / name
            path.write_bytes(changed)
            try:
                found = read_image(path)
            except InputError as error:
                line = str(error)
            else:
                assert found.array.size <= 40 * VOXELS.size
                assert np.isfinite(found.array).all()
                if covered:
                    np.testing.assert_array_equal(found.array, VOXELS)
                continue
            assert line.startswith(f"{tmp_path}/")
            assert "\n" not in line
