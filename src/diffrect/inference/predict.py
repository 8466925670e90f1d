"""Image files in, label files out on the input's own grid; needs only a RUN folder."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from diffrect.atomic import SUFFIX, naming, private_file, remove_unfinished, reserve
from diffrect.console import progress_bar, tell
from diffrect.distributed.locks import sole_command
from diffrect.distributed.ranks import together
from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.kinds import suffix_of
from diffrect.imaging.slicing import check_policy
from diffrect.imaging.write import write_labels, write_probabilities
from diffrect.inference.inputs import Scan, list_scans, read_scan
from diffrect.inference.model import Model
from diffrect.inference.outputs import Format, Output, name_outputs, probabilities_name
from diffrect.inference.segment import segment
from diffrect.runs.names import Checkpoint


@dataclass(frozen=True)
class PredictOptions:
    """How images are read and segmented.

    Attributes:
        axis: cut volumes in another way than the model's, see `choose_slicing`.
        largest_component: keep only the largest connected part of each class.
        channel: read only this channel, from 0, of images with several.

    Raises:
        InputError: an axis or a channel that cannot be.
    """

    axis: str | None = None
    largest_component: bool = False
    channel: int | None = None

    def __post_init__(self) -> None:
        if self.axis is not None:
            check_policy(self.axis)
        if self.channel is not None and not 0 <= self.channel < 2**31:
            raise InputError("--channel", "a number from 0 up", got=self.channel)


def predict(
    run: Path | str,
    out: Path | str,
    inputs: Sequence[Path | str],
    *,
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    format: Format = "nifti",
    axis: str | None = None,
    channel: int | None = None,
    probabilities: bool = False,
    largest_component: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Segment images with a trained model, and write a label file for each.

    Labels of `images/scan.nrrd` go to `out/scan.nii.gz`: uint8 class numbers with the image's shape
    and geometry. Processes started by torchrun or srun share the files; all of them return the
    same.

    Example:
        >>> import diffrect
        >>> [file] = diffrect.predict("run", "labels", ["scan.nii.gz"], progress=False)
        >>> file.as_posix()
        'labels/scan.nii.gz'

    Args:
        run: folder made by `train`, or file made by `export`.
        out: folder for the label files.
        inputs: image files of any format, folders of a DICOM series, folders of which every image
            directly inside is taken, or patterns of these. For a model of several channels,
            `CASE_0000`, `CASE_0001` and so on are one scan, `CASE`.
        checkpoint: `best` by validation, `last`, or of a training with `average` the best `student`
            or `average`.
        device: such as `cpu` or `cuda:1`; `auto` takes a GPU if there is one.
        format: `nifti`, or `same` to write labels in the format of their image.
        axis: cut volumes in another way than the model's, see `choose_slicing`.
        channel: read only this channel, from 0, of images with several.
        probabilities: add `out/scan_probabilities.nii.gz`, float32 (X, Y, Z, classes).
        largest_component: keep only the largest connected part of each class.
        overwrite: replace label files that exist already.
        progress: show a progress bar, and remarks about the images, on stderr.

    Returns:
        The label files written.

    Raises:
        InputError: nothing was started (no such run or input, outputs of the same name, outputs
            that exist already without `overwrite`, another command that writes into `out`), or the
            only input is bad.
        PartialFailure: of several inputs some failed; the others were written.
    """
    options = PredictOptions(axis, largest_component, channel)
    paths = [Path(path) for path in inputs]
    list_scans(paths, 1)  # Refuse inputs that do not exist before a model is loaded.
    model = Model.load(Path(run), checkpoint=checkpoint, device=device)
    scans = list_scans(paths, model.channels)
    name = partial(
        name_outputs, Path(out), scans, format, probabilities=probabilities, overwrite=overwrite
    )
    with sole_command(Path(out), name), together() as ranks:
        outputs = name()
        share = ranks.share(list(outputs.items()))
        mine = progress_bar(share, "predicting", progress and ranks.first)
        results = ranks.gather([_try(model, scan, output, options) for scan, output in mine])
    faults = {scan[0]: fault for scan, (fault, _) in zip(outputs, results, strict=True) if fault}
    if len(outputs) == 1 and faults:
        raise next(iter(faults.values()))
    if progress and ranks.first:
        for line in (line for _, remarks in results for line in remarks):
            tell(line)
    written = [output.labels for scan, output in outputs.items() if scan[0] not in faults]
    if faults:
        failures = {file: str(fault) for file, fault in faults.items()}
        found = "; ".join(failures.values())
        summary = f"{len(failures)} of {len(outputs)} inputs failed: {found}"
        raise PartialFailure(summary, written, failures)
    return written


def _try(
    model: Model, scan: Scan, output: Output, options: PredictOptions
) -> tuple[InputError | None, list[str]]:
    """Return what is wrong with a scan, None if its labels were written, and remarks about it."""
    try:
        return None, predict_file(model, scan, output.labels, output.probabilities, options)
    except InputError as error:
        return error, []
    except (MemoryError, torch.OutOfMemoryError):
        return InputError(scan[0], problem="needs more memory than there is"), []
    except OSError as error:  # A full disk, for example, may have room for the next, smaller file.
        place = error.filename or output.labels
        return InputError(place, reason=error.strerror or error), []


def predict_file(
    model: Model,
    scan: Path | Scan,
    output: Path,
    probabilities: Path | None = None,
    options: PredictOptions | None = None,
) -> list[str]:
    """Segment one image, and write its labels (X, Y, Z).

    Args:
        model: the trained model.
        scan: the image file, or the files of its channels.
        output: the label file.
        probabilities: file for the probabilities (X, Y, Z, classes); None writes none.
        options: how the image is read and segmented.

    Returns:
        What is unusual about the image although it was read, one line each.

    Raises:
        InputError: the file is unreadable, constant, not finite or has other channels than the
            model was trained with.
    """
    options = options or PredictOptions()
    _remove_leftovers(output)
    image = read_scan((scan,) if isinstance(scan, Path) else scan, options.channel)
    shape = (*image.array.shape[:3], len(model.classes))
    with _array_on_disk(probabilities, shape) as shares:
        labels = segment(
            model.segmenter,
            model.task,
            image,
            axis=options.axis,
            largest_component=options.largest_component,
            probabilities=shares,
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        if probabilities is not None and shares is not None:
            write_probabilities(probabilities, shares, image)
    write_labels(output, labels, image)
    return [f"{image.path}: {line}" for line in image.remarks]


def _remove_leftovers(output: Path) -> None:
    """Remove what a killed predict left of a label file and of its probabilities."""
    shares = probabilities_name(output.name.removesuffix(suffix_of(output)))
    remove_unfinished(output.parent, output.name, shares)


@contextmanager
def _array_on_disk(beside: Path | None, shape: tuple[int, ...]) -> Iterator[np.ndarray | None]:
    """Lend room on the disk for probabilities, which take many times the memory of a volume.

    Args:
        beside: the file that they will be written to; None lends nothing.
        shape: (X, Y, Z, classes).
    """
    if beside is None:
        yield None
        return
    made = [folder for folder in (beside.parent, *beside.parent.parents) if not folder.exists()]
    beside.parent.mkdir(parents=True, exist_ok=True)
    scratch = beside.with_name(f".{beside.name}.scratch.{os.getpid()}{SUFFIX}")
    try:
        with naming(beside), private_file(scratch) as file:
            reserve(file, 4 * math.prod(shape))
            shares = np.memmap(file, np.float32, "r+", shape=shape, order="F")
        yield shares
    except (InputError, OSError):
        scratch.unlink(missing_ok=True)
        for folder in made:  # Leave nothing behind of an image that could not be read.
            folder.rmdir()
        raise
    finally:
        scratch.unlink(missing_ok=True)
