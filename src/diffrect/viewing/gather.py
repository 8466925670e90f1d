"""SOURCE of the command line -> what is shown: a run, a store, or scans."""

from collections.abc import Sequence
from pathlib import Path

from diffrect.errors import InputError
from diffrect.imaging.find import find_images
from diffrect.imaging.kinds import EXPECTED
from diffrect.runs.folds import is_cross_validation
from diffrect.runs.names import Checkpoint
from diffrect.runs.recognise import check_has_model, check_is_run, kind_of_folder
from diffrect.viewing.from_files import gallery_of_files
from diffrect.viewing.from_store import gallery_of_store
from diffrect.viewing.gallery import Gallery


def is_run(source: Path) -> bool:
    """Return whether something given is a RUN folder, of a training or of a cross-validation."""
    return kind_of_folder(source) == "run" or is_cross_validation(source)


def check_source(
    source: Path, *, store: Path | None = None, patients: str = "", checkpoint: Checkpoint = "best"
) -> None:
    """Refuse what can be refused before anything is read.

    Args:
        source: a RUN folder, a store, an image or a folder of images.
        store: the store of a run.
        patients: patients of a run or a store.
        checkpoint: checkpoint of a run.

    Raises:
        InputError: the source is none of these, or an option is not for what it is.
    """
    check_is_run(source)
    run, folder = is_run(source), kind_of_folder(source)
    if store is not None and not run:
        raise InputError("--store", "a run to show", got=source)
    if patients and folder is None and not run:
        raise InputError("--patients", "a run or a store to show", got=source)
    if run:
        check_has_model(source, checkpoint)
    elif folder is None and source.is_dir() and not find_images(source, recursive=False):
        raise InputError(source, f"a run, a store or images ({EXPECTED}) in it", found="none")


def gather(
    source: Path,
    labels: Sequence[Path] = (),
    *,
    store: Path | None = None,
    patients: str = "",
    checkpoint: Checkpoint = "best",
    device: str = "auto",
) -> Gallery:
    """Return what a viewer is to show.

    Args:
        source: a RUN folder, a store, an image or a folder of images.
        labels: label files and folders of them, see `match_labels`.
        store: see `gallery_of_run`, as `checkpoint` and `device`.
        patients: see `gallery_of_run` and `gallery_of_store`.
        checkpoint: the checkpoint that predicts.
        device: what computes.

    Raises:
        InputError: something is not there, not readable, or does not belong together.
    """
    check_source(source, store=store, patients=patients, checkpoint=checkpoint)
    if is_run(source):
        from diffrect.viewing.from_run import gallery_of_run  # loads PyTorch, which takes seconds

        return gallery_of_run(
            source, labels, store=store, patients=patients, checkpoint=checkpoint, device=device
        )
    if kind_of_folder(source) == "store":
        return gallery_of_store(source, labels, patients)
    return gallery_of_files(source, labels)
