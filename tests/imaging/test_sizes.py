"""What headers announce is checked before memory is allocated for it."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.errors import InputError
from diffrect.imaging.read import read_image
from support.mutations import VOXELS, compressed, written
from support.scans import grid, write_frames, write_series

READABLE = "a.dcm: expected a readable DICOM file"
CUT = f"{READABLE}, found one that seems truncated"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A DICOM file of one slice, 9 columns x 8 rows of 16 bits."""
    return write_series(tmp_path_factory.mktemp("plain"), VOXELS, grid())[0].read_bytes()


@pytest.fixture(scope="module")
def rle(plain: bytes) -> bytes:
    return compressed(plain, RLELossless, None)


@pytest.fixture(scope="module")
def zeros(plain: bytes) -> bytes:
    """The same, with a frame in which GDCM divides by zero."""
    return compressed(plain, RLELossless, bytes(64))


def lying(content: bytes, **fields: object) -> bytes:
    data = pydicom.dcmread(io.BytesIO(content))
    for name, value in fields.items():
        setattr(data, name, value)
    return written(data)


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    return str(caught.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("plain", {"NumberOfFrames": 10**6}, f"{CUT}: its header says 144000000 bytes of pixels, "),
        ("plain", {"NumberOfFrames": -1}, "a.dcm: expected a frame or more, got -1 of "),
        ("plain", {"Rows": 65535, "Columns": 65535}, f"{CUT}: its header says 8589672450 bytes"),
        ("plain", {"Rows": 4}, f"{READABLE}: its header says 72 bytes of pixels, the file has 144"),
        ("plain", {"BitsAllocated": 8}, f"{READABLE}: its header says 72 bytes of pixels, "),
        ("rle", {"NumberOfFrames": 10**6}, f"{CUT}: its header says 1000000 frames of 8 x 9 "),
        ("rle", {"Rows": 65535, "Columns": 65535}, f"{CUT}: its header says 1 frame of 65535 x "),
        ("rle", {"SamplesPerPixel": 65535, "Rows": 9999}, f"{CUT}: its header says 1 frame of 8"),
        ("zeros", {"Rows": 2000, "Columns": 2000}, f"{READABLE}: its pixel data end the decoder ("),
    ],
)
def test_dicom(
    kind: str,
    fields: dict[str, object],
    message: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(lying(request.getfixturevalue(kind), **fields))
    assert refusal(read_image, file).startswith(message)


def test_dicom_pixels_may_be_padded(plain: bytes, tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(plain))
    data.PixelData += bytes(2)
    (tmp_path / "a.dcm").write_bytes(plain)
    (tmp_path / "b.dcm").write_bytes(written(data))
    unpadded, padded = (read_image(tmp_path / name).array for name in ("a.dcm", "b.dcm"))
    assert np.array_equal(padded, unpadded)


def test_dicom_that_is_deflated_is_read_under_limits(plain: bytes, tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(plain))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    (tmp_path / "a.dcm").write_bytes(plain)
    (tmp_path / "b.dcm").write_bytes(written(data))
    whole, deflated = (read_image(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert np.array_equal(whole.array, deflated.array)
    assert np.array_equal(whole.affine, deflated.affine)


def test_a_frame_less_than_the_header_says(tmp_path: Path) -> None:
    file = write_frames(tmp_path / "a.dcm", VOXELS, grid())
    data = pydicom.dcmread(file)
    data.NumberOfFrames = 2
    file.write_bytes(written(data))
    assert "bytes of pixels, the file has" in refusal(read_image, file)


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (
            (10**4,) * 3,
            "f4",
            r"its header says (10000, 10000, 10000), the file has 0 bytes for them",
        ),
        ((2, 3, 4), "S3", "expected numbers under image, got |S3"),
    ],
)
def test_hdf5(shape: tuple[int, ...], kind: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.h5"
    with h5py.File(file, "w") as content:
        content.create_dataset("image", shape, kind, chunks=(1, *(min(n, 100) for n in shape[1:])))
    assert message in refusal(lambda path: Ssl4misCase("a", "a", (path,)).load(), file)


def test_hdf5_that_was_never_written_is_read_if_it_is_small(tmp_path: Path) -> None:
    file = tmp_path / "a.h5"
    with h5py.File(file, "w") as content:
        content.create_dataset("image", (3, 4, 5), "f4", chunks=(1, 4, 5), fillvalue=0.5)
    assert (Ssl4misCase("a", "a", (file,)).load().image.array == 0.5).all()


def test_png_that_announces_more_than_pillow_accepts(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(VOXELS[:, :, 0]).save(file)
    content = file.read_bytes()
    header = struct.pack(">II", 60000, 60000) + content[24:29]
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    file.write_bytes(content[:16] + header + checksum + content[33:])
    assert "exceeds limit of" in refusal(read_image, file)


def test_tiff_whose_pages_share_their_pixels(tmp_path: Path) -> None:
    """A small file announces ten large pages, each of which Pillow accepts."""
    file, stream = tmp_path / "a.tif", io.BytesIO()
    Image.new("1", (9000, 9000)).save(stream, "TIFF", compression="group4")
    content = bytearray(stream.getvalue())
    first = struct.unpack_from("<I", content, 4)[0]
    end = first + 2 + 12 * struct.unpack_from("<H", content, first)[0]
    page = content[first:end]
    for _ in range(9):
        struct.pack_into("<I", content, end, len(content))  # where the next page is
        end = len(content) + len(page)
        content += page + bytes(4)
    file.write_bytes(content)
    assert "9000 x 9000 pixels on each of 10 pages, the file has" in refusal(read_image, file)
