"""The table of pseudo-labels: volumes of the classes, uncertainty, and what was corrected."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffrect.atomic import remove_unfinished, write_atomic
from diffrect.console import summary
from diffrect.data.record import CaseRecord
from diffrect.imaging.volume import Volume
from diffrect.inference.measures import csv_cell, voxel_ml
from diffrect.inference.outputs import PSEUDO_LABELS_FILE
from diffrect.inference.pseudo_labels.labeller import PseudoLabel
from diffrect.text_files import csv_text

TABLE_FILE = PSEUDO_LABELS_FILE
KINDS = ("pseudo_label", "rectified", "entropy")
"""What is written of a case, as `CASE_KIND.nii.gz`."""
_HEADING = ("case", "patient", "part", "entropy", "foreground_entropy", "changed", "agreement")
_OF_CLASS = ("pseudo_label_ml", "rectified_ml", "agreement")


class ClassVolumes(NamedTuple):
    """How much there is of a class in the labels of a case.

    Attributes:
        ml: millilitres of the pseudo-label; None if the scan's spacing is unknown.
        rectified_ml: of the rectified label; None without one, too.
        agreement: Dice of the two, from 0 to 1; None without a rectified label, or if neither has
            the class.
    """

    ml: float | None
    rectified_ml: float | None
    agreement: float | None


@dataclass(frozen=True)
class PseudoLabelFacts:
    """A row of the table.

    Attributes:
        case: the case.
        patient: its patient.
        part: what the training did with it: `unlabelled`, `labelled`, `val` or `test`; "" if its
            split does not name the patient.
        entropy: mean of the entropy map, from 0 to 1.
        foreground_entropy: the same where either label has foreground; None if none has.
        changed: voxels that rectification changed, per voxel that is foreground before or after it;
            None without a rectified label.
        classes: per foreground class what there is of it.
        files: those written, by what they hold, see `KINDS`.
    """

    case: str
    patient: str
    part: str
    entropy: float
    foreground_entropy: float | None
    changed: float | None
    classes: dict[str, ClassVolumes]
    files: dict[str, Path] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the case and what was found in one line."""
        part = f" ({self.part})" if self.part else ""
        changed = "" if self.changed is None else f", {self.changed:.1%} of the foreground changed"
        return summary(self, f"{self.case}{part}, entropy {self.entropy:.3f}{changed}")

    @property
    def agreement(self) -> float | None:
        """Mean Dice of both labels over the classes that either has; None if there is none."""
        values = [one.agreement for one in self.classes.values() if one.agreement is not None]
        return sum(values) / len(values) if values else None


def facts_of(
    found: PseudoLabel, case: CaseRecord, part: str, classes: Sequence[str], grid: Volume
) -> PseudoLabelFacts:
    """Return the row of a case.

    Args:
        found: its labels.
        case: the case.
        part: what the training did with it.
        classes: names of the class codes, background first.
        grid: its grid, whose spacing counts.
    """
    corrects = found.rectified is not None
    after = found.labels if found.rectified is None else found.rectified
    number = len(classes)
    pairs = (found.labels.astype(np.int64) * number + after).ravel()
    table = np.bincount(pairs, minlength=number**2).reshape(number, number)
    foreground = (found.labels > 0) | (after > 0)
    voxels = int(np.count_nonzero(foreground))
    inside = found.entropy[foreground]
    return PseudoLabelFacts(
        case.id,
        case.patient,
        part,
        float(found.entropy.mean(dtype=np.float64)),
        float(inside.mean(dtype=np.float64)) if voxels else None,
        int(table.sum() - table.trace()) / max(1, voxels) if corrects else None,
        {
            name: _volumes(table, code, voxel_ml(grid), corrects=corrects)
            for code, name in enumerate(classes)
            if code
        },
    )


def _volumes(table: np.ndarray, code: int, size: float | None, *, corrects: bool) -> ClassVolumes:
    """Return how much there is of a class.

    Args:
        table: voxels by the class before (rows) and after (columns).
        code: the class.
        size: of a voxel in millilitres.
        corrects: whether there is an after.
    """
    before, after, both = (
        int(x) for x in (table[code].sum(), table[:, code].sum(), table[code, code])
    )
    ml = None if size is None else before * size
    if not corrects:
        return ClassVolumes(ml, None, None)
    dice = 2 * both / (before + after) if before + after else None
    return ClassVolumes(ml, None if size is None else after * size, dice)


def write_table(path: Path, rows: Sequence[PseudoLabelFacts]) -> None:
    """Write the rows as CSV, with empty cells for what is None.

    Raises:
        OSError: naming the file, which is left as it was.
    """
    names = list(rows[0].classes) if rows else []
    heading = [*_HEADING, *(f"{name} {what}" for name in names for what in _OF_CLASS)]
    remove_unfinished(path.parent, path.name)
    write_atomic(path, csv_text(heading, [_row(one) for one in rows]))


def _row(one: PseudoLabelFacts) -> list[object]:
    own = (one.case, one.patient, one.part, one.entropy, one.foreground_entropy, one.changed)
    each = [value for volumes in one.classes.values() for value in volumes]
    return [csv_cell(value) for value in (*own, one.agreement, *each)]
