"""PNG, TIFF and JPEG as volumes of one slice, with rows and columns as they are stored."""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from diffrect.errors import InputError
from diffrect.imaging.decode import TRUNCATED, check_file, decoding
from diffrect.imaging.volume import Volume

_TURNED = (
    "its EXIF entry asks viewers to turn it, which is not done: rows and columns are the file's"
)
_STRIPS, _ROWS_PER_STRIP = 273, 278  # tags of TIFF
_GREY = {"1", "L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


def read_picture(path: Path, *, label: bool = False) -> Volume:
    """Read a picture as (columns, rows, 1), or (columns, rows, 1, 3) in colour.

    Transparency is left out. The codes of a label with a palette are the palette's indices.

    Raises:
        InputError: the file is unreadable, has several pages, or is a label in colour or JPEG.
    """
    check_file(path, "a picture")
    with decoding(path, "a readable picture"):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
            if pages != 1:
                raise InputError(path, "one page", found=pages)
            if label:
                _check_label(path, image)
            _check_strips(path, image)
            turned = image.getexif().get(ExifTags.Base.Orientation, 1)
            pixels = np.asarray(image if label else _without_transparency(image))
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    if pixels.ndim not in (2, 3):
        raise InputError(path, "rows and columns", got=f"shape {pixels.shape}")
    remarks = () if turned == 1 else (_TURNED,)
    return Volume(np.swapaxes(pixels, 0, 1)[:, :, np.newaxis], None, np.eye(4), path, remarks)


def write_picture(path: Path, labels: np.ndarray) -> None:
    """Write labels (columns, rows, 1) uint8 as a grey picture whose values are the codes."""
    name = "TIFF" if path.suffix.lower() in (".tif", ".tiff") else "PNG"
    Image.fromarray(np.ascontiguousarray(labels[:, :, 0].T)).save(path, format=name)


def _check_strips(path: Path, image: Image.Image) -> None:
    """Refuse a TIFF without all of its rows, because the missing ones would be read as black."""
    tags = getattr(image, "tag_v2", {})
    if _STRIPS not in tags:
        return
    strips, rows = len(tags[_STRIPS]), int(tags.get(_ROWS_PER_STRIP, image.height))
    if strips * rows < image.height:
        why = f"its header says {image.height} rows, the file has {strips * rows}"
        raise InputError(path, "a readable picture", found=TRUNCATED, reason=why)


def _check_label(path: Path, image: Image.Image) -> None:
    if image.format == "JPEG":
        raise InputError(path, "a label in a format without loss", got="JPEG")
    if image.mode != "P" and image.mode not in _GREY:
        expected = "a label in grey or with a palette, its values the class codes"
        raise InputError(path, expected, got=f"mode {image.mode}")


def _without_transparency(image: Image.Image) -> Image.Image:
    """Return the picture in grey or RGB, without what else the file records."""
    if image.mode in _GREY or image.mode == "RGB":
        return image
    return image.convert("L" if image.mode in ("LA", "La") else "RGB")
