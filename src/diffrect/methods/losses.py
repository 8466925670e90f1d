"""Losses, pseudo-labels and schedules: pure functions that the methods share.

Logits and probabilities are (B, C, H, W), class maps (B, H, W). A pixel of a target class map whose
value is `IGNORED` counts in no loss. `diffrect.methods` explains the words.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.distributed.sums import shared_mean, shared_sum
from diffrect.imaging.label_codes import IGNORED


def dice_loss(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the soft Dice loss with squared denominators, background included.

    1 - (2 sum(s t) + e) / (sum(s^2) + sum(t^2) + e), e = 1e-5, with sums over rows and pixels and
    a mean over classes (Milletari et al., 3DV 2016). A class that is absent from the target costs
    about 1.
    """
    classes = probabilities.shape[1]
    codes = torch.arange(classes, device=target.device)[None, :, None, None]
    truth = (target[:, None] == codes).to(probabilities.dtype)
    counted = (target != IGNORED)[:, None].to(probabilities.dtype)
    over_rows_and_pixels = (0, 2, 3)
    overlap = (probabilities * truth).sum(over_rows_and_pixels)
    size = (probabilities.square() * counted).sum(over_rows_and_pixels)
    size = size + truth.sum(over_rows_and_pixels)  # truth is 0 or 1: its own square
    overlap, size = shared_sum(overlap), shared_sum(size)
    return (1 - (2 * overlap + 1e-5) / (size + 1e-5)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy over the pixels that are not ignored; 0 if all are."""
    total = _pixel_cross_entropy(logits, target.long(), "sum")
    return shared_sum(total) / shared_sum((target != IGNORED).sum()).clamp(min=1)


def _pixel_cross_entropy(logits: Tensor, target: Tensor, reduction: str) -> Tensor:
    """Return `F.cross_entropy` of maps.

    On a GPU only the algorithm for rows repeats its numbers, so it is used where that is asked for.
    """
    if logits.is_cuda and torch.are_deterministic_algorithms_enabled():
        logits, target = logits.permute(0, 2, 3, 1).flatten(0, 2), target.flatten()
    return F.cross_entropy(logits, target, ignore_index=IGNORED, reduction=reduction)


def sure_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of the pixels that are not ignored, in the mean over all pixels."""
    return cross_entropy(logits, target) * shared_mean((target != IGNORED).to(logits.dtype).mean())


def cross_entropy_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return CED: the cross-entropy of logits plus the `dice_loss` of their softmax."""
    return cross_entropy(logits, target) + dice_loss(logits.softmax(dim=1), target)


def confident_labels(logits: Tensor, threshold: float, unsure: int = IGNORED) -> Tensor:
    """Return class maps (B, H, W) without gradient, `unsure` where confidence is too low.

    A pixel's confidence is the probability of its best class; at `threshold` it is sure.
    """
    confidence, label = logits.detach().softmax(dim=1).max(dim=1)
    return torch.where(confidence >= threshold, label, unsure)


def pseudo_label(logits: Tensor, threshold: float, unsure: int) -> Tensor:
    """Return the hard label of each pixel whose prediction is confident, `unsure` elsewhere.

    q = (p - min_c p) / max_c p; a pixel is confident where its best class has q > threshold.

    Args:
        logits: (B, C, H, W).
        threshold: confidence in [0, 1]; 0.8 in the reference.
        unsure: class code for the other pixels: 0 (background, as the reference) or `IGNORED`.

    Returns:
        int64 class map (B, H, W) without gradient.
    """
    probabilities = logits.detach().softmax(dim=1)
    best, label = probabilities.max(dim=1)
    confident = (best - probabilities.amin(dim=1)) / best > threshold
    return torch.where(confident, label, unsure)


def confidence_weight(logits: Tensor) -> Tensor:
    """Return w, how concentrated the class maps are: 0 (over all pixels) to 1 (in one pixel).

    w is the mean over batch and class of 1 - H / log(HW), where H is the entropy over *pixels* of
    each class map of the softmax, normalised to sum to 1. It has a gradient, as in the reference.
    """
    maps = logits.softmax(dim=1).flatten(2)  # (B, C, HW)
    # The limits hold where the probability of a class or pixel underflows: 0 log 0 has no gradient.
    maps = maps / maps.sum(dim=2, keepdim=True).clamp(min=1e-12)
    entropy = -(maps * maps.clamp(min=torch.finfo(maps.dtype).tiny).log()).sum(dim=2)
    return shared_mean((1 - entropy / math.log(maps.shape[2])).mean())


def complementary_loss(weak_logits: Tensor, strong_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the complementary loss of two views and its confidence weight w.

    The strong view must not predict the class that is least probable in the weak view:
    w * CE(1 - softmax(strong), argmin_c softmax(weak)) over all rows. The cross-entropy is fed
    probabilities as if they were logits, as in the reference.

    Returns:
        The loss and the confidence weight w that it contains.
    """
    weight = confidence_weight(strong_logits)
    # On a CPU, `min` finds the class in an eighth of the time that `argmin` takes.
    least = weak_logits.detach().softmax(dim=1).min(dim=1).indices
    complementary = _pixel_cross_entropy(1 - strong_logits.softmax(dim=1), least, "mean")
    return weight * shared_mean(complementary), weight


def consistency_ramp(step: int, iterations: int, stairs: int) -> float:
    """Return the ramp of a weight in iteration `step`, from exp(-5) to 1 in `stairs` stairs.

    exp(-5 (1 - min(1, k / K))^2) with K = `stairs` and k = floor(step K / iterations)
    (Laine & Aila, ICLR 2017). With 30,000 iterations and K = 200, k = step // 150.
    """
    k = step * stairs // iterations
    return math.exp(-5.0 * (1.0 - min(1.0, k / stairs)) ** 2)


def poly_rate(base: float, step: int, iterations: int) -> float:
    """Return the learning rate of `step`: base (1 - i / I)^0.9, polynomial decay.

    The rate changes after step i, so that the first two steps have the base rate.
    """
    return base * float((1.0 - max(step - 1, 0) / iterations) ** 0.9)
