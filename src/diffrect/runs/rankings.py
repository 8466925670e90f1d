"""Where an order of unlabelled patients is written, and whether it may be."""

from pathlib import Path

from diffrect.checks import folder_to_make
from diffrect.errors import InputError
from diffrect.runs.names import RANKING_FOLDER

PATIENTS_FILE, SLICES_FILE, PAGE_FILE = "ranking.csv", "slices.csv", "index.html"
FILES = (PATIENTS_FILE, SLICES_FILE, PAGE_FILE)


def ranking_folder(run: Path, out: Path | str | None) -> Path:
    """Return the folder in which an order is written: RUN/ranking if none is given."""
    return run / RANKING_FOLDER if out is None else Path(out)


def check_no_ranking(folder: Path, *, overwrite: bool) -> None:
    """Check that an order may be written into a folder.

    Raises:
        InputError: it is no folder, or holds one that may not be replaced.
    """
    folder_to_make(folder, "a folder for the ranking")
    for file in (folder / name for name in FILES):
        if file.exists() and not overwrite:
            raise InputError(file, problem="exists already", hint="--overwrite replaces it")
