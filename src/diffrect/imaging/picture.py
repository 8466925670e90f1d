"""PNG, TIFF and JPEG as volumes with a slice per page, rows and columns as they are stored."""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from diffrect.errors import InputError
from diffrect.imaging.decode import LARGEST_GZIP_RATIO, TRUNCATED, check_file
from diffrect.imaging.decoders.guard import guarded
from diffrect.imaging.decoders.limits import announce, check_promise
from diffrect.imaging.volume import Volume

_TURNED = (
    "its EXIF entry asks viewers to turn it, which is not done: rows and columns are the file's"
)
_READABLE = "a readable picture"
_LARGEST_RATIO = 8 * LARGEST_GZIP_RATIO  # a byte may hold eight pixels in black and white
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
    pages, turned = guarded(path, _READABLE, _read_pages, path, label)
    slices = [np.swapaxes(page, 0, 1) for page in pages]
    kinds = {(pixels.shape, pixels.dtype) for pixels in slices}
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{kind} {shape}" for shape, kind in kinds))
        raise InputError(path, "pages of one size and kind", found=found)
    remarks = (_TURNED,) if turned else ()
    return Volume(np.stack(slices, axis=2), None, np.eye(4), path, remarks)


def _read_pages(path: Path, label: bool) -> tuple[list[np.ndarray], bool]:
    """Return the pages (rows, columns[, 3]), and whether viewers are asked to turn them."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with Image.open(path) as image:
        if image.format == "PNG":  # whose checksums are compared only when asked to
            image.verify()
    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
        if count != 1 and image.format != "TIFF":
            raise InputError(path, "one page", found=count)
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        pages: list[np.ndarray] = []
        values = 0
        for number in range(count):
            image.seek(number)
            values += image.width * image.height * len(image.getbands())
            announced = f"{image.width} x {image.height} pixels on each of {count} pages"
            check_promise(path, _READABLE, announced, values, ratio=_LARGEST_RATIO)
            announce(values)
            pages.append(_read_page(path, image, label))
    return pages, turned


def _read_page(path: Path, image: Image.Image, label: bool) -> np.ndarray:
    """Return the page at which the picture is opened, (rows, columns[, 3])."""
    if label:
        _check_label(path, image)
    _check_strips(path, image)
    pixels = np.asarray(image if label else _without_transparency(image))
    if pixels.ndim not in (2, 3):
        raise InputError(path, "rows and columns", got=f"shape {pixels.shape}")
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


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
        raise InputError(path, _READABLE, found=TRUNCATED, reason=why)


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
