"""From the slices of an iteration to the batch that a method reads: views made, boxes pasted."""

from dataclasses import replace

import torch
from torch import Tensor

from diffrect.config import ViewOptions
from diffrect.data.views import RawBatch, random_boxes, strong_view, weak_view
from diffrect.methods.base import Batch


def make_batch(
    raw: RawBatch, size: int, options: ViewOptions, dtype: torch.dtype, strong_views: int = 1
) -> Batch:
    """The weak view and up to two strong ones, on the slices' device, in channels-last layout."""
    weak, label = weak_view(raw, size, options)
    shown = weak.to(dtype).contiguous(memory_format=torch.channels_last)
    plain = Batch(shown, shown, label)
    views = [_with_strong(plain, weak, options) for _ in range(strong_views)]
    if not views:
        return plain
    return views[0] if len(views) == 1 else replace(views[0], second=views[1])


def _with_strong(plain: Batch, weak: Tensor, options: ViewOptions) -> Batch:
    """The same rows with a strong view of their own, and with boxes pasted in where asked for."""
    strong = strong_view(weak, options).to(plain.weak.dtype)
    pasted = partner = None
    if options.cutmix_probability:
        pasted, partner = random_boxes(len(weak), plain.labelled, weak.shape[-1], options)
        pasted, partner = pasted.to(weak.device), partner.to(weak.device)
        strong = torch.where(pasted[:, None], strong[partner], strong)
    strong = strong.contiguous(memory_format=torch.channels_last)
    return replace(plain, strong=strong, pasted=pasted, partner=partner)
