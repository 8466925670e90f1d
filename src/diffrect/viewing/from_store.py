"""Cases of a store, with their truth and the labels that belong to them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from diffrect.data.record import CASES_FOLDER, CaseRecord
from diffrect.data.split import Split
from diffrect.data.splits.chosen import ALL, choose_cases, part_of
from diffrect.data.store import Store
from diffrect.imaging.volume import Volume
from diffrect.viewing.confine import check_within
from diffrect.viewing.gallery import Gallery, Layer, ShownCase
from diffrect.viewing.label_files import match_labels
from diffrect.viewing.tables import mean_entropies

TRUTH = "truth"


@dataclass(frozen=True)
class Known:
    """What is known of cases besides the store.

    Attributes:
        split: what a training did with them; None if there is none.
        dice: mean Dice in per cent by case.
        layers: what lies over each case beside its truth and the labels that are given.
    """

    split: Split | None = None
    dice: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Collection[Layer]] = field(default_factory=dict)


def gallery_of_store(path: Path, labels: Sequence[Path], patients: str = "") -> Gallery:
    """Return the cases of a store.

    Args:
        path: its folder.
        labels: see `match_labels`.
        patients: whose, see `choose_cases`; parts are those of the data set's own split.

    Raises:
        InputError: no such store, patients or labels.
    """
    store = Store(path)
    split = store.official_split
    cases = choose_cases(patients or ALL, store.cases, split or Split(train=()))
    return store_gallery(store, cases, labels, Known(split), path.resolve().name)


def store_gallery(
    store: Store, cases: Sequence[CaseRecord], labels: Sequence[Path], known: Known, title: str
) -> Gallery:
    """Return some cases of a store.

    Args:
        store: the store.
        cases: those to show.
        labels: see `match_labels`.
        known: what is known of them besides.
        title: of the page.

    Raises:
        InputError: no such labels.
    """
    matched = match_labels(labels, [case.id for case in cases])
    entropies = mean_entropies(labels)
    shown = []
    for case in cases:
        own = [Layer(TRUTH, "label", partial(_truth, store, case.id))] if case.labelled else []
        own += [*known.layers.get(case.id, ()), *matched.layers.get(case.id, ())]
        part = _part(case, known.split)
        dice = known.dice.get(case.id)
        scan = partial(read_scan_of, store, case.id)
        layers = tuple(own)
        shown.append(ShownCase(case.id, scan, layers, part, dice, entropies.get(case.id)))
    return Gallery(title, tuple(shown), store.classes[1:], tuple(matched.remarks))


def _part(case: CaseRecord, split: Split | None) -> str:
    """Return what a training does with a case, as far as the split says it."""
    if split is None:
        return ""
    part = part_of(case, split)
    return "train" if part == "unlabelled" and not split.labelled else part


def read_scan_of(store: Store, case: str) -> Volume:
    """Return the scan of a case as its file stored it, intensities from 0 to 1.

    Raises:
        InputError: a file is damaged, or a link that leads out of the store.
    """
    slices = np.moveaxis(_inside(store, case).image(case), 1, -1)
    return on_grid(store, case, slices if store.channels > 1 else slices[..., 0])


def on_grid(store: Store, case: str, slices: np.ndarray) -> Volume:
    """Return slices (Z, H, W[, C]) of a case as the volume that they were cut from."""
    grid = store.grid(case)
    path = store.path / CASES_FOLDER / case
    return Volume(grid.slicing.volume(slices), grid.spacing, grid.affine, path)


def _truth(store: Store, case: str, _: Volume) -> np.ndarray:
    return on_grid(store, case, _inside(store, case).label(case)).array


def _inside(store: Store, case: str) -> Store:
    """Return the store, once the files of a case are known to lie in it."""
    check_within(store.path / CASES_FOLDER / case, store.path)
    return store
