"""Image files in, label files out on the input's own grid; needs a RUN folder and nothing else."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from diffrect.atomic import SUFFIX, naming, private_file, remove_unfinished, reserve
from diffrect.console import progress_bar, tell
from diffrect.distributed.ranks import together
from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.kinds import kind_of, suffix_of
from diffrect.imaging.slicing import check_policy
from diffrect.imaging.write import write_labels, write_probabilities
from diffrect.inference.inputs import Scan, list_scans, read_scan
from diffrect.inference.model import Model
from diffrect.inference.segment import segment

Format = Literal["nifti", "same"]


class PredictionError(PartialFailure):
    """Some of several inputs could not be predicted; the others were.

    Args:
        written: the label files that were written.
        failures: what is wrong with each of the other inputs, one line each.
    """

    def __init__(self, written: list[Path], failures: dict[Path, str]) -> None:
        total = len(written) + len(failures)
        summary = f"{len(failures)} of {total} inputs failed: {'; '.join(failures.values())}"
        super().__init__(summary, written, failures)


def predict(
    run: Path | str,
    out: Path | str,
    inputs: Sequence[Path | str],
    *,
    checkpoint: Literal["best", "last"] = "best",
    device: str = "auto",
    format: Format = "nifti",
    axis: str | None = None,
    channel: int | None = None,
    probabilities: bool = False,
    largest_component: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Segment images with a trained model; returns the label files written.

    `inputs` are image files of any format, folders of a DICOM series, folders of which every image
    directly inside is taken, or patterns of these. Labels of `images/scan.nrrd` go to
    `out/scan.nii.gz`, or with `format` "same" to `out/scan.nrrd`: uint8 class numbers with the
    image's shape and geometry. For a model of several channels, `CASE_0000`, `CASE_0001` and so on
    are one scan, `CASE`; with `channel`, from 0, that one of an image with several is read.
    `checkpoint` is "best" or "last", `device` such as "cpu" or "cuda"; for `axis` and
    `largest_component` see `segment`. `probabilities` adds `out/scan_probabilities.nii.gz`, float32
    (X, Y, Z, classes). Processes started by torchrun or srun share the files; all of them return
    the same.

    Raises:
        InputError: nothing was started (no such run or input, outputs of the same name, outputs
            that exist already without `overwrite`), or the only input is bad.
        PredictionError: of several inputs some failed; the others were written.
    """
    if axis is not None:
        check_policy(axis)
    if channel is not None and channel < 0:
        raise InputError(f"--channel: expected a number from 0 up, got {channel}")
    paths = [Path(path) for path in inputs]
    list_scans(paths, 1)  # what is not there is told before a model is loaded
    model = Model.load(Path(run), checkpoint=checkpoint, device=device)
    scans = list_scans(paths, model.channels)
    outputs = _name_outputs(Path(out), scans, format, probabilities, overwrite)
    options = axis, largest_component, channel
    with together() as ranks:
        mine = progress_bar(
            ranks.share(list(outputs.items())), "predicting", progress and ranks.first
        )
        results = ranks.gather([_try(model, file, *paths, *options) for file, paths in mine])
    faults = [fault for fault, _ in results]
    if len(outputs) == 1 and faults[0] is not None:
        raise InputError(faults[0])
    if progress and ranks.first:
        for line in (line for _, remarks in results for line in remarks):
            tell(line)
    failures = {scan[0]: fault for scan, fault in zip(outputs, faults, strict=True) if fault}
    written = [output for scan, (output, _) in outputs.items() if scan[0] not in failures]
    if failures:
        raise PredictionError(written, failures)
    return written


def _try(
    model: Model,
    scan: Scan,
    output: Path,
    probabilities: Path | None,
    *options: Any,
) -> tuple[str | None, list[str]]:
    """What is wrong with a scan, None if its labels were written; and what is unusual about it."""
    try:
        return None, predict_file(model, scan, output, probabilities, *options)
    except InputError as error:
        return str(error), []
    except (MemoryError, torch.OutOfMemoryError):
        return f"{scan[0]}: needs more memory than there is", []
    except OSError as error:  # such as a full disk; the next file may be smaller
        return f"{error.filename or output}: {error.strerror or error}", []


def predict_file(
    model: Model,
    scan: Path | Scan,
    output: Path,
    probabilities: Path | None = None,
    axis: str | None = None,
    largest_component: bool = False,
    channel: int | None = None,
) -> list[str]:
    """Segment one image and write its labels (X, Y, Z), and if named its probabilities.

    Returns what is unusual about the image though it was read.

    Raises:
        InputError: the file is unreadable, constant, not finite or has other channels than the
            model was trained with.
    """
    image = read_scan((scan,) if isinstance(scan, Path) else scan, channel)
    shape = (*image.array.shape[:3], len(model.classes))
    with _array_on_disk(probabilities, shape) as shares:
        labels = segment(
            model, image, axis=axis, largest_component=largest_component, probabilities=shares
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(output.parent, output.name)
        if probabilities is not None and shares is not None:
            write_probabilities(probabilities, shares, image)
    write_labels(output, labels, image)
    return [f"{image.path}: {line}" for line in image.remarks]


@contextmanager
def _array_on_disk(beside: Path | None, shape: tuple[int, ...]) -> Iterator[np.ndarray | None]:
    """Room for the probabilities, many times a volume, that takes none in memory."""
    if beside is None:
        yield None
        return
    made = [folder for folder in (beside.parent, *beside.parent.parents) if not folder.exists()]
    beside.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(beside.parent, f"{beside.name}.scratch")
    scratch = beside.with_name(f".{beside.name}.scratch.{os.getpid()}{SUFFIX}")
    try:
        with naming(beside), private_file(scratch) as file:
            reserve(file, 4 * math.prod(shape))
            shares = np.memmap(file, np.float32, "r+", shape=shape, order="F")
        yield shares
    except (InputError, OSError):
        scratch.unlink(missing_ok=True)
        for folder in made:  # nothing is left of an image that could not be read
            folder.rmdir()
        raise
    finally:
        scratch.unlink(missing_ok=True)


def _name_outputs(
    out: Path,
    scans: Mapping[str, Sequence[Scan]],
    format: Format,
    probabilities: bool,
    overwrite: bool,
) -> dict[Scan, tuple[Path, Path | None]]:
    """The label and probability file of every image, checked before anything is read or written."""
    if format not in ("nifti", "same"):
        raise InputError(f"--format: expected nifti or same, got {format!r}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder for the label files, found a file")
    outputs: dict[Scan, tuple[Path, Path | None]] = {}
    sources: dict[Path, Path] = {}
    images = {file.resolve() for named in scans.values() for scan in named for file in scan}
    for stem, scan in ((stem, scan) for stem, named in scans.items() for scan in named):
        file = scan[0]
        shares = out / f"{stem}_probabilities.nii.gz" if probabilities else None
        outputs[scan] = (out / f"{stem}{_suffix(file, format)}", shares)
        for output in (path for path in outputs[scan] if path is not None):
            if output in sources:
                raise InputError(
                    f"{file}: expected inputs of different names, {sources[output]} "
                    f"would be written to {output} too"
                )
            if output.resolve() in images:
                raise InputError(f"{out}: expected another folder than that of the inputs")
            if output.exists() and not overwrite:
                raise InputError(f"{output}: exists already; --overwrite replaces it")
            sources[output] = file
    return outputs


def _suffix(file: Path, format: Format) -> str:
    """What the label file of an image is called."""
    if format == "nifti":
        return ".nii.gz"
    if kind_of(file) == "dicom":
        raise InputError(
            f"{file}: expected another format than DICOM for --format same; give --format nifti"
        )
    suffix = suffix_of(file)
    if suffix.lower() == ".hdr":
        return ".nii"
    # JPEG changes values, which for labels are other classes.
    return ".png" if suffix.lower() in (".jpg", ".jpeg") else suffix
