"""Connected parts of label maps."""

import numpy as np
from scipy import ndimage


def keep_largest_components(labels: np.ndarray) -> None:
    """Turn all but the largest connected part of each class into background, in place.

    Elements that touch at a face, an edge or a corner are connected: 26 neighbours in a volume, 8
    in a slice. Of parts of equal size the first stays.

    Args:
        labels: class codes, integers of any number of dimensions; 0 is the background.
    """
    touching = np.ones((3,) * labels.ndim, bool)
    for code, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        inside = labels[box]
        parts, count = ndimage.label(inside == code, touching)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            largest = 1 + int(sizes[1:].argmax())
            inside[(parts > 0) & (parts != largest)] = 0
