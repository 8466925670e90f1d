"""What an evaluation found: the scores, and the facts without which they mean nothing."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diffrect.console import count, summary
from diffrect.data.split import Split
from diffrect.data.splits.blocks import Block, blocks_of
from diffrect.evaluation.metrics import METRICS, Scores


@dataclass(frozen=True)
class PackedLabels:
    """A label map in a hundredth of its memory."""

    shape: tuple[int, ...]
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, labels: npt.NDArray[np.uint8]) -> "PackedLabels":
        """Pack class codes, uint8 of any shape."""
        return cls(labels.shape, zlib.compress(np.ascontiguousarray(labels).tobytes(), 1))

    def unpack(self) -> npt.NDArray[np.uint8]:
        """Return the class codes."""
        return np.frombuffer(zlib.decompress(self.content), np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case.

    Attributes:
        id: the case.
        patient: its patient.
        ignored_voxels: voxels that nobody annotated, which count in no score.
        classes: per foreground class the value of each metric; NaN where it is undefined.
        voxels: per foreground class the number of voxels predicted and of those in the truth,
            without those that nobody annotated; empty in files of versions before 0.2.
    """

    id: str
    patient: str
    ignored_voxels: int
    classes: dict[str, Scores]
    voxels: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run on a split, as RUN/metrics_SPLIT.json holds them.

    Attributes:
        split: the split that was scored: `val`, `test` or `all`.
        checkpoint: the checkpoint that predicted, such as `best`.
        step: training iterations which that checkpoint has seen.
        empty: what a class counts that is missing from a case, see `case_metrics`.
        run: the RUN folder.
        store: the store whose cases were scored.
        diffrect: version of this package.
        format: version of the file's format.
        protocol: the training's configuration, the labelled patients by name and the number of
            unlabelled ones.
        missing_patients: patients of the split without a labelled case.
        mean: per metric the mean over the classes' means; NaN where it is undefined.
        classes: per foreground class and metric the mean over the cases; NaN where it is undefined.
        undefined: per class and metric the number of cases in which it is undefined.
        cases: the scores of each case.
        predictions: label map of each case on the store's grid, where they were asked for; never
            in the file.
    """

    split: str
    checkpoint: str
    step: int
    empty: str
    run: str
    store: str
    diffrect: str
    format: int
    protocol: Mapping[str, Any]
    missing_patients: Sequence[str]
    mean: Scores
    classes: dict[str, Scores]
    undefined: Mapping[str, Mapping[str, int]]
    cases: Sequence[CaseScores]
    predictions: Mapping[str, PackedLabels] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        """Return split, cases, checkpoint and mean Dice in one line."""
        cases, patients = count(len(self.cases), "case"), count(len(self.patients), "patient")
        dice = METRICS["dice"]
        scored = f"{dice.title} {dice.text(self.mean.get('dice', math.nan))} {dice.shown_unit}"
        chosen = f"checkpoint {self.checkpoint} (iteration {self.step})"
        return summary(self, f"split {self.split}, {cases} of {patients}, {scored}, {chosen}")

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients scored, each once."""
        return tuple(dict.fromkeys(case.patient for case in self.cases))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The slices scored, where they were left out of scans that train; else nothing."""
        texts = self.protocol.get("val_slices", ()) if self.split == "val" else ()
        return blocks_of(Split(train=(), val_slices=tuple(texts)))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of RUN/metrics_SPLIT.json: plain values, None where undefined."""
        content: dict[str, Any] = _without_nan(asdict(replace(self, predictions={})))
        del content["predictions"]
        return content


def _without_nan(value: Any) -> Any:
    """Return the same with None for every NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
