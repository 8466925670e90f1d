"""Connected parts of label maps.

Elements that touch at a face, an edge or a corner are connected: 26 neighbours in a volume, 8 in a
slice.
"""

from collections.abc import Collection, Iterator

import numpy as np
from scipy import ndimage

from diffrect.imaging.label_codes import IGNORED


def keep_largest_components(
    labels: np.ndarray, classes: Collection[int] | None = None, least: float = 1.0
) -> None:
    """Turn all but the largest connected part of each class into background, in place.

    Of parts of equal size the first stays.

    Args:
        labels: class codes, integers of any number of dimensions; 0 is the background.
        classes: the classes to reduce; None reduces all.
        least: parts of this share of the largest part's size stay, too; 1 = no other part.
    """
    for _, inside, parts, sizes in _parts(labels, classes):
        if len(sizes) > 1:
            stays = sizes >= least * sizes.max() if least < 1 else np.zeros(len(sizes), bool)
            stays[sizes.argmax()] = True
            inside[~np.concatenate([[True], stays])[parts]] = 0


def keep_fullest_part(labels: np.ndarray) -> None:
    """Turn all but one connected part of the foreground into background, in place.

    The part stays that holds most of the classes: for each part, the shares that it holds of the
    elements of each class are summed. A large part of one class alone counts at most 1; the part
    in which all others are has more. Of equal parts the first stays.

    Args:
        labels: class codes, integers of any number of dimensions; 0 is the background.
    """
    parts, count = ndimage.label(labels != 0, np.ones((3,) * labels.ndim, bool))
    if count < 2:
        return
    there, codes = parts > 0, int(labels.max()) + 1
    pairs = parts[there].astype(np.int64) * codes + labels[there]
    table = np.bincount(pairs, minlength=(count + 1) * codes).reshape(count + 1, codes)
    shares = (table / table.sum(axis=0).clip(min=1)).sum(axis=1)
    labels[parts != shares.argmax()] = 0


def foreground_share(labels: np.ndarray) -> float | None:
    """Return which share of the foreground its largest connected part holds, see `largest_shares`.

    Args:
        labels: class codes (Z, H, W); 0 is the background, `IGNORED` is not annotated.

    Returns:
        The share; None without any foreground.
    """
    one_class = np.where(labels == IGNORED, labels, labels != 0).astype(labels.dtype)
    return largest_shares(one_class).get(1)


def largest_shares(labels: np.ndarray) -> dict[int, float]:
    """Return which share of a class's elements its largest connected part holds, by class code.

    Slices in which nothing is annotated divide a volume: the parts before and after them are judged
    apart, and the smallest share counts. Other elements that are not annotated connect nothing. A
    class that is not there is left out.

    Args:
        labels: class codes (Z, H, W); 0 is the background, `IGNORED` is not annotated.
    """
    known = (labels != IGNORED).any(axis=(1, 2))
    stretches = np.split(labels, 1 + np.flatnonzero(np.diff(known)))
    found: dict[int, float] = {}
    for stretch in stretches:
        for code, _, _, sizes in _parts(stretch, None):
            found[code] = min(found.get(code, 1.0), float(sizes.max() / sizes.sum()))
    return found


def _parts(
    labels: np.ndarray, classes: Collection[int] | None
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield code, bounding box in `labels`, numbered parts in it and their sizes, by class."""
    touching = np.ones((3,) * labels.ndim, bool)
    for code, box in enumerate(ndimage.find_objects(labels), start=1):
        wanted = code != IGNORED and (classes is None or code in classes)
        if box is None or not wanted:
            continue
        inside = labels[box]
        parts, _ = ndimage.label(inside == code, touching)
        yield code, inside, parts, np.bincount(parts.ravel())[1:]
