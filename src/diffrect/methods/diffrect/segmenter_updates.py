"""What the segmenter learns: the losses of the first and of the third update, on its logits."""

from torch import Tensor

from diffrect.data.batch import Batch
from diffrect.methods.base import Update
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import PseudoLabel, pseudo_label_loss
from diffrect.methods.losses import complementary_loss, cross_entropy_dice


def segmenter_update(
    batch: Batch,
    weak_logits: Tensor,
    strong_logits: Tensor,
    second_logits: Tensor | None,
    weak: PseudoLabel,
    weight: float,
    options: DiffRectOptions,
) -> Update:
    """Return the first update: labels, and weak-to-strong consistency on unlabelled rows.

    Args:
        batch: the batch.
        weak_logits: the segmenter's logits (B or L, C, H, W) of the weak view.
        strong_logits: its logits (B, C, H, W) of the strong view.
        second_logits: its logits (U, C, H, W) of the unlabelled rows of the second strong view;
            None if there is only one.
        weak: pseudo-label of the weak view.
        weight: of the losses on unlabelled rows.
        options: settings of DiffRect.
    """
    rows = batch.labelled
    supervised = cross_entropy_dice(weak_logits[:rows], batch.label)
    if options.labelled_views == "both":
        supervised = (supervised + cross_entropy_dice(strong_logits[:rows], batch.label)) / 2
    target = batch.with_labels(weak.target)
    unsupervised = strong_loss(batch, target, strong_logits, second_logits, options)
    logs: dict[str, Tensor | float] = {"supervised": supervised, "consistency_weight": weight}
    if options.complementary:
        complementary, confidence = complementary_loss(batch.as_strong(weak_logits), strong_logits)
        unsupervised = unsupervised + confidence * complementary
        logs |= {"complementary": complementary, "confidence_weight": confidence}
    total = supervised + weight * unsupervised
    logs |= {"unsupervised": unsupervised, "segmenter_total": total}
    return Update("segmenter", total, logs)


def rectification_update(
    batch: Batch,
    rectified: Tensor,
    logits: Tensor,
    second_logits: Tensor | None,
    weight: float,
    options: DiffRectOptions,
) -> Update:
    """Return the third update: the segmenter learns rectified labels of unlabelled rows.

    Args:
        batch: the batch.
        rectified: class maps (B, H, W) as `Transports.rectify` returns them.
        logits: the segmenter's, (B, C, H, W), of the view that `rectification_view` names.
        second_logits: its logits (U, C, H, W) of the unlabelled rows of the second strong view;
            None if that is not learned.
        weight: of the loss on unlabelled rows.
        options: settings of DiffRect.
    """
    rows = batch.labelled
    if options.rectification_view == "strong":
        loss = strong_loss(batch, rectified, logits, second_logits, options)
    else:
        loss = pseudo_label_loss(logits[rows:], rectified[rows:], options)
    total = weight * loss
    if options.rectification_labelled:
        total = total + cross_entropy_dice(logits[:rows], rectified[:rows])
    return Update("segmenter", total, {"rectification": loss})


def strong_loss(
    batch: Batch,
    target: Tensor,
    logits: Tensor,
    second_logits: Tensor | None,
    options: DiffRectOptions,
) -> Tensor:
    """Return the loss of unlabelled rows, the mean over their strong views.

    Args:
        batch: the batch.
        target: class maps (B, H, W) of the weak view.
        logits: the segmenter's (B, C, H, W) of the strong view.
        second_logits: its logits (U, C, H, W) of the unlabelled rows of the second strong view;
            None if there is only one.
        options: settings of DiffRect.
    """
    rows = batch.labelled
    first = pseudo_label_loss(logits[rows:], batch.as_strong(target)[rows:], options)
    if second_logits is None or batch.second is None:
        return first
    shown = batch.second.as_strong(target)[rows:]
    return (first + pseudo_label_loss(second_logits, shown, options)) / 2
