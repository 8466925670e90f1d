"""What a viewer shows: cases with layers over their scans, read when somebody looks at them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffrect.imaging.volume import Volume

Kind = Literal["label", "changes", "map"]
"""Class codes; what `rectify` did to each voxel; or a measure from 0 to 1, such as the entropy."""


@dataclass(frozen=True)
class Layer:
    """Something that lies over a scan.

    Attributes:
        name: what the page calls it, such as "truth".
        kind: what its values mean.
        read: the scan -> its values (X, Y, Z) on the scan's grid, uint8 unless it is a map.
    """

    name: str
    kind: Kind
    read: Callable[[Volume], np.ndarray]


@dataclass(frozen=True)
class ShownCase:
    """A scan and what lies over it.

    Attributes:
        name: of the case.
        scan: reads it, (X, Y, Z) or (X, Y, Z, C).
        layers: in the order in which the page lists them.
        part: the patient's part in the training, such as "val"; empty if it is not known.
        dice: mean Dice of the classes in per cent, as `evaluate` found it; None if it is not known.
        entropy: mean entropy of the prediction, 0 to 1; None if it is not known.
    """

    name: str
    scan: Callable[[], Volume]
    layers: tuple[Layer, ...] = ()
    part: str = ""
    dice: float | None = None
    entropy: float | None = None


@dataclass(frozen=True)
class Gallery:
    """All that a viewer shows.

    Attributes:
        title: what it is, such as the name of the run.
        cases: one or more.
        classes: names of the class codes from 1 on; empty if they are not known.
        remarks: what was left out, one line each.
    """

    title: str
    cases: tuple[ShownCase, ...]
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
