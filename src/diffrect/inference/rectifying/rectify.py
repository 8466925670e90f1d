"""Label files in, corrected label files out on their own grid, with maps of what changed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from diffrect.atomic import remove_unfinished
from diffrect.checks import folder_to_make, one_of, within
from diffrect.console import progress_bar, summary
from diffrect.distributed.devices import find_device
from diffrect.distributed.locks import sole_command
from diffrect.distributed.ranks import together
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.read import read_label
from diffrect.imaging.slicing import choose_slicing
from diffrect.imaging.volume import Volume
from diffrect.imaging.write import LabelTarget, write_confidence, write_labels
from diffrect.inference.attempts import attempt, refuse_failures
from diffrect.inference.inputs import read_scan
from diffrect.inference.outputs import Format, check_format, label_suffix
from diffrect.inference.rectifying.label_rectifier import Guidance, LabelRectifier
from diffrect.inference.rectifying.pairs import Pair, list_pairs
from diffrect.inference.rectifying.rectified import RectifiedLabel, rectify_volume
from diffrect.runs.names import Checkpoint


@dataclass(frozen=True)
class ShownSlice:
    """The slice of a scan in which most changed, for a page.

    Attributes:
        index: its number from 0, and of how many.
        slices: number of slices.
        image: (H, W), raw intensities of the first channel.
        before: class map (H, W).
        after: class map (H, W).
        spacing: mm along H and W; None if unknown.
    """

    index: int
    slices: int
    image: np.ndarray
    before: np.ndarray
    after: np.ndarray
    spacing: tuple[float, float] | None


@dataclass(frozen=True)
class RectifiedCase:
    """What `rectify` did to a label.

    Attributes:
        name: of the label.
        files: those written: the label, what changed, and how sure that is.
        guidance: how far the label was taken to be off, from 0 to 1.
        difference: 1 - Dice of label and teacher, the mean over the classes that either has.
        changed: voxels that changed.
        refused: voxels for which another class was proposed and not taken.
        changed_share: changed voxels per voxel that is foreground before or after.
        volumes: per foreground class its volume before and after, in ml; voxels if the scan has no
            spacing.
        shown: the slice in which most changed.
    """

    name: str
    files: tuple[Path, Path, Path]
    guidance: float
    difference: float
    changed: int
    refused: int
    changed_share: float
    volumes: dict[str, tuple[float, float]]
    shown: ShownSlice

    def __repr__(self) -> str:
        """Return its name and what changed in one line."""
        changed = f"{self.changed_share:.1%} of the foreground changed"
        return summary(self, f"{self.name}, {changed}, guidance {self.guidance:.2f}")


def rectify(
    run: Path | str,
    out: Path | str,
    inputs: Sequence[Path | str],
    *,
    guidance: Guidance = "auto",
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    format: Literal["nifti", "dicom-seg"] = "nifti",
    overwrite: bool = False,
    progress: bool = True,
) -> list[RectifiedCase]:
    """Correct labels of scans, made by whatever means, with the rectifier of a training.

    `out` gets for each label NAME.nii.gz, corrected; NAME_changes.nii.gz (1 changed, 2 proposed and
    not taken); and NAME_confidence.nii.gz, the probability of the class that was proposed. All lie
    on the grid of the label's file.

    Example:
        >>> import diffrect
        >>> config = diffrect.TrainConfig(size=32, iterations=2, batch_labelled=2)
        >>> run = diffrect.train("store", "rectifying", config, progress=False)
        >>> inputs = ["scan.nii.gz", "label.nii.gz"]
        >>> [case] = diffrect.rectify(run, "corrected", inputs, progress=False)
        >>> case.files[0].as_posix()
        'corrected/label.nii.gz'

    Args:
        run: folder made by `train` with a method that has a rectifier.
        out: folder for the files.
        inputs: SCAN LABEL SCAN LABEL and so on, files or folders in which files of equal names
            belong together.
        guidance: how far the labels are off, from 0 (hardly) to 1 (widely); auto measures it for
            each by how much more it differs from the teacher than is usual for right labels.
        checkpoint: `best` by validation, or `last`.
        device: such as `cpu` or `cuda:1`; `auto` takes a GPU if there is one.
        format: of the corrected label: `nifti`, or `dicom-seg` for NAME.dcm, a DICOM segmentation
            that refers to the series of the scan, see `predict`. The maps are NIfTI, on the grid of
            the scan then.
        overwrite: replace files that exist already.
        progress: show a progress bar on stderr.

    Returns:
        What was done to each label.

    Raises:
        InputError: nothing was started, or the only label is bad.
        PartialFailure: of several labels some failed; the others were written.
    """
    if guidance != "auto":
        within("--guidance", guidance, 0, 1)
    one_of("--format", format, ("nifti", "dicom-seg"))
    check_format(format)
    paths = [Path(path) for path in inputs]
    list_pairs(paths, 1)  # refuse what is not there before a model is loaded
    rectifier = LabelRectifier.load(Path(run), checkpoint, find_device(device))
    pairs = list_pairs(paths, rectifier.task.channels)
    name = partial(_name_outputs, Path(out), pairs, format, overwrite=overwrite)
    with sole_command(Path(out), name), together() as ranks:
        named = list(zip(pairs, name(), strict=True))
        mine = progress_bar(ranks.share(named), "rectifying", progress and ranks.first)
        done = ranks.gather(
            [
                attempt(
                    pair.label, files[0], partial(rectify_file, rectifier, pair, files, guidance)
                )
                for pair, files in mine
            ]
        )
    faults = {p.label: x for p, x in zip(pairs, done, strict=True) if isinstance(x, InputError)}
    cases = [case for case in done if isinstance(case, RectifiedCase)]
    refuse_failures(faults, [case.files[0] for case in cases], len(pairs))
    return cases


def _name_outputs(
    out: Path, pairs: Sequence[Pair], format: Format, *, overwrite: bool
) -> list[tuple[Path, Path, Path]]:
    """Return the files to write for each label.

    Raises:
        InputError: one exists already, or is one of the inputs; or see `label_suffix`.
    """
    folder_to_make(out, "a folder for the label files")
    inputs = {path.resolve() for pair in pairs for path in (pair.label, *pair.scan)}
    outputs = []
    for pair in pairs:
        one = out / f"{pair.name}{label_suffix(pair.scan[0], format)}"
        two, three = (out / f"{pair.name}{end}.nii.gz" for end in _ENDS)
        for file in (one, two, three):
            if file.resolve() in inputs:
                raise InputError(out, "another folder than that of the inputs")
            if file.exists() and not overwrite:
                raise InputError(file, problem="exists already", hint="--overwrite replaces it")
        outputs.append((one, two, three))
    return outputs


_ENDS = ("_changes", "_confidence")


def rectify_file(
    rectifier: LabelRectifier, pair: Pair, files: tuple[Path, Path, Path], guidance: Guidance
) -> RectifiedCase:
    """Correct one label file, and write it with its two maps.

    Args:
        rectifier: of a trained run.
        pair: the scan and its label.
        files: the files to write: the label, what changed, how sure that is.
        guidance: see `rectify`.

    Raises:
        InputError: a file is unreadable, or scan and label do not fit each other or the model.
    """
    image, label = read_scan(pair.scan), read_label(pair.label)
    target = LabelTarget(files[0], image, rectifier.task.classes)
    found = rectify_volume(rectifier, image, label, guidance=guidance)
    case = _described(rectifier, pair.name, files, image, found)
    turned = found if target.on_scan else found.turned(image, label)
    whole = label.cropped or label.array.shape != turned.labels.shape
    grid = image if target.on_scan or whole else label
    write = target.ready(turned.labels, grid)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(files[0].parent, *(file.name for file in files))
    write_confidence(files[2], turned.confidence, grid)
    write_labels(files[1], turned.changes, grid)
    write()
    return case


def _described(
    rectifier: LabelRectifier,
    name: str,
    files: tuple[Path, Path, Path],
    image: Volume,
    found: RectifiedLabel,
) -> RectifiedCase:
    size = 1.0 if image.spacing is None else math.prod(image.spacing) / 1000
    volumes = {
        name: (size * _voxels(found.given == code), size * _voxels(found.labels == code))
        for code, name in enumerate(rectifier.task.classes)
        if code
    }
    changes = found.changes
    slicing = choose_slicing(image, rectifier.task.axis)
    raw, before, after = (slicing.view(x) for x in (image.array, found.given, found.labels))
    moved = (before != after).sum(axis=(1, 2))
    size_of = ((before > 0) & (before != IGNORED)).sum(axis=(1, 2))
    index = int(moved.argmax() if moved.any() else size_of.argmax())
    spacing = slicing.spacing(image)
    picture = raw[index] if raw.ndim == 3 else raw[index, ..., 0]
    shown = ShownSlice(
        index,
        len(raw),
        np.array(picture, np.float32),
        np.array(before[index]),
        np.array(after[index]),
        None if spacing is None else spacing[1:],
    )
    return RectifiedCase(
        name,
        files,
        found.guidance,
        found.difference,
        _voxels(changes == 1),
        _voxels(changes == 2),
        found.changed_share,
        volumes,
        shown,
    )


def _voxels(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))
