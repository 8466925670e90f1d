"""Find the images in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from diffrect.imaging.kinds import kind_of, series_files, visible


def find_images(path: Path, *, recursive: bool = True) -> list[Path]:
    """Return the images in a folder, sorted: files of known names and folders of a DICOM series.

    A folder that holds a DICOM series counts as that series, and `path` itself may be one. Pictures
    beside its slices are previews and are left out, as are hidden files. Symbolic links are
    followed, each folder once; one with the name of an image that leads nowhere counts as an image,
    so that reading it says so.

    Args:
        path: a folder, or a file, which is returned if it is an image by its name.
        recursive: look into the folders below too.
    """
    if not path.is_dir():
        return [path] if path.is_file() and kind_of(path) else []
    return list(_images_in(path, recursive, set()))


def _images_in(folder: Path, recursive: bool, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    series = bool(series_files(folder))
    no_scans = (None, "dicom", "picture") if series else (None, "dicom")
    if series:
        yield folder
    for path in visible(folder):
        if path.is_dir():
            if recursive:
                yield from _images_in(path, recursive, seen)
            elif series_files(path):
                yield path
        elif (path.is_file() or path.is_symlink()) and kind_of(path) not in no_scans:
            yield path
