"""A volume in, the labels that several models give it together out, a few slices at a time."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrect.data.task import Task
from diffrect.imaging.components import keep_largest_components
from diffrect.imaging.volume import Volume
from diffrect.inference.segment import CutVolume, segment
from diffrect.inference.segmenter import Segmenter


class Member(NamedTuple):
    """One of the models that label a volume.

    Attributes:
        segmenter: labels the slices.
        task: says how volumes are cut and normalised, and how many channels they have.
    """

    segmenter: Segmenter
    task: Task


def cuts_differ(members: Sequence[Member], axis: str | None) -> bool:
    """Return whether members cut volumes by different rules; `axis` overrides all of them."""
    return len({axis or member.task.axis for member in members}) > 1


@torch.inference_mode()
def segment_by_all(
    members: Sequence[Member],
    volume: Volume,
    *,
    axis: str | None = None,
    largest_component: bool = False,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Return the labels of the mean probability of all members, uint8 (X, Y, Z).

    Probabilities are averaged on the volume's own grid, so that members may differ in the size of
    their input, in intensities and in the axis that they cut. A single member labels as `segment`.

    Args:
        members: one or more, of the same classes.
        volume: raw intensities, (X, Y, Z) or (X, Y, Z, C).
        axis: cut it in another way than the tasks', see `choose_slicing`.
        largest_component: keep only the largest connected part of each class.
        probabilities: float32 (X, Y, Z, classes) to fill; may lie on disk. If members cut along
            different axes, it is needed, and made in memory if it is None.

    Raises:
        InputError: see `segment`.
    """
    if len(members) == 1:
        return segment(
            *members[0],
            volume,
            axis=axis,
            largest_component=largest_component,
            probabilities=probabilities,
        )
    cuts = [CutVolume.of(volume, *member, axis) for member in members]
    labels = np.empty(volume.array.shape[:3], np.uint8, order="F")
    if all(cut.slicing == cuts[0].slicing for cut in cuts):
        _by_slices(cuts, labels, probabilities)
    else:
        if probabilities is None:
            shape = (*labels.shape, len(members[0].task.classes))
            probabilities = np.empty(shape, np.float32, order="F")
        _by_volume(cuts, labels, probabilities)
    if largest_component:
        keep_largest_components(labels)
    return labels


def _by_slices(
    cuts: Sequence[CutVolume], labels: np.ndarray, probabilities: np.ndarray | None
) -> None:
    """Fill in labels, and probabilities if there are any, of members that cut alike."""
    at_once = min(cut.segmenter.at_once for cut in cuts)
    view = cuts[0].slicing.view
    for found in zip(*(_shares(cut, at_once) for cut in cuts), strict=True):
        part, mean = found[0]
        for _, others in found[1:]:
            mean = mean + others
        mean = mean / len(cuts)
        view(labels)[part] = mean.max(dim=1).indices.byte().numpy()
        if probabilities is not None:
            view(probabilities)[part] = mean.permute(0, 2, 3, 1).numpy()


def _by_volume(cuts: Sequence[CutVolume], labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Fill in labels and probabilities of members that cut along different axes."""
    for number, cut in enumerate(cuts):
        total = cut.slicing.view(probabilities)
        for part, found in _shares(cut, None):
            share = found.permute(0, 2, 3, 1).numpy() / np.float32(len(cuts))
            total[part] = share if number == 0 else total[part] + share
    for position in range(labels.shape[2]):
        labels[:, :, position] = probabilities[:, :, position].argmax(axis=-1)


def _shares(cut: CutVolume, at_once: int | None) -> Iterator[tuple[slice, Tensor]]:
    """Yield which slices these are, and their probabilities (B, classes, H, W), in memory."""
    for part, logits in cut.logits(at_once):
        yield part, cut.probabilities(logits).cpu()
