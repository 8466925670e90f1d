"""The rectifier of a trained DiffRect, applied to any label map of a scan.

A label that is given may be better than the model that is to correct it. So a voxel changes only
where the rectifier moves it to another class, the teacher sees the same class there, and both are
sure; and the less the label differs from the teacher's, the surer they have to be (`guidance`).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diffrect.data.store import Store
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.resample import probabilities_from_logits, to_network
from diffrect.imaging.slicing import Zoom
from diffrect.inference.load import LoadedMethod, load_method, segmenter_of
from diffrect.inference.rectifying.label_context import LabelContext, difference, one_hot
from diffrect.inference.rectifying.learnt import parts_of, with_rectifier
from diffrect.inference.segmenter import Slices
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.networks.rectifier import Rectifier
from diffrect.runs.log import last_value
from diffrect.runs.names import LOG_FILE, Checkpoint

Guidance = float | Literal["auto"]

LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Rule:
    """How much is believed of a label, and what changes it; docs/reports/rectify-labels.md.

    Attributes:
        sure: least probability of a new class, by rectifier and teacher, at guidance 0; at 1 it is
            none.
        blend: how much of a label's probabilities are the teacher's, at guidance 0 and at 1.
        slack: from where on, beyond the teacher's usual error, a difference counts. Right labels
            differed by up to 0.3 more than usual where the teacher is bad.
        rise: over how much of a difference the guidance rises from 0 to 1.
        weight: of the difference of two decodings, in which the decoder's error cancels.
        decoded: share of the label that is decoded from the sampled latent, from 0 to 1.
    """

    sure: float = 0.9
    blend: tuple[float, float] = (0.2, 0.5)
    slack: float = 0.35
    rise: float = 0.2
    weight: float = 1.0
    decoded: float = 0.0


@dataclass(frozen=True)
class Proposal:
    """What would change in the slices of a label, and what does.

    Attributes:
        labels: uint8 (Z, H, W), the corrected label.
        confidence: float32 (Z, H, W), the probability of the class that was proposed in place of
            the label's; 0 where none was.
        guidance: how far the label was taken to be off, from 0 to 1.
        difference: 1 - Dice of label and teacher, the mean over the classes that either has.
    """

    labels: np.ndarray
    confidence: np.ndarray
    guidance: float
    difference: float


class LabelRectifier:
    """The rectifier of a training, with the teacher that is asked beside it.

    Attributes:
        segmenter: the teacher.
        network: the rectifier; None if it only removes parts.
        parts: the classes of which smaller parts are removed.
        usual: the teacher's own error by validation, 1 - Dice; NaN if nobody validated.
        rule: what changes a label.
    """

    rule = Rule()

    def __init__(
        self, loaded: LoadedMethod, run: Path, device: torch.device, store: Store | None = None
    ) -> None:
        """Take the rectifier of a training.

        Args:
            loaded: the training.
            run: its folder, whose log says how good the teacher is; the labels of its store say
                which classes are one part.
            device: where networks run.
            store: the store, if it is not where the folder says.

        Raises:
            InputError: its method has no rectifier.
        """
        self.method = with_rectifier(loaded, run).to(device).eval()
        self.options, self.config, self.task = self.method.options, loaded.config, loaded.task
        self.classes = len(loaded.task.classes)
        best = last_value(run / LOG_FILE, "best_dice")
        self.usual = math.nan if best is None else 1 - best
        self.segmenter = segmenter_of(loaded, device)
        self.parts = parts_of(self.method, loaded, run, store)
        began = loaded.step >= self.options.diffusion_from * self.config.iterations
        learnt = self.options.learns_rectifier and (began or not self.options.of_volumes)
        self.network = self.method.rectifier if learnt else None

    @classmethod
    def load(cls, run: Path, checkpoint: Checkpoint, device: torch.device) -> "LabelRectifier":
        """Return the rectifier of a RUN folder.

        Raises:
            InputError: there is no such checkpoint, or its method has no rectifier.
        """
        return cls(load_method(run, checkpoint), run, device)

    @torch.inference_mode()
    def rectify(
        self, images: Slices, labels: np.ndarray, zoom: Zoom, guidance: Guidance = "auto"
    ) -> Proposal:
        """Return the corrected label of a volume.

        Args:
            images: (Z, C, H, W), intensities as the model was trained on.
            labels: uint8 (Z, H, W), class codes, and `IGNORED`, which stays.
            zoom: how slices become the network's input, see `Segmenter.zoom`.
            guidance: how far the label is off, from 0 (hardly) to 1 (widely); auto measures it.
        """
        logits = self.segmenter.logits(images, zoom)
        teacher = torch.cat([found.argmax(dim=1).byte().cpu() for _, found in logits])
        given = self.as_seen(labels, zoom)
        given = torch.where(given == IGNORED, teacher, given)
        off = difference(given, teacher, self.classes)
        strength = self.guidance_of(off) if guidance == "auto" else float(guidance)
        context = LabelContext(
            self.segmenter,
            images,
            given,
            zoom,
            classes=self.classes,
            reach=self.options.neighbours,
            off=off,
        )
        removed = self.parts.reduce(given) != given
        corrected = np.array(labels, np.uint8)
        confidence = np.zeros(labels.shape, np.float32)
        seen = self._seen(labels.shape[1:], zoom)
        for part, found in self.segmenter.logits(images, zoom):
            shares = found.float().softmax(dim=1)
            before = one_hot(given[part], self.classes).to(shares)
            moved = self._moved(context, part, shares, before, strength)
            gone = before * (1 - shares[:, :1])  # where a part is removed
            gone[:, 0] += shares[:, 0]
            moved = torch.where(removed[part, None].to(gone.device), gone, moved)
            after, told, given_here = (
                self._on_grid(x, labels.shape[1:], zoom) for x in (moved, shares, before)
            )
            new, sure = _proposed(after, told, given_here, labels[part], seen)
            taken = (sure > 0) & (sure >= self.rule.sure * (1 - strength))
            corrected[part] = np.where(taken, new, corrected[part])
            confidence[part] = sure
        return Proposal(corrected, confidence, strength, off)

    @property
    def lacks_labels(self) -> bool:
        """Whether labels of the training, which are not there, would say which parts stay."""
        wanted = (self.options.largest_part, self.options.joined_foreground)
        asks = self.options.of_volumes and "auto" in wanted
        return asks and not self.parts.shares and self.parts.joined_share is None

    def guidance_of(self, off: float) -> float:
        """Return how far a label is taken to be off, by its difference from the teacher's.

        A right label differs from it, too, by the teacher's own error; without validation that is
        not known, and every label is taken to be right.
        """
        beyond = off - self.usual - self.rule.slack
        return min(1.0, max(0.0, beyond / self.rule.rise)) if math.isfinite(beyond) else 0.0

    def _moved(
        self, context: LabelContext, part: slice, shares: Tensor, before: Tensor, strength: float
    ) -> Tensor:
        """Return the probabilities (B, classes, s, s) to which the rectifier moves slices."""
        network, options, rule = self.network, self.options, self.rule
        if isinstance(network, LatentRectifier):
            images, coarse = context.around(part)
            blend = rule.blend[0] + (rule.blend[1] - rule.blend[0]) * strength
            own = (1 - blend) * before + blend * shares
            maps = network.encode_images(images)
            conditions = network.encode(network.colouring.mix(coarse))
            given = torch.tensor([options.correcting_guidance]).to(images)
            latent = network.sample(maps, conditions, given, context.noise(network, images))
            own = own.to(images)
            logits = network.correct(
                own, latent, conditions[0], maps, rule.weight, decoded=rule.decoded
            )
            return logits.float().softmax(dim=1)
        if isinstance(network, Rectifier):
            images = context.images(part)
            given = torch.tensor([context.off]).to(images)
            noise = context.noise(network, images)
            codes = before.argmax(dim=1)
            return network.rectify(images, codes, given, noise).float().softmax(dim=1)
        return before

    def as_seen(self, labels: np.ndarray, zoom: Zoom) -> Tensor:
        """Return class maps (Z, s, s) uint8 as the network sees slices."""
        parts = []
        for codes in labels:
            maps = torch.from_numpy(codes.astype(np.float32))[None, None]
            parts.append(to_network(maps, self.segmenter.size, "nearest", zoom)[:, 0].byte())
        return torch.cat(parts)

    def _on_grid(self, shares: Tensor, shape: tuple[int, int], zoom: Zoom) -> Tensor:
        """Return probabilities (B, classes, s, s) on the slices' own grid."""
        logits = shares.clamp(min=LEAST_SHARE).log()
        interpolation = self.segmenter.interpolation
        return probabilities_from_logits(logits, shape, interpolation, zoom).cpu()

    def _seen(self, shape: tuple[int, int], zoom: Zoom) -> np.ndarray:
        """Return which pixels of a slice (H, W) the network sees."""
        logits = torch.zeros(1, 2, self.segmenter.size, self.segmenter.size)
        logits[:, 1] = 9.0
        shares = probabilities_from_logits(logits, shape, self.segmenter.interpolation, zoom)
        return (shares[0, 1] > 0.5).numpy()


def _proposed(
    moved: Tensor, shares: Tensor, before: Tensor, labels: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes proposed for slices, and how sure that is; 0 where none is.

    What only the way to the network's size and back has changed is no proposal.

    Args:
        moved: the rectifier's probabilities (B, classes, H, W).
        shares: the teacher's.
        before: the label's.
        labels: uint8 (B, H, W), the label itself.
        seen: which pixels (H, W) the network sees.
    """
    sure, new = moved.max(dim=1)
    told, agreed = shares.max(dim=1)
    differs = (new != before.argmax(dim=1)) & (new == agreed)
    codes = new.numpy().astype(np.uint8)
    open_ = differs.numpy() & seen & (codes != labels) & (labels != IGNORED)
    return codes, np.where(open_, torch.minimum(sure, told).numpy(), 0).astype(np.float32)
