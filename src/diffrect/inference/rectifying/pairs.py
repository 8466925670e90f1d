"""The inputs of `rectify`: scans and their labels, as files or as folders of equal names."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from diffrect.errors import InputError
from diffrect.imaging.kinds import stem_of
from diffrect.inference.inputs import FIRST_CHANNEL, Scan, list_images, list_scans


class Pair(NamedTuple):
    """A scan and its label.

    Attributes:
        name: of the label's file, without its suffix.
        scan: the files of the scan.
        label: the label's file, or the folder of a DICOM segmentation.
    """

    name: str
    scan: Scan
    label: Path


def list_pairs(inputs: Sequence[Path], channels: int) -> list[Pair]:
    """Return scans with their labels.

    Args:
        inputs: SCAN LABEL SCAN LABEL and so on; either may be a folder, of which files of equal
            names belong together. The scan CASE_0000 belongs to the label CASE, too.
        channels: image channels of the model.

    Raises:
        InputError: an odd number, something that does not exist, a label without a scan, or two
            labels of one name.
    """
    if not inputs or len(inputs) % 2:
        raise InputError("INPUT", "SCAN LABEL in pairs", got=len(inputs) or "none")
    pairs: dict[str, Pair] = {}
    for scan, label in zip(inputs[::2], inputs[1::2], strict=True):
        for pair in _matched(scan, label, channels):
            if pair.name in pairs:
                clash = f"{pairs[pair.name].label} has the same"
                raise InputError(pair.label, f"labels of different names, {clash}")
            pairs[pair.name] = pair
    return list(pairs.values())


def _matched(scan: Path, label: Path, channels: int) -> list[Pair]:
    scans, labels = list_scans([scan], channels), list_images([label])
    every = [one for named in scans.values() for one in named]
    if len(every) == len(labels) == 1:
        return [Pair(stem_of(labels[0]), every[0], labels[0])]
    by_name = {name.removesuffix(FIRST_CHANNEL): named for name, named in scans.items()} | scans
    pairs = []
    for file in labels:
        found = by_name.get(stem_of(file), [])
        if len(found) != 1:
            wanted = f"one scan of this name in {scan}"
            raise InputError(file, wanted, found=len(found) or "none")
        pairs.append(Pair(stem_of(file), found[0], file))
    return pairs
