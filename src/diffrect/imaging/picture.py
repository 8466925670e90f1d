"""PNG, TIFF and JPEG as volumes with a slice per page, rows and columns as they are stored."""

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

    The pages of a TIFF are slices, if they are of one size and kind. Transparency is left out. The
    codes of a label with a palette are the palette's indices.

    Raises:
        InputError: the file is unreadable, is an animation, has pages that differ, or is a label in
            colour or JPEG.
    """
    check_file(path, "a picture")
    with decoding(path, "a readable picture"):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
            if pages != 1 and image.format != "TIFF":
                raise InputError(path, "one page", found=pages)
            turned = image.getexif().get(ExifTags.Base.Orientation, 1)
            slices = [_read_page(path, image, page, label) for page in range(pages)]
    kinds = {(pixels.shape, pixels.dtype) for pixels in slices}
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{kind} {shape}" for shape, kind in kinds))
        raise InputError(path, "pages of one size and kind", found=found)
    remarks = () if turned == 1 else (_TURNED,)
    return Volume(np.stack(slices, axis=2), None, np.eye(4), path, remarks)


def _read_page(path: Path, image: Image.Image, page: int, label: bool) -> np.ndarray:
    """Return a page as (columns, rows[, 3])."""
    image.seek(page)
    if label:
        _check_label(path, image)
    _check_strips(path, image)
    pixels = np.asarray(image if label else _without_transparency(image))
    if pixels.ndim not in (2, 3):
        raise InputError(path, "rows and columns", got=f"shape {pixels.shape}")
    return np.swapaxes(pixels.astype(np.uint8) if pixels.dtype == bool else pixels, 0, 1)


def write_picture(path: Path, labels: np.ndarray) -> None:
    """Write labels (columns, rows, slices) uint8 as a grey picture whose values are the codes.

    Raises:
        InputError: there are several slices, and the file is not a TIFF.
    """
    first, *others = (
        Image.fromarray(np.ascontiguousarray(plane.T)) for plane in np.moveaxis(labels, 2, 0)
    )
    if path.suffix.lower() in (".tif", ".tiff"):
        first.save(path, format="TIFF", save_all=True, append_images=others)
    elif others:
        raise InputError(path, "one slice in a PNG", got=labels.shape[2])
    else:
        first.save(path, format="PNG")


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
