"""Small files of the formats that C code reads, and what may have happened to their bytes."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MRImageStorage,
    RLELossless,
)

from support.scans import grid, write_frames, write_series

VOXELS = np.random.default_rng(0).integers(0, 200, (9, 8, 3), dtype=np.uint8)
HOSTILE = (0, 1, 3, 12, 255, 4096, 32767, 65535)
FIELDS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)


def samples(folder: Path) -> dict[str, bytes]:
    """Return the bytes of a good file of each kind, by a name that says the format."""
    grey = Image.fromarray(VOXELS[:, :, 0])
    colour = Image.fromarray(VOXELS)
    slices = write_series(folder / "series", VOXELS, grid())
    plain = slices[0].read_bytes()
    return {
        "plain.dcm": plain,
        "frames.dcm": write_frames(folder / "frames.dcm", VOXELS, grid()).read_bytes(),
        "rle.dcm": compressed(plain, RLELossless, None),
        "jpeg.dcm": compressed(plain, JPEGBaseline8Bit, encoded(grey, "JPEG")),
        "jpeg2000.dcm": compressed(plain, JPEG2000Lossless, encoded(grey, "JPEG2000")),
        "chunks.h5": hdf5(chunks=(1, 8, 9), compression="gzip", shuffle=True),
        "plain.h5": hdf5(),
        "grey.png": encoded(grey, "PNG"),
        "palette.png": encoded(colour.quantize(8), "PNG"),
        "raw.tif": encoded(grey, "TIFF"),
        "lzw.tif": encoded(colour, "TIFF", compression="tiff_lzw"),
        "fax.tif": encoded(grey.convert("1"), "TIFF", compression="group4"),
        "colour.jpg": encoded(colour, "JPEG"),
        "progressive.jpg": encoded(grey, "JPEG", progressive=True),
    }


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def hdf5(**options: object) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as content:
        for key in ("image", "label"):
            data = (VOXELS.T % 2).astype(np.uint8 if key == "label" else np.float32)
            content.create_dataset(key, data=data, **options)
    return stream.getvalue()


def compressed(plain: bytes, syntax: str, frame: bytes | None) -> bytes:
    """Return a DICOM file of one slice of 8 bits, its pixels replaced by an encoded frame.

    Without one, they are encoded.
    """
    data = pydicom.dcmread(io.BytesIO(plain))
    data.SOPClassUID = MRImageStorage
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.Rows, data.Columns = VOXELS.shape[:2]
    pixels = VOXELS[:, :, 0]
    if frame is None:
        data.compress(syntax, pixels)
    else:
        data.PixelData = encapsulate([frame])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = syntax
    return written(data)


def written(data: pydicom.Dataset) -> bytes:
    stream = io.BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def mutated(name: str, content: bytes, chance: random.Random) -> bytes:
    """Return what may have become of a file."""
    kinds: list[Callable[[bytes, random.Random], bytes]] = [flip, flip, cut, overwrite, move]
    if name.endswith(".dcm"):
        kinds += [lie_in_dicom] * 4
    if name.endswith(".png"):
        kinds += [lie_in_png] * 2
    return chance.choice(kinds)(content, chance)


def flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def overwrite(content: bytes, chance: random.Random) -> bytes:
    changed, place = bytearray(content), chance.randrange(len(content))
    changed[place : place + 4] = chance.choice((bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"))
    return bytes(changed)


def move(content: bytes, chance: random.Random) -> bytes:
    """Take some bytes from one place to another."""
    here, there = chance.randrange(len(content)), chance.randrange(len(content))
    some = content[here : here + chance.choice((1, 2, 16))]
    rest = content[:here] + content[here + len(some) :]
    return rest[:there] + some + rest[there:]


def lie_in_dicom(content: bytes, chance: random.Random) -> bytes:
    data = pydicom.dcmread(io.BytesIO(content))
    for name in chance.sample(FIELDS, chance.choice((1, 1, 2))):
        setattr(data, name, chance.choice(HOSTILE))
    return written(data)


def lie_in_png(content: bytes, chance: random.Random) -> bytes:
    """Change a field of the header, and the checksum with it."""
    header = bytearray(content[16:29])
    if chance.random() < 0.5:
        struct.pack_into(">I", header, chance.choice((0, 4)), chance.choice(HOSTILE))
    else:
        header[chance.randrange(8, 13)] = chance.randrange(17)
    checksum = zlib.crc32(b"IHDR" + header)
    return content[:16] + header + struct.pack(">I", checksum) + content[33:]
