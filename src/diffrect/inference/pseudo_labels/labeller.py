"""The pseudo-labels of a volume: the teacher's, and the same corrected as a training corrects them.

Training labels its volumes at the size of the network (`methods/diffrect/volume_labels.py`, and
`VolumeTransports.correct_all` beside it). Here the same probabilities are brought onto the slices'
own grid before they become labels, and there the smaller parts are removed. The noise from which
the rectifier samples is the same for every volume and at every time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrect.console import summary
from diffrect.data.splits.chosen import part_of
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.resample import labels_from_logits, probabilities_from_logits
from diffrect.imaging.slicing import Zoom
from diffrect.inference.load import LoadedMethod, segmenter_of
from diffrect.inference.measures import entropy
from diffrect.inference.rectifying.label_context import LabelContext
from diffrect.inference.rectifying.label_rectifier import LabelRectifier
from diffrect.inference.rectifying.learnt import has_rectifier
from diffrect.inference.segmenter import Segmenter, Slices
from diffrect.networks.calibration import calibration_guidance
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.networks.rectifier import Rectifier
from diffrect.runs.folder import read_split


@dataclass(frozen=True)
class PseudoLabel:
    """The labels of a volume by the network that predicts, and how they were corrected.

    Attributes:
        labels: uint8 (Z, H, W), the pseudo-label.
        rectified: uint8 (Z, H, W), the corrected one; None if nothing corrects it.
        entropy: float32 (Z, H, W) of the pseudo-label's probabilities, from 0 (one class is sure)
            to 1, see `measures.entropy`.
    """

    labels: np.ndarray
    rectified: np.ndarray | None
    entropy: np.ndarray

    def __repr__(self) -> str:
        """Return shape and mean entropy in one line."""
        size = " x ".join(map(str, self.labels.shape))
        corrected = "not corrected" if self.rectified is None else "with its correction"
        return summary(self, f"{size} pixels, entropy {self.entropy.mean():.3f}, {corrected}")


class PseudoLabeller:
    """What labels and corrects volumes in a training.

    Attributes:
        segmenter: the network that predicts, which is the teacher if there is one.
        has_teacher: whether it is a teacher, a moving average of what learns.
        rectifier: what corrects; None if the method has nothing.
        guidance: the calibration guidance (1,) at which labels are corrected.
    """

    def __init__(self, loaded: LoadedMethod, run: Path, device: torch.device, store: Store) -> None:
        """Take a training.

        Args:
            loaded: the training.
            run: its folder.
            device: where networks run.
            store: holds the volumes of its labelled patients, by which corrections are adjusted.

        Raises:
            InputError: the rectifier is one of single slices, and `store` has no labelled patient,
                whose labels say how far the teacher is off.
        """
        self.classes = len(loaded.task.classes)
        method = loaded.method
        self.has_teacher = getattr(method, "teacher", None) is method.predictor
        self.rectifier: LabelRectifier | None = None
        if not has_rectifier(method):
            self.segmenter: Segmenter = segmenter_of(loaded, device)
            return
        split = read_split(run)
        known = [case.id for case in store.cases.values() if part_of(case, split) == "labelled"]
        self.rectifier = LabelRectifier(loaded, run, device, store if known else None)
        self.segmenter = self.rectifier.segmenter
        if not isinstance(self.rectifier.network, Rectifier):
            self.guidance = torch.tensor([self.rectifier.options.correcting_guidance])
        elif known:
            self.guidance = self._usual_guidance(store, known)
        else:
            raise InputError(store.path, f"a labelled patient of {run}", found="none")

    def remarks(self, run: Path, method: str) -> list[str]:
        """Return what is missing in this training, a line each.

        Args:
            run: its folder.
            method: name of its method.
        """
        lines = []
        if not self.has_teacher:
            lines.append(f"method {method} has no teacher: pseudo-labels are the model's own")
        if self.rectifier is None:
            lines.append(f"method {method} has no rectifier: there are no rectified labels")
        elif self.rectifier.lacks_labels:
            reason = "no labels of the training say which classes are one part"
            lines.append(f"{reason}: smaller parts are kept")
        return [f"{run}: {line}" for line in lines]

    @torch.inference_mode()
    def label(self, images: Slices, shape: tuple[int, int], zoom: Zoom) -> PseudoLabel:
        """Return the pseudo-labels of a volume.

        Args:
            images: (Z, C, H, W), intensities as the model was trained on.
            shape: (H, W).
            zoom: how slices become the network's input, see `Segmenter.zoom`.
        """
        given, labels, uncertain = [], [], []
        interpolation = self.segmenter.interpolation
        for _, logits in self.segmenter.logits(images, zoom):
            given.append(logits.argmax(dim=1).byte().cpu())
            labels.append(labels_from_logits(logits, shape, interpolation, zoom).cpu().numpy())
            shares = probabilities_from_logits(logits, shape, interpolation, zoom)
            uncertain.append(entropy(shares.permute(0, 2, 3, 1).cpu().numpy()))
        own = np.concatenate(labels)
        rectified = None
        if self.rectifier is not None:
            corrected = [
                labels_from_logits(logits, shape, interpolation, zoom).cpu()
                for logits in self._corrected(self.rectifier, images, torch.cat(given), zoom)
            ]
            whole = torch.cat(corrected) if corrected else torch.from_numpy(own)
            rectified = self.rectifier.parts.reduce(whole).numpy()
        return PseudoLabel(own, rectified, np.concatenate(uncertain))

    @torch.inference_mode()
    def opinions(self, images: Slices, zoom: Zoom) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield what the network and the rectifier each hold to be probable; parts are not removed.

        Args:
            images: (Z, C, H, W), intensities as the model was trained on.
            zoom: how slices become the network's input, see `Segmenter.zoom`.

        Yields:
            Which slices these are, and both probabilities, float32 (B, classes, s, s); nothing if
            no network corrects.
        """
        if self.rectifier is None:
            return
        given = [
            logits.argmax(dim=1).byte().cpu() for _, logits in self.segmenter.logits(images, zoom)
        ]
        corrected = self._corrected(self.rectifier, images, torch.cat(given), zoom)
        for (part, logits), after in zip(
            self.segmenter.logits(images, zoom), corrected, strict=False
        ):
            yield part, logits.float().softmax(dim=1), after.float().softmax(dim=1)

    def _corrected(
        self, rectifier: LabelRectifier, images: Slices, given: Tensor, zoom: Zoom
    ) -> Iterator[Tensor]:
        """Yield logits (B, classes, s, s) of corrected labels; none if nothing but parts is.

        Args:
            rectifier: what corrects.
            images: (Z, C, H, W).
            given: class maps (Z, s, s) by the network that predicts.
            zoom: see `Segmenter.zoom`.
        """
        network, options = rectifier.network, rectifier.options
        if network is None:
            return
        reach = options.neighbours
        context = LabelContext(
            self.segmenter, images, given, zoom, classes=self.classes, reach=reach, off=0.0
        )
        for part, logits in self.segmenter.logits(images, zoom):
            if isinstance(network, LatentRectifier):
                seen, coarse = context.around(part)
                coarse[:, 0] = logits.float().softmax(dim=1)
                noise, guidance = context.noise(network, seen), self.guidance.to(seen)
                weight, decoded = options.correction_weight, options.decoded_share
                yield network.rectify(seen, coarse, guidance, noise, weight, decoded)
            else:
                seen = context.images(part)
                noise, guidance = context.noise(network, seen), self.guidance.to(seen)
                yield network.rectify(seen, given[part].long().to(seen.device), guidance, noise)

    @torch.inference_mode()
    def _usual_guidance(self, store: Store, known: list[str]) -> Tensor:
        """Return how far labels are off, (1,): the mean of the labelled slices, as in a training.

        Args:
            store: holds the labels.
            known: its labelled cases of the training.
        """
        assert self.rectifier is not None
        if self.rectifier.options.guidance == "none":
            return torch.zeros(1)
        found = []
        for case in known:
            zoom = self.segmenter.zoom(store.cases[case].spacing, f"{store.path}: case {case}")
            logits = self.segmenter.logits(store.image(case), zoom)
            own = torch.cat([one.argmax(dim=1).cpu() for _, one in logits])
            truth = self.rectifier.as_seen(store.label(case), zoom).long()
            truth = torch.where(truth == IGNORED, own, truth)
            found.append(calibration_guidance(own, truth, self.classes, per_row=True))
        return torch.cat(found).mean()[None]
