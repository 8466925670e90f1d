"""The slices that the demo's picture shows, chosen by rules that do not favour a method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.evaluation.metrics import Scores, case_dice
from diffrect.evaluation.result import Evaluation
from diffrect.imaging.resample import resize
from diffrect.inference.load import load_method
from diffrect.inference.model import Model
from diffrect.inference.segmenter import Segmenter
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.registry import resolve
from diffrect.networks.calibration import calibration_guidance
from diffrect.showcase.pictures import Panel, Row

NAMES = {"supervised": "supervised", "diffrect": "DiffRect"}
PHASES = {"frame01": "end-diastole", "frame02": "end-systole"}
NOISE_SEED = 0


def median_case(supervised: Evaluation, diffrect: Evaluation) -> str:
    """The test case with the median gain in mean Dice from one evaluation to the other."""
    gains = {
        after.id: mean_dice(after.classes) - mean_dice(before.classes)
        for before, after in zip(supervised.cases, diffrect.cases, strict=True)
    }
    return sorted(gains, key=lambda case: (gains[case], case))[len(gains) // 2]


def mean_dice(classes: Mapping[str, Scores]) -> float:
    """Return the mean over the classes of a case's Dice; undefined ones are left out."""
    values = [scores["dice"] for scores in classes.values()]
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else 0.0


def rows_of_case(store: Store, case: CaseRecord, runs: Mapping[str, Path]) -> list[Row]:
    """A mid-ventricular and an apical slice of a case: image, truth, every run's prediction."""
    images, truth = store.image(case.id), store.label(case.id)
    predictions = {
        NAMES[name]: Model.load(run).predict_slices(images) for name, run in runs.items()
    }
    complete = complete_slices(truth, len(store.classes))
    # the middle of the heart, and of its last third
    chosen = {
        "mid-ventricular": complete[len(complete) // 2],
        "apical": complete[5 * len(complete) // 6],
    }
    return [
        Row(
            f"test {case.patient}, {phase_of(case)}\n{level} slice",
            images[index, 0],
            truth[index],
            pixel_size(case),
            [
                Panel("image"),
                Panel("truth", truth[index]),
                *(Panel(name, p[index], scored=True) for name, p in predictions.items()),
            ],
        )
        for level, index in chosen.items()
    ]


def complete_slices(truth: np.ndarray, classes: int) -> list[int]:
    """The slices of (Z, H, W) that hold every class, base first; all slices if none does."""
    found = [z for z, labels in enumerate(truth) if len(np.unique(labels)) == classes]
    return found or list(range(len(truth)))


@dataclass(frozen=True)
class Rectified:
    """An unlabelled slice's pseudo-label, as the rectifier gets it and as it gives it back."""

    case: CaseRecord
    index: int
    changed: int
    """Pixels that went to another class, at the size of the training."""
    before: np.ndarray
    """(H, W) on the slice's own grid."""
    after: np.ndarray
    """The same, rectified."""
    truth: np.ndarray
    """The same, true; training never sees it."""


@dataclass(frozen=True)
class Rectification:
    """The row of the picture about rectified pseudo-labels, and what it stands for."""

    row: Row
    slices: int
    """Unlabelled slices that show the heart."""
    before: float
    """Mean Dice of their pseudo-labels, in [0, 1]."""
    after: float
    """The same, rectified."""


def rectification(run: Path, store: Store, split: Split) -> Rectification:
    """Rectifies the pseudo-labels of the unlabelled patients and shows the one that changed most.

    It is chosen among the slices that hold every class.
    """
    rectified = rectify_unlabelled(run, store, split)
    complete = [r for r in rectified if len(np.unique(r.truth)) == len(store.classes)]
    shown = max(complete or rectified, key=lambda r: r.changed)
    row = Row(
        f"unlabelled {shown.case.patient}\n{phase_of(shown.case)}, "
        f"slice {shown.index + 1} of {shown.case.slices}",
        store.image(shown.case.id, shown.index)[0],
        shown.truth,
        pixel_size(shown.case),
        [
            Panel("image"),
            Panel("truth, hidden in training", shown.truth),
            Panel("pseudo-label", shown.before, scored=True),
            Panel("rectified pseudo-label", shown.after, scored=True),
        ],
    )
    heart = [r for r in rectified if r.truth.any()]
    before, after = (
        float(np.mean([slice_dice(getattr(r, name), r.truth, store.classes) for r in heart]))
        for name in ("before", "after")
    )
    return Rectification(row, len(heart), before, after)


def rectify_unlabelled(run: Path, store: Store, split: Split) -> list[Rectified]:
    """Every unlabelled slice with its pseudo-label before and after rectification.

    As in training, but for views and dropout: calibration guidance says how far pseudo-labels of
    labelled slices are off, on average, and unlabelled ones are taken to be as bad.
    """
    with torch.random.fork_rng(devices=[]):  # leaves no trace in the caller's random draws
        method, _, config, _ = load_method(run)
        assert isinstance(method, DiffRect)
        method.eval()
        interpolation = resolve(config).view_options.interpolation
        segmenter = Segmenter(
            method.predictor, config.size, interpolation, None, torch.device("cpu")
        )
        torch.manual_seed(NOISE_SEED)
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
) -> list[Rectified]:
    """Every slice of a case with its pseudo-label before and after rectification."""
    slices = store.image(case.id)
    before = pseudo_labels(segmenter, slices)
    images = segmenter.inputs(slices)
    noise = torch.randn(method.rectifier.latent_shape(images))
    after = method.rectifier.rectify(images, before, guidance, noise).argmax(dim=1)
    changed = (before != after).flatten(1).sum(dim=1).tolist()
    shown = [to_grid(labels, case.shape, len(store.classes)) for labels in (before, after)]
    return [
        Rectified(case, index, changed[index], *labels)
        for index, labels in enumerate(zip(*shown, store.label(case.id), strict=True))
    ]


def pseudo_labels(segmenter: Segmenter, slices: np.ndarray) -> Tensor:
    """Return the class maps of slices (Z, C, H, W) at the size of the training, (Z, size, size)."""
    return torch.cat([logits.argmax(dim=1) for _, logits in segmenter.logits(slices)])


def to_grid(labels: Tensor, shape: tuple[int, int], classes: int) -> np.ndarray:
    """Class maps (B, h, w) -> uint8 (B, *shape), class borders interpolated linearly."""
    shares = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()  # (B, classes, h, w)
    return resize(shares, shape, "linear").argmax(dim=1).to(torch.uint8).numpy()


def slice_dice(labels: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> float:
    """Mean Dice of a slice over the classes that are in one of the two, at least one."""
    return float(np.nanmean(list(case_dice(labels, truth, classes).values())))


def phase_of(case: CaseRecord) -> str:
    """What the frame is called; synthetic cases are named as ACDC's."""
    return PHASES[case.id.rpartition("_")[2]]


def pixel_size(case: CaseRecord) -> tuple[float, float]:
    """Millimetres along H and W."""
    assert case.spacing is not None
    return case.spacing[1], case.spacing[2]
