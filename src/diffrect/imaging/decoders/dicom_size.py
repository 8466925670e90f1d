"""Check that the pixels that a DICOM header announces can be in its file."""

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from diffrect.console import count
from diffrect.errors import InputError
from diffrect.imaging.decode import LARGEST_GZIP_RATIO, TRUNCATED
from diffrect.imaging.decoders.limits import check_promise

READABLE = "a readable DICOM file"
_PIXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF  # the length of compressed pixels
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_LARGEST_RLE_RATIO = 64  # two bytes stand for 128 at best
_ITEM = 8  # bytes that a compressed frame takes if there is nothing in it


def check_pixels(file: Path, header: Dataset) -> int:
    """Return the number of frames, once the size of the pixels has been found credible.

    Args:
        file: the file.
        header: its header.

    Raises:
        InputError: there is no image; there are less or more pixels than the header says, where the
            decoder would make up the rest or leave it out; or more than compression can explain.
    """
    if not header.get("Rows") or not header.get("Columns") or _PIXELS not in header:
        raise InputError(file, "a DICOM file with an image", found="none in it")
    frames = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.Rows), int(header.Columns)
    row = columns * int(header.get("SamplesPerPixel") or 1) * int(header.get("BitsAllocated") or 16)
    if min(frames, rows, columns, row) < 1:
        raise InputError(file, "a frame or more", got=f"{frames} of {columns} x {rows} pixels")
    needed = frames * rows * row // 8
    announced = f"{count(frames, 'frame')} of {columns} x {rows} pixels"
    syntax = header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    element: Any = header.get_item(_PIXELS)
    length = getattr(element, "length", None)
    length = len(element.value) if length is None else length
    if syntax not in _UNCOMPRESSED or length == _UNDEFINED:
        ratio = _LARGEST_RLE_RATIO if syntax == RLELossless else LARGEST_GZIP_RATIO
        check_promise(file, READABLE, announced, needed, ratio=ratio)
        size = file.stat().st_size
        if frames > size // _ITEM:
            why = f"its header says {frames} frames, the file has {size} bytes"
            raise InputError(file, READABLE, found=TRUNCATED, reason=why)
    elif not str(header.get("PhotometricInterpretation") or "").endswith("422"):
        _check_length(file, needed, length, row // 8)
    return frames


def _check_length(file: Path, needed: int, length: int, row: int) -> None:
    """Refuse pixels that are cut short or are more than the header says, apart from padding.

    Args:
        file: the file.
        needed: bytes of the pixels that the header announces.
        length: bytes that there are.
        row: bytes of a row of pixels.
    """
    why = f"its header says {needed} bytes of pixels, the file has {length}"
    if length < needed:
        raise InputError(file, READABLE, found=TRUNCATED, reason=why)
    if length > needed + max(row, 1):
        raise InputError(file, READABLE, reason=why)
