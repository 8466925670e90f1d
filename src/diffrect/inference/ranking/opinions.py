"""Who disagrees about unlabelled scans: the rectifier with its teacher, or a student with its own.

Where a committee disagrees, a label teaches most (query by committee: Seung, Opper, Sompolinsky,
COLT 1992). The committee here is what a training leaves behind anyway.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from diffrect.data.splits.chosen import part_of
from diffrect.data.store import Store
from diffrect.imaging.slicing import Zoom
from diffrect.inference.load import LoadedMethod, load_method, segmenter_of
from diffrect.inference.pseudo_labels.labeller import PseudoLabeller
from diffrect.inference.rectifying.learnt import has_rectifier
from diffrect.inference.segmenter import Slices
from diffrect.methods.base import Method
from diffrect.networks.folding import for_prediction
from diffrect.runs.checkpoint import checkpoint_path
from diffrect.runs.folder import read_split
from diffrect.runs.names import Checkpoint

Pairs = Iterator[tuple[slice, Tensor, Tensor]]


@dataclass(frozen=True)
class Opinions:
    """Two opinions about each slice.

    Attributes:
        whose: who has them, such as "teacher and rectifier".
        pairs: slices (Z, C, H, W) and their zoom -> which slices these are, and two probabilities
            (B, classes, s, s).
    """

    whose: str
    pairs: Callable[[Slices, Zoom], Pairs]


def opinions_of(
    run: Path, checkpoint: Checkpoint, device: torch.device, store: Store
) -> Opinions | None:
    """Return who can disagree in a run; None if nobody can.

    That is the rectifier and its teacher, once the rectifier has learned to correct; else the
    network that predicts and the one that learns beside it, as the last checkpoint has them, since
    the best one keeps only one of them. A rectifier of single slices also needs a labelled patient
    in the store, by whom it knows how far labels are off.

    Args:
        run: the run.
        checkpoint: its checkpoint.
        device: where networks run.
        store: the store, of which the labels of labelled patients are read.

    Raises:
        InputError: a checkpoint cannot be read.
    """
    loaded = load_method(run, checkpoint)
    method, split = loaded.method, read_split(run)
    known = any(part_of(case, split) == "labelled" for case in store.cases.values())
    if has_rectifier(method) and (known or method.options.of_volumes):
        labeller = PseudoLabeller(loaded, run, device, store)
        if labeller.rectifier is not None and labeller.rectifier.network is not None:
            return Opinions("teacher and rectifier", labeller.opinions)
    if other_network(loaded.method) is None or not checkpoint_path(run, "last").is_file():
        return None
    return _of_networks(load_method(run, "last"), device)


def other_network(method: Method) -> nn.Module | None:
    """Return the network of a method that segments beside the one that predicts; None if none."""
    predictor = method.predictor
    children = method.named_children()
    others = [m for _, m in children if type(m) is type(predictor) and m is not predictor]
    return others[0] if others else None


def _of_networks(loaded: LoadedMethod, device: torch.device) -> Opinions:
    method = loaded.method
    other = other_network(method)
    assert other is not None
    one = segmenter_of(loaded, device)
    two = replace(one, network=for_prediction(other.to(device).eval()))

    def pairs(images: Slices, zoom: Zoom) -> Pairs:
        both = zip(one.logits(images, zoom), two.logits(images, zoom), strict=True)
        for (part, mine), (_, theirs) in both:
            yield part, mine.float().softmax(dim=1), theirs.float().softmax(dim=1)

    teaches = getattr(method, "teacher", None) is not None
    return Opinions("teacher and student" if teaches else "both networks", pairs)
