"""One scan in; its label file, and what else is wanted of it, out."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffrect.atomic import SUFFIX, naming, private_file, remove_unfinished, reserve
from diffrect.errors import InputError
from diffrect.imaging.slicing import check_policy
from diffrect.imaging.write import LabelTarget, write_probabilities
from diffrect.inference.average import cuts_differ, segment_by_all
from diffrect.inference.ensemble import Ensemble
from diffrect.inference.inputs import Scan, read_scan
from diffrect.inference.measures import ClassStatistics, measure
from diffrect.inference.model import Model
from diffrect.inference.outputs import Output, entropy_name, probabilities_name

SCRATCH_NAMES = (probabilities_name, entropy_name)
"""Names of the files beside a label file whose arrays wait on the disk until they are written."""


@dataclass(frozen=True)
class PredictOptions:
    """How images are read and segmented.

    Attributes:
        axis: cut volumes in another way than the model's, see `choose_slicing`.
        largest_component: keep only the largest connected part of each class.
        channel: read only this channel, from 0, of images with several.
        statistics: count and measure the classes.

    Raises:
        InputError: an axis or a channel that cannot be.
    """

    axis: str | None = None
    largest_component: bool = False
    channel: int | None = None
    statistics: bool = False

    def __post_init__(self) -> None:
        if self.axis is not None:
            check_policy(self.axis)
        if self.channel is not None and not 0 <= self.channel < 2**31:
            raise InputError("--channel", "a number from 0 up", got=self.channel)


class Predicted(NamedTuple):
    """What is known of a scan besides its files.

    Attributes:
        remarks: what is unusual about the image although it was read, one line each.
        statistics: a row for each class, if they are wanted.
    """

    remarks: list[str]
    statistics: list[ClassStatistics]


def predict_file(
    model: Model | Ensemble,
    scan: Path | Scan,
    output: Output | Path,
    options: PredictOptions | None = None,
) -> Predicted:
    """Segment one image, and write its labels (X, Y, Z) and what else `output` names.

    Args:
        model: the trained model, or several.
        scan: the image file, or the files of its channels.
        output: the files to write; a path is that of the labels.
        options: how the image is read and segmented.

    Raises:
        InputError: the file is unreadable, constant, not finite or has other channels than the
            model was trained with; or a DICOM segmentation cannot refer to it.
    """
    options = options or PredictOptions()
    output = output if isinstance(output, Output) else Output(output)
    beside = [output.labels.with_name(name(output.stem)) for name in SCRATCH_NAMES]
    remove_unfinished(output.labels.parent, output.labels.name, *(file.name for file in beside))
    image = read_scan((scan,) if isinstance(scan, Path) else scan, options.channel)
    target = LabelTarget(output.labels, image, model.classes)
    measured = options.statistics or output.entropy is not None
    kept = measured or output.probabilities is not None or cuts_differ(model.members, options.axis)
    grid = image.array.shape[:3]
    shapes = [(*grid, len(model.classes)) if kept else None, grid if output.entropy else None]
    rows: list[ClassStatistics] = []
    with _rooms(beside, shapes) as (shares, entropies):
        labels = segment_by_all(
            model.members,
            image,
            axis=options.axis,
            largest_component=options.largest_component,
            probabilities=shares,
        )
        write = target.ready(labels)
        output.labels.parent.mkdir(parents=True, exist_ok=True)
        if measured and shares is not None:
            rows = measure(labels, shares, model.classes, image, output.stem, entropies)
        for file, array in ((output.probabilities, shares), (output.entropy, entropies)):
            if file is not None and array is not None:
                write_probabilities(file, array, image)
    write()
    return Predicted([f"{image.path}: {line}" for line in image.remarks], rows)


@contextmanager
def _rooms(
    beside: Sequence[Path], shapes: Sequence[tuple[int, ...] | None]
) -> Iterator[list[np.ndarray | None]]:
    """Lend room on the disk for some arrays, see `_array_on_disk`; None for those without shape."""
    with ExitStack() as rooms:
        yield [
            None if shape is None else rooms.enter_context(_array_on_disk(file, shape))
            for file, shape in zip(beside, shapes, strict=True)
        ]


@contextmanager
def _array_on_disk(beside: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Lend room on the disk for an array that takes many times the memory of a volume.

    Args:
        beside: a file in whose folder it lies; what a kill leaves goes by this file's name.
        shape: of the array, float32.
    """
    made = [folder for folder in (beside.parent, *beside.parent.parents) if not folder.exists()]
    beside.parent.mkdir(parents=True, exist_ok=True)
    scratch = beside.with_name(f".{beside.name}.scratch.{os.getpid()}{SUFFIX}")
    try:
        with naming(beside), private_file(scratch) as file:
            reserve(file, 4 * math.prod(shape))
            array = np.memmap(file, np.float32, "r+", shape=shape, order="F")
        yield array
    except (InputError, OSError):
        scratch.unlink(missing_ok=True)
        for folder in made:  # Leave nothing behind of an image that could not be read.
            folder.rmdir()
        raise
    finally:
        scratch.unlink(missing_ok=True)
