"""How far a model is in doubt about a scan: its entropy, and where two opinions differ.

All are shares between 0 and 1 of what the model sees, so that a large organ is not in more doubt
than a small one. With p the probabilities of a pixel, sums go over pixels as the network sees them:

    entropy        sum H(p) / sum (H(p) + f),   H = -sum p ln p / ln(classes), f = 1 - p_background
    disagreement   sum |p - q| / sum (p + q),   over the foreground classes

The first weighs the entropy (Shannon, 1948) against the foreground that is expected. It counts
pixels that are probably background, too, because structures that are missed lie there; a mean over
the foreground alone would not see them, and one over all pixels would be that of the background.
The second is 1 - Dice of two soft labels, the dissimilarity of Bray & Curtis (1957); of several
views of a slice it compares each with their mean. A pixel per slice is added to each denominator,
so that a scan of which the model is sure that it shows nothing is in no doubt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.inference.ranking.deepest import DeepestMap, watching
from diffrect.inference.ranking.opinions import Opinions
from diffrect.inference.segmenter import Segmenter
from diffrect.networks.mean import MeanOfViews

ENTROPY, DISAGREEMENT, AUGMENTATION = "entropy", "disagreement", "augmentation"
MEASURES = (ENTROPY, DISAGREEMENT, AUGMENTATION)


class Doubt(NamedTuple):
    """Numerator and denominator of a share, of each slice."""

    amount: np.ndarray
    """(Z,), float64."""
    size: np.ndarray
    """(Z,), float64, at least 1."""


@dataclass(frozen=True)
class CaseDoubt:
    """What a model makes of a case.

    Attributes:
        case: its id.
        patient: whose it is.
        doubts: by the names in `MEASURES`, those that there are.
        features: the pooled features (Z, D) of each slice.
    """

    case: str
    patient: str
    doubts: Mapping[str, Doubt]
    features: np.ndarray

    def of_slices(self, name: str) -> np.ndarray:
        """Return what each slice contributes, (Z,): their mean is the share of the case."""
        amount, size = self.doubts[name]
        found: np.ndarray = amount * len(size) / size.sum()
        return found


def pooled_share(cases: Sequence[CaseDoubt], name: str) -> float:
    """Return the share of doubt, 0 to 1, of a patient's cases together."""
    doubts = [case.doubts[name] for case in cases]
    return float(sum(d.amount.sum() for d in doubts) / sum(d.size.sum() for d in doubts))


@dataclass(frozen=True)
class Doubter:
    """A model that is asked how sure it is.

    Attributes:
        segmenter: its network.
        views: its views for test-time augmentation; None if none suit it.
        opinions: who else has an opinion; None if nobody has.
    """

    segmenter: Segmenter
    views: MeanOfViews | None
    opinions: Opinions | None

    @property
    def measures(self) -> tuple[str, ...]:
        """Those of `MEASURES` that there are."""
        there = (True, self.opinions is not None, self.views is not None)
        return tuple(name for name, is_there in zip(MEASURES, there, strict=True) if is_there)

    def features(self, store: Store, record: CaseRecord) -> np.ndarray:
        """Return the pooled features (Z, D) of each slice of a case.

        Raises:
            InputError: the case cannot be read, or its spacing is needed and unknown.
        """
        images, zoom = store.image(record.id), store.zoom(record.id, self.segmenter.spacing)
        with watching(self.segmenter.network) as deepest:
            found = []
            for _ in self.segmenter.logits(images, zoom):
                found.append(deepest.pooled())
                deepest.forget()
        return np.concatenate(found)

    @torch.inference_mode()
    def doubt(self, store: Store, record: CaseRecord) -> CaseDoubt:
        """Return what the model makes of a case; its label, if it has one, is not read.

        Raises:
            InputError: the case cannot be read, its spacing is needed and unknown, or the network
                computes values that are not finite.
        """
        images, zoom = store.image(record.id), store.zoom(record.id, self.segmenter.spacing)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.measures}
        features = []
        with watching(self.segmenter.network) as deepest:
            for part, logits in self.segmenter.logits(images, zoom):
                if not bool(logits.isfinite().all()):
                    where = f"{store.path}: case {record.id}"
                    raise InputError(where, "numbers from the model", got="NaN or infinity")
                features.append(_forgetting(deepest))
                parts[ENTROPY].append(entropy_of(logits.float().softmax(dim=1)))
                if self.views is not None:
                    seen = self.segmenter.inputs(images[part], zoom)
                    shares = [found.exp() for found in self.views.each(seen)]
                    parts[AUGMENTATION].append(spread_of(shares))
        if self.opinions is not None:
            for _, one, other in self.opinions.pairs(images, zoom):
                parts[DISAGREEMENT].append(difference_of(one, other))
        doubts = {name: _joined(found) for name, found in parts.items()}
        return CaseDoubt(record.id, record.patient, doubts, np.concatenate(features))


def _forgetting(deepest: DeepestMap) -> np.ndarray:
    """Return the pooled features (B, D) of the last forward pass, and begin a new one."""
    pooled = deepest.pooled()
    deepest.forget()
    return pooled


def entropy_of(shares: Tensor) -> np.ndarray:
    """Return amount and size (2, B) of the entropy of probabilities (B, classes, H, W)."""
    entropy = torch.special.entr(shares).sum(dim=1) / np.log(shares.shape[1])
    return _sums(entropy, entropy + 1 - shares[:, 0])


def difference_of(one: Tensor, other: Tensor) -> np.ndarray:
    """Return amount and size (2, B) of the difference of two probabilities (B, classes, H, W)."""
    mine, theirs = one[:, 1:], other[:, 1:]
    return _sums((mine - theirs).abs(), mine + theirs)


def spread_of(views: Sequence[Tensor]) -> np.ndarray:
    """Return amount and size (2, B) of how far probabilities differ from their mean."""
    mean = torch.stack(list(views)).mean(dim=0)
    found: np.ndarray = np.mean([difference_of(view, mean) for view in views], axis=0)
    return found


def _sums(amount: Tensor, size: Tensor) -> np.ndarray:
    """Return the sums (2, B) over all dimensions but the first."""
    return np.stack([x.flatten(1).double().sum(dim=1).cpu().numpy() for x in (amount, size)])


def _joined(parts: Iterable[np.ndarray]) -> Doubt:
    amount, size = np.concatenate(list(parts), axis=1)
    return Doubt(amount, size + 1)
