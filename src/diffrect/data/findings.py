"""The results of `inspect`: the facts of each case, and their summary."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffrect.console import count, summary
from diffrect.data.split import Split


@dataclass(frozen=True)
class CaseFacts:
    """The facts of one case.

    Attributes:
        id: its id.
        patient: whose scan it is.
        labelled: whether it has a label map; None if its files could not be read.
        shape: (X, Y, Z) of its image; None if that could not be read.
        spacing: millimetres along X, Y, Z; None if they are not recorded.
        orientation: where the axes point to, such as "LPS"; None if that is not recorded.
        intensity: lowest and highest; None if the image could not be read.
        remarks: what is unusual though it was read, one line per remark.
        type: number type of a file that was looked at by itself.
        voxels: number of voxels of each class; None without a readable label map.
        ignored: number of voxels that nobody annotated; None without a readable label map.
    """

    id: str
    patient: str
    labelled: bool | None = None
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    orientation: str | None = None
    intensity: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()
    type: str | None = None
    voxels: tuple[int, ...] | None = None
    ignored: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without those of files that could not be read."""
        unread = {"type"} if self.type is None else set()
        if self.shape is None:
            unread |= {"shape", "spacing", "remarks"}
        if self.intensity is None:
            unread |= {"orientation", "intensity"}
        if self.voxels is None:
            unread |= {"voxels", "ignored"}
        return {name: _plain(value) for name, value in vars(self).items() if name not in unread}


@dataclass(frozen=True)
class ClassFacts:
    """The facts of one class.

    Attributes:
        name: its name.
        share: its share of all annotated pixels, in [0, 1]; None if there are none.
        cases: number of cases in which it has pixels.
    """

    name: str
    share: float | None
    cases: int


@dataclass(frozen=True)
class Findings:
    """Everything that was found in a data set, a store or a file, before it is summarised.

    Attributes:
        format: name of the layout, or kind of file.
        channels: number of image channels.
        classes: names of the label codes.
        split: the official split, if there is one.
        each: the facts of each case.
        problems: what cannot be read, or what `prepare` would refuse, one line per problem.
        remarks: what is unusual about the set as a whole, one line per remark.
    """

    format: str
    channels: int
    classes: Sequence[str] = ()
    split: Split | None = None
    each: Sequence[CaseFacts] = ()
    problems: Sequence[str] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Inspection:
    """The contents of a data set, a store or an image file, and everything that is wrong with it.

    Attributes:
        path: what was looked at.
        kind: whether that is a data set, a store or one file.
        format: name of the layout, or kind of file.
        cases: number of cases.
        patients: number of patients.
        labelled: number of cases with a label map.
        unlabelled: number of cases without one; cases that could not be read count as neither.
        channels: number of image channels.
        shapes: "X x Y x Z" and the number of cases of each shape, the most frequent first.
        spacings: likewise, in millimetres.
        orientations: likewise, such as "LPS".
        intensity: lowest and highest; None if no image could be read.
        classes: the facts of each class.
        ignored: share of the pixels that nobody annotated, in [0, 1].
        split: number of patients in each part of the official split, if there is one.
        problems: what cannot be read, or what `prepare` would refuse, one line per problem.
        remarks: what is unusual though it was read, one line per remark.
        each: the facts of each case.
    """

    path: str
    kind: Literal["source", "store", "file"]
    format: str
    cases: int
    patients: int
    labelled: int
    unlabelled: int
    channels: int
    shapes: Mapping[str, int]
    spacings: Mapping[str, int]
    orientations: Mapping[str, int]
    intensity: tuple[float, float] | None
    classes: tuple[ClassFacts, ...]
    ignored: float
    split: Mapping[str, int] | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    each: tuple[CaseFacts, ...] = field(repr=False)

    def __repr__(self) -> str:
        """Return what was looked at, and how much of it there is, in one line."""
        cases, patients = count(self.cases, "case"), count(self.patients, "patient")
        wrong = count(len(self.problems), "problem")
        facts = f"{cases} of {patients}, {self.labelled} labelled, {wrong}"
        return summary(self, f"{self.kind} {self.path} ({self.format}), {facts}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `diffrect inspect --json` prints them."""
        values = {name: _plain(value) for name, value in vars(self).items()}
        classes = [asdict(facts) for facts in self.classes]
        return {**values, "classes": classes, "each": [facts.to_dict() for facts in self.each]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def summarise(path: Path, kind: Literal["source", "store", "file"], found: Findings) -> Inspection:
    """Count over the cases what was found in each; a class without pixels is one more problem."""
    each = found.each
    parts = None if found.split is None else found.split.to_dict()
    split = None if parts is None else {name: len(ids) for name, ids in parts.items()}
    classes, ignored = _shares(found.classes, each)
    problems = list(found.problems)
    if kind != "file" and any(facts.cases for facts in classes):
        absent = [facts.name for facts in classes if not facts.cases]
        problems += [f"class {name}: expected pixels, no case has any" for name in absent]
    ranges = [facts.intensity for facts in each if facts.intensity is not None]
    intensity = (min(r[0] for r in ranges), max(r[1] for r in ranges)) if ranges else None
    images = [facts for facts in each if facts.shape is not None]
    remarks = [*found.remarks, *(line for facts in each for line in facts.remarks)]
    return Inspection(
        path=str(path),
        kind=kind,
        format=found.format,
        cases=len(each),
        patients=len({facts.patient for facts in each}),
        labelled=sum(facts.labelled is True for facts in each),
        unlabelled=sum(facts.labelled is False for facts in each),
        channels=found.channels,
        shapes=_counted((facts.shape for facts in images), " x "),
        spacings=_counted((facts.spacing for facts in images), " x "),
        orientations=_counted((f.orientation for f in images if f.intensity is not None), ""),
        intensity=intensity,
        classes=classes,
        ignored=ignored,
        split=split,
        problems=tuple(dict.fromkeys(problems)),
        remarks=tuple(dict.fromkeys(remarks)),
        each=tuple(each),
    )


def _counted(values: Iterable[Sequence[object] | None], between: str) -> dict[str, int]:
    """Count the cases of each kind, the most frequent first."""
    texts = ["unknown" if v is None else between.join(f"{part}" for part in v) for v in values]
    return dict(Counter(texts).most_common())


def _shares(
    names: Sequence[str], each: Sequence[CaseFacts]
) -> tuple[tuple[ClassFacts, ...], float]:
    """Return each class's share of the annotated pixels, and the share that nobody annotated."""
    voxels = [facts.voxels for facts in each if facts.voxels is not None]
    totals = np.array(voxels).reshape(len(voxels), len(names))
    ignored = sum(facts.ignored or 0 for facts in each)
    annotated = int(totals.sum())
    classes = tuple(
        ClassFacts(
            name=name,
            share=float(totals[:, code].sum() / annotated) if annotated else None,
            cases=int(np.count_nonzero(totals[:, code])),
        )
        for code, name in enumerate(names)
    )
    whole = annotated + ignored
    return classes, ignored / whole if whole else 0.0
