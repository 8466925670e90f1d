"""What one model and several together do alike: label a scan, whatever form it has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffrect.inference.arrays import Source
from diffrect.inference.average import Member, segment_by_all


class Predictor(ABC):
    """Trained networks that label scans together; `Model` and `Ensemble` are ones."""

    @property
    @abstractmethod
    def members(self) -> tuple[Member, ...]:
        """The segmenters and their tasks, see `segment_by_all`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class codes; the first is the background."""
        return self.members[0].task.classes

    @property
    def channels(self) -> int:
        """Image channels."""
        return self.members[0].task.channels

    def predict(
        self,
        source: np.ndarray | Path | str,
        *,
        spacing: Sequence[float] | None = None,
        axis: str | None = None,
        largest_component: bool = False,
    ) -> np.ndarray:
        """Return the labels of a scan, uint8 on its own grid.

        Args:
            source: an image file, the folder of a DICOM series, or an array of raw intensities:
                (X, Y, Z), or a single slice (H, W); several channels come last.
            spacing: millimetres along the axes of an array; needed only by models that resample to
                a spacing, or choose by it the axis that they cut.
            axis: cut it in another way than the training's scans, see `choose_slicing`.
            largest_component: keep only the largest connected part of each class.

        Raises:
            InputError: something that cannot be read, or that the model was not trained for.
        """
        scan = Source.of(source, self.channels, spacing)
        labels = segment_by_all(
            self.members, scan.image, axis=axis, largest_component=largest_component
        )
        return scan.laid_out(labels)

    def predict_probabilities(
        self,
        source: np.ndarray | Path | str,
        *,
        spacing: Sequence[float] | None = None,
        axis: str | None = None,
    ) -> np.ndarray:
        """Return the probability of each class, float32 on the scan's own grid, classes last.

        They add up to 1 in every voxel, and `predict` takes the most probable class. Unlike labels
        they take 4 bytes per voxel and class; `diffrect.predict` writes those of larger scans to
        disk.

        Args:
            source: see `predict`.
            spacing: see `predict`.
            axis: see `predict`.

        Returns:
            (X, Y, Z, classes), or (H, W, classes) of a single slice.

        Raises:
            InputError: see `predict`.
        """
        scan = Source.of(source, self.channels, spacing)
        shape = (*scan.image.array.shape[:3], len(self.classes))
        shares = np.empty(shape, np.float32, order="F")
        segment_by_all(self.members, scan.image, axis=axis, probabilities=shares)
        return scan.laid_out(shares)
