"""The pseudo-labels of a trained DiffRect before and after its rectifier corrects them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.config import TrainConfig
from diffrect.data.record import CaseRecord, SliceIndex
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.volumes import training_volumes
from diffrect.imaging.resample import resize
from diffrect.inference.load import load_method
from diffrect.inference.segmenter import Segmenter
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.volume_transports import VolumeTransports
from diffrect.methods.registry import resolve
from diffrect.networks.calibration import calibration_guidance

NOISE_SEED = 0


@dataclass(frozen=True)
class RectifiedSlice:
    """An unlabelled slice with its pseudo-label before and after rectification.

    Attributes:
        case: the slice's case.
        index: number of the slice in it.
        changed: number of pixels that went to another class, at the size of the training.
        before: class map (H, W) on the slice's own grid.
        after: the same, rectified.
        truth: the true class map, which training never sees.
    """

    case: CaseRecord
    index: int
    changed: int
    before: np.ndarray
    after: np.ndarray
    truth: np.ndarray


def rectify_unlabelled(run: Path, store: Store, split: Split) -> list[RectifiedSlice]:
    """Return every unlabelled slice with its pseudo-label before and after rectification.

    This is what training does, without views and dropout.

    Args:
        run: the run of a DiffRect.
        store: the store it was trained on.
        split: its patients.
    """
    with torch.random.fork_rng(devices=[]):  # leaves no trace in the caller's random draws
        method, _, config, *_ = load_method(run)
        assert isinstance(method, DiffRect)
        method.eval()
        torch.manual_seed(NOISE_SEED)
        if isinstance(method.transports, VolumeTransports):
            return list(rectify_volumes(method, method.transports, store, split, config))
        return rectify_slices(method, store, split, config)


def rectify_volumes(
    method: DiffRect,
    transports: VolumeTransports,
    store: Store,
    split: Split,
    config: TrainConfig,
) -> Iterator[RectifiedSlice]:
    """Yield every unlabelled slice, rectified with its volume.

    Args:
        method: the trained method, in eval mode.
        transports: its transports.
        store: the store it was trained on.
        split: its patients.
        config: settings of the training.
    """
    interpolation = resolve(config).view_options.interpolation
    volumes = training_volumes(store, split, config, interpolation)
    method.attach(volumes)
    with torch.inference_mode():
        before, after = transports.relabel()
    classes = len(store.classes)
    for case in store.cases.values():
        if case.patient not in split.unlabelled:
            continue
        indices = (SliceIndex(case.id, index) for index in range(case.slices))
        rows = torch.tensor([volumes.rows[index] for index in indices])
        maps = [labels[rows].long() for labels in (before, after)]
        changed = (maps[0] != maps[1]).flatten(1).sum(dim=1).tolist()
        shown = [to_grid(labels, case.shape, classes) for labels in maps]
        for index, labels in enumerate(zip(*shown, store.label(case.id), strict=True)):
            yield RectifiedSlice(case, index, changed[index], *labels)


def rectify_slices(
    method: DiffRect, store: Store, split: Split, config: TrainConfig
) -> list[RectifiedSlice]:
    """Return every unlabelled slice, rectified by itself.

    Calibration guidance says how far pseudo-labels of labelled slices are off on average, and
    unlabelled ones are taken to be as bad.

    Args:
        method: the trained method, in eval mode.
        store: the store it was trained on.
        split: its patients.
        config: settings of the training.
    """
    interpolation = resolve(config).view_options.interpolation
    segmenter = Segmenter(method.predictor, config.size, interpolation, None, torch.device("cpu"))
    labelled, unlabelled = (
        [case for case in store.cases.values() if case.patient in patients]
        for patients in (split.labelled, split.unlabelled)
    )
    rows = [guidance_rows(segmenter, store, case) for case in labelled]
    guidance = torch.cat(rows).mean(dim=0, keepdim=True)
    return [
        rectified
        for case in unlabelled
        for rectified in rectify_case(method, segmenter, store, case, guidance)
    ]


@torch.inference_mode()
def guidance_rows(segmenter: Segmenter, store: Store, case: CaseRecord) -> Tensor:
    """Return the calibration guidance from pseudo-label to truth of a labelled case, (Z,)."""
    truth = torch.from_numpy(store.label(case.id))[:, None]
    truth = resize(truth, (segmenter.size, segmenter.size), "nearest")[:, 0]
    pseudo = pseudo_labels(segmenter, store.image(case.id))
    return calibration_guidance(pseudo, truth.long(), len(store.classes), per_row=True)


@torch.inference_mode()
def rectify_case(
    method: DiffRect, segmenter: Segmenter, store: Store, case: CaseRecord, guidance: Tensor
) -> list[RectifiedSlice]:
    """Return every slice of a case with its pseudo-label before and after rectification.

    Args:
        method: the trained method, in eval mode.
        segmenter: its predictor.
        store: the store that holds the case.
        case: the case.
        guidance: calibration guidance, (1,).
    """
    slices = store.image(case.id)
    before = pseudo_labels(segmenter, slices)
    images = segmenter.inputs(slices)
    noise = torch.randn(method.rectifier.latent_shape(images))
    after = method.rectifier.rectify(images, before, guidance, noise).argmax(dim=1)
    changed = (before != after).flatten(1).sum(dim=1).tolist()
    shown = [to_grid(labels, case.shape, len(store.classes)) for labels in (before, after)]
    return [
        RectifiedSlice(case, index, changed[index], *labels)
        for index, labels in enumerate(zip(*shown, store.label(case.id), strict=True))
    ]


def pseudo_labels(segmenter: Segmenter, slices: np.ndarray) -> Tensor:
    """Return the class maps of slices (Z, C, H, W) at the size of the training, (Z, size, size)."""
    return torch.cat([logits.argmax(dim=1) for _, logits in segmenter.logits(slices)])


def to_grid(labels: Tensor, shape: tuple[int, int], classes: int) -> np.ndarray:
    """Return class maps (B, h, w) as uint8 (B, *shape); class borders are interpolated linearly."""
    shares = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()  # (B, classes, h, w)
    return resize(shares, shape, "linear").argmax(dim=1).to(torch.uint8).numpy()
