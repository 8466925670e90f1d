"""What a training shows at a validation: predictions beside the truth, and corrected pseudo-labels.

Predictions are those that the validation makes anyway, on whichever process. The rest is drawn on
the first process, which computes nothing that training remembers: no random draw, no statistics of
batch norm.
"""

from collections.abc import Mapping

import numpy as np
import torch
from lightning_fabric import Fabric

from diffrect.config import TrainConfig
from diffrect.console import warn
from diffrect.data.batch import Batch
from diffrect.data.record import SliceIndex
from diffrect.data.split import Split
from diffrect.data.splits.blocks import Block
from diffrect.data.store import Store
from diffrect.data.volumes import SliceImages
from diffrect.distributed.ranks import joined
from diffrect.imaging.resample import Interpolation, to_network
from diffrect.methods.base import Method
from diffrect.training.pictures.choose import choose_by_label, choose_middle
from diffrect.training.pictures.draw import (
    frame_around,
    grey,
    tile,
    with_changes,
    with_labels,
)

VALIDATION, PSEUDO_LABELS = "pictures/validation", "pictures/pseudo_labels"


class Album:
    """The slices that a training shows, and what was predicted of them.

    Args:
        store: the prepared data.
        split: the patients.
        config: how many slices, and how they become the network's input.
        interpolation: how slices are resized.
        fabric: device and precision.
        dtype: number type of the images.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        config: TrainConfig,
        interpolation: Interpolation,
        fabric: Fabric,
        dtype: torch.dtype,
    ) -> None:
        self.store, self.config, self.interpolation = store, config, interpolation
        self.fabric, self.dtype = fabric, dtype
        labelled, others = store.training_slices(split)
        self.validation = choose_by_label(store, store.validation_blocks(split), config.log_images)
        self.unlabelled = choose_middle(others, config.log_images)
        self.labelled = choose_middle(labelled, config.log_images)
        self.seen: dict[SliceIndex, np.ndarray] = {}
        self.batch: Batch | None = None
        self.drawing = True

    def look(self, block: Block, prediction: np.ndarray) -> None:
        """Keep what is shown of the prediction (Z, H, W) of a block that validates."""
        for index in self.validation:
            if index.case == block.case:
                self.seen[index] = prediction[index.position - block.start].copy()

    def pictures(self, method: Method, step: int) -> dict[str, np.ndarray]:
        """Return pictures (H, W, 3) uint8 by name; all processes call it, and only the first draws.

        If a picture cannot be drawn, that is said once, and there are none from there on.

        Args:
            method: the method, in whichever mode.
            step: iterations done.
        """
        self.seen = dict(joined().gather(list(self.seen.items())))
        drawn: dict[str, np.ndarray] = {}
        if self.drawing and self.fabric.is_global_zero:
            try:
                drawn = self._draw(method, step)
            except Exception as error:  # a picture is no reason to lose a training
                self.drawing = False
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                warn(f"pictures of iteration {step}: {reason}; there are none from here on")
        self.seen = {}
        return drawn

    def _draw(self, method: Method, step: int) -> dict[str, np.ndarray]:
        drawn = {}
        if self.seen:
            drawn[VALIDATION] = self._draw_validation()
        corrected = self._corrections(method, step)
        if corrected:
            drawn[PSEUDO_LABELS] = self._draw_corrections(corrected)
        return drawn

    def _draw_validation(self) -> np.ndarray:
        rows = []
        for index in self.validation:
            if index not in self.seen:
                continue
            image, truth = self.store.image(*index)[0], self.store.label(*index)
            spacing = self.store.cases[index.case].spacing or (1.0, 1.0, 1.0)
            frame = frame_around(truth > 0, truth.shape, spacing[1:])
            plain = grey(image, frame)
            panels = [
                with_labels(plain, truth, frame, filled=False),
                with_labels(plain, self.seen[index], frame, filled=True),
            ]
            rows.append((_name(index), panels))
        return tile(rows, ("truth", "prediction"), self.store.classes)

    def _draw_corrections(
        self, corrected: Mapping[SliceIndex, tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """Draw unlabelled slices as the network sees them."""
        rows = []
        for index, (before, after) in corrected.items():
            frame = frame_around(None, before.shape, self._pixel(index))
            plain = grey(self._inputs([index])[0, 0].float().numpy(), frame)
            panels = [
                plain,
                with_labels(plain, before, frame, filled=True),
                with_labels(plain, after, frame, filled=True),
                with_changes(plain, before, after, frame),
            ]
            rows.append((_name(index), panels))
        titles = ("unlabelled slice", "pseudo-label", "rectified", "changed to")
        return tile(rows, titles, self.store.classes)

    def _pixel(self, index: SliceIndex) -> tuple[float, float]:
        """Return the height and width of a pixel of the network's input, in some unit."""
        case = self.store.cases[index.case]
        if self.config.spacing is not None:
            return 1.0, 1.0
        _, high, wide = case.spacing or (1.0, 1.0, 1.0)
        return case.shape[0] * high, case.shape[1] * wide  # resized to a square

    def _corrections(
        self, method: Method, step: int
    ) -> dict[SliceIndex, tuple[np.ndarray, np.ndarray]]:
        """Return the unlabelled slices' class maps before and after the method corrects them."""
        if not self.unlabelled or type(method).corrections is Method.corrections:
            return {}
        self.batch = self.batch or self._plain_batch()
        with self.fabric.autocast():
            found = method.corrections(self.batch, step)
        if found is None:
            return {}
        before, after = (maps.to(torch.uint8).cpu().numpy() for maps in found)
        return dict(zip(self.unlabelled, zip(before, after, strict=True), strict=True))

    def _plain_batch(self) -> Batch:
        """Return the labelled and the unlabelled slices without any change."""
        slices = [*self.labelled, *self.unlabelled]
        images = self._inputs(slices).to(self.fabric.device, self.dtype)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = [self._label(index) for index in self.labelled]
        return Batch(
            images,
            images,
            torch.stack(labels).to(self.fabric.device),
            slices=tuple(slices),
            geometry=torch.eye(2).repeat(len(slices), 1, 1),
        )

    def _inputs(self, slices: list[SliceIndex]) -> torch.Tensor:
        """Return slices as the network sees them, (B, C, size, size) float16 on the CPU."""
        images = SliceImages(self.store, slices, self.config, self.interpolation)
        return images[torch.arange(len(slices))]

    def _label(self, index: SliceIndex) -> torch.Tensor:
        codes = torch.from_numpy(self.store.label(*index).astype(np.float32))[None, None]
        zoom = self.store.zoom(index.case, self.config.spacing)
        return to_network(codes, self.config.side, "nearest", zoom)[0, 0].long()


def _name(index: SliceIndex) -> str:
    return f"{index.case}, slice {index.position + 1}"
