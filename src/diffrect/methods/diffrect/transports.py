"""The transports that DiffRect's rectifier learns, the second update of an iteration.

DiffRect (MICCAI 2024), Sec. 2.2: coarse to fine, from the strong view's pseudo-label to the weak
view's, and fine to precise, from the weak view's to the ground truth.
"""

from typing import TYPE_CHECKING

import torch

from diffrect.data.batch import Batch
from diffrect.errors import InputError
from diffrect.labels import IGNORED
from diffrect.methods.base import Update
from diffrect.methods.diffrect.parts import PseudoLabel
from diffrect.methods.losses import complementary_loss, cross_entropy_dice

if TYPE_CHECKING:
    from diffrect.methods.diffrect.method import DiffRect


def joint_transports(
    method: "DiffRect", batch: Batch, weak: PseudoLabel, strong: PseudoLabel, weight: float
) -> Update:
    """Each transport on the rows it is about, in one pass.

    Labelled rows go from fine to precise (weak view -> ground truth), unlabelled rows from
    coarse to fine (strong view -> weak view).
    """
    rows = batch.labelled
    precise = batch.completed(weak.given)
    target = batch.as_strong(batch.with_labels(weak.target))
    finer = PseudoLabel(batch.as_strong(precise), target)
    images = torch.cat([batch.weak[:rows], batch.strong[rows:]])
    coarse = torch.cat([weak.given[:rows], strong.given[rows:]])
    target = torch.cat([precise[:rows], finer.given[rows:]])
    guidance = method.guidance(coarse, target, slice(rows))
    logits, latent = method.transport("joint", images, coarse, target, guidance)
    supervised = cross_entropy_dice(logits[:rows], batch.label)
    unsupervised = method.pseudo_label_loss(logits[rows:], finer.target[rows:])
    total = supervised + latent + weight * unsupervised
    logs = {
        "rectifier_supervised": supervised,
        "rectifier_unsupervised": unsupervised,
        "latent": latent,
        "guidance_weak_to_label": guidance[:rows].mean(),
        "guidance_strong_to_weak": guidance[rows:].mean() if len(guidance) > 1 else guidance[0],
        "rectifier_total": total,
    }
    return Update("rectifier", total, logs)


def separate_transports(
    method: "DiffRect", batch: Batch, weak: PseudoLabel, strong: PseudoLabel, weight: float
) -> Update:
    """Both transports on all rows, one after the other."""
    rows = batch.labelled

    # fine to precise: weak view -> ground truth where there is one, else itself
    precise = batch.completed(weak.given)
    to_label = method.guidance(weak.given, precise, slice(rows))
    weak_rectified, latent_to_label = method.transport(
        "weak_to_label", batch.weak, weak.given, precise, to_label
    )
    supervised = cross_entropy_dice(weak_rectified[:rows], batch.label)

    # coarse to fine: strong view -> weak view
    finer = method.pseudo_label(weak_rectified)
    finer = PseudoLabel(batch.as_strong(finer.given), batch.as_strong(finer.target))
    to_weak = method.guidance(strong.given, finer.given, slice(rows, None))
    strong_rectified, latent_to_weak = method.transport(
        "strong_to_weak", batch.strong, strong.given, batch.as_strong(weak.given), to_weak
    )
    unsupervised = method.pseudo_label_loss(strong_rectified[rows:], finer.target[rows:])
    if method.options.complementary:
        complementary, confidence = complementary_loss(
            batch.as_strong(weak_rectified), strong_rectified
        )
        unsupervised = unsupervised + confidence * complementary

    total = supervised + latent_to_label + weight * (unsupervised + latent_to_weak)
    logs = {
        "rectifier_supervised": supervised,
        "rectifier_unsupervised": unsupervised,
        "latent_weak_to_label": latent_to_label,
        "latent_strong_to_weak": latent_to_weak,
        "guidance_weak_to_label": to_label.mean(),
        "guidance_strong_to_weak": to_weak.mean(),
        "rectifier_total": total,
    }
    return Update("rectifier", total, logs)


def single_transport(
    method: "DiffRect", batch: Batch, weak: PseudoLabel, strong: PseudoLabel, weight: float
) -> Update:
    """One transport alone, the other left out.

    Fine to precise alone trains on the labelled rows (weak view -> ground truth), coarse to fine
    alone on the unlabelled rows (strong view -> weak view), in either preset.

    Raises:
        InputError: a single slice that is too small for batch statistics.
    """
    rows = batch.labelled
    if method.options.fine_to_precise:
        images, coarse = batch.weak[:rows], weak.given[:rows]
        target = torch.where(batch.label == IGNORED, coarse, batch.label)
    else:
        images, coarse = batch.strong[rows:], strong.given[rows:]
        finer = PseudoLabel(*(batch.as_strong(batch.with_labels(part)) for part in weak))
        target = finer.given[rows:]
    if len(images) == 1 and max(images.shape[-2:]) <= 64:  # one pixel at the deepest level
        option = "labelled" if method.options.fine_to_precise else "unlabelled"
        raise InputError(
            f"--batch-{option}: expected at least 2 slices of 64 x 64 pixels or fewer to train one "
            "transport alone, got 1"
        )
    guidance = method.guidance(coarse, target, slice(None))
    logits, latent = method.transport("single", images, coarse, target, guidance)
    if method.options.fine_to_precise:
        name, loss = "rectifier_supervised", cross_entropy_dice(logits, batch.label)
    else:
        name = "rectifier_unsupervised"
        loss = weight * method.pseudo_label_loss(logits, finer.target[rows:])
    total = loss + latent
    logs = {name: loss, "latent": latent, "guidance": guidance.mean(), "rectifier_total": total}
    return Update("rectifier", total, logs)
