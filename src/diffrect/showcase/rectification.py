"""The pseudo-labels of a trained DiffRect before and after its rectifier corrects them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.config import TrainConfig
from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.imaging.resample import resize
from diffrect.inference.model import load_method
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.registry import resolve
from diffrect.networks.calibration import calibration_guidance

NOISE_SEED = 0


@dataclass(frozen=True)
class RectifiedSlice:
    """The pseudo-label of an unlabelled slice, as the rectifier gets it and as it gives it back.

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

    This is what training does, without views and dropout: calibration guidance says how far
    pseudo-labels of labelled slices are off on average, and unlabelled ones are taken to be as bad.

    Args:
        run: the run of a DiffRect.
        store: the store it was trained on.
        split: its patients.
    """
    with torch.random.fork_rng(devices=[]):  # leaves no trace in the caller's random draws
        method, _, config, _ = load_method(run)
        assert isinstance(method, DiffRect)
        method.eval()
        torch.manual_seed(NOISE_SEED)
        labelled, unlabelled = (
            [case for case in store.cases.values() if case.patient in patients]
            for patients in (split.labelled, split.unlabelled)
        )
        rows = [guidance_rows(method, config, store, case) for case in labelled]
        guidance = torch.cat(rows).mean(dim=0, keepdim=True)
        return [
            rectified
            for case in unlabelled
            for rectified in rectify_case(method, config, store, case, guidance)
        ]


@torch.inference_mode()
def guidance_rows(method: DiffRect, config: TrainConfig, store: Store, case: CaseRecord) -> Tensor:
    """Return calibration guidance from pseudo-label to truth for every slice of a case, (Z,).

    Args:
        method: the trained method, in eval mode.
        config: what it was trained with.
        store: the store that holds the case.
        case: a labelled case.
    """
    images = network_input(config, store, case)
    truth = torch.from_numpy(store.label(case.id))[:, None]
    truth = resize(truth, (config.size, config.size), "nearest")[:, 0]
    pseudo = method.predictor(images).argmax(dim=1)
    return calibration_guidance(pseudo, truth.long(), len(store.classes), per_row=True)


@torch.inference_mode()
def rectify_case(
    method: DiffRect, config: TrainConfig, store: Store, case: CaseRecord, guidance: Tensor
) -> list[RectifiedSlice]:
    """Return every slice of a case with its pseudo-label before and after rectification.

    Args:
        method: the trained method, in eval mode.
        config: what it was trained with.
        store: the store that holds the case.
        case: the case.
        guidance: calibration guidance, (1,).
    """
    images = network_input(config, store, case)
    before = method.predictor(images).argmax(dim=1)
    noise = torch.randn(method.rectifier.latent_shape(images))
    after = method.rectifier.rectify(images, before, guidance, noise).argmax(dim=1)
    changed = (before != after).flatten(1).sum(dim=1).tolist()
    shown = [to_grid(labels, case.shape, len(store.classes)) for labels in (before, after)]
    return [
        RectifiedSlice(case, index, changed[index], *labels)
        for index, labels in enumerate(zip(*shown, store.label(case.id), strict=True))
    ]


def network_input(config: TrainConfig, store: Store, case: CaseRecord) -> Tensor:
    """Return the slices of a case at the size of the training, (Z, C, size, size)."""
    interpolation = resolve(config).view_options.interpolation
    slices = torch.from_numpy(store.image(case.id))
    return resize(slices, (config.size, config.size), interpolation)


def to_grid(labels: Tensor, shape: tuple[int, int], classes: int) -> np.ndarray:
    """Return class maps (B, h, w) as uint8 (B, *shape); class borders are interpolated linearly."""
    shares = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()  # (B, classes, h, w)
    return resize(shares, shape, "linear").argmax(dim=1).to(torch.uint8).numpy()
