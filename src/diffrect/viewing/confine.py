"""Files that lie in the folder they were found in, and not elsewhere by way of a link."""

from collections.abc import Iterable
from pathlib import Path

from diffrect.errors import InputError
from diffrect.imaging.kinds import visible


def lies_within(path: Path, folder: Path) -> bool:
    """Return whether a file, or a folder with all files directly in it, lies in a folder.

    Links are followed.
    """
    root = folder.resolve()
    files = [path, *(visible(path) if path.is_dir() else ())]
    return all(file.resolve().is_relative_to(root) for file in files)


def check_within(path: Path, folder: Path) -> None:
    """Check the same again right before a file is read, because a link may be new.

    Raises:
        InputError: it leads out of the folder.
    """
    if not lies_within(path, folder):
        raise InputError(path, f"a file in {folder}", found="a link that leads out of it")


def keep_within(paths: Iterable[Path], folder: Path) -> tuple[list[Path], list[str]]:
    """Return the paths that lie in a folder, and a line about each of the others."""
    kept, remarks = [], []
    for path in paths:
        if lies_within(path, folder):
            kept.append(path)
        else:
            remarks.append(f"{path}: leads out of {folder}, not shown; name the file to see it")
    return kept, remarks
