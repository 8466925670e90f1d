"""beta-FFT: two students of BCP exchange low frequencies; the first one learns mixtures, too.

Hu et al., "beta-FFT: Nonlinear Interpolation and Differentiated Training Strategies for
Semi-Supervised Medical Image Segmentation", CVPR 2025. It is `abd`, whose views, students and cross
teaching it has, with these differences:

- The box has 3/5 of each side. In place of patches, each weak mixture x1 and its strong one x2
  exchange low frequencies: x1 - low(x1) + low(x2) and x2 - low(x2) + low(x1); low keeps the 60 x 60
  lowest of 256 x 256 frequencies (15/64 of each side, `low_share`).
- Student 1 learns the weak and the strong view once more: 1/2 (cross-entropy + Dice) of labelled
  rows + w(i) mean (p(Mix) - Mix of the teacher's predictions)^2 of unlabelled rows in pairs, as ICT
  does, with Beta(0.1, 0.1) and w(i) = 0.5 exp(-5 (1 - t)^2) over the second stage.

The released code takes the absolute value of low, which makes negative values positive; here it is
the real part (`magnitude` = true, as in preset `reference`, repeats it). Its script for MS-CMRSeg
mixes a part of the strong view with itself, which is not repeated.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrect.checks import within
from diffrect.methods.abd import ABD, TwoStudentsOptions, View
from diffrect.methods.consistency import ConsistencyOptions, squared_difference
from diffrect.methods.ict import check_mixing, draw_mixture, mix
from diffrect.methods.losses import cross_entropy_dice


@dataclass(frozen=True)
class BetaFFTOptions(TwoStudentsOptions, ConsistencyOptions):
    """Settings of beta-FFT; `supervised_weight` is that of student 1's further labels."""

    box_share: float = 0.6
    """Height and width of the box, as shares of the slice's."""
    consistency_weight: float = 0.5
    """Largest weight of the squared difference on mixed unlabelled rows."""
    mixing: float = 0.1
    """Both parameters of the Beta distribution of the mixing factor; above 0."""
    low_share: float = 15 / 64
    """Share of the frequencies along each axis that are exchanged, the lowest ones."""
    magnitude: bool = False
    """Whether low frequencies lose their sign, as in the released code."""

    def __post_init__(self) -> None:
        TwoStudentsOptions.__post_init__(self)
        ConsistencyOptions.__post_init__(self)
        within("low_share", self.low_share, 0, 1)
        check_mixing(self.mixing)


class BetaFFT(ABD):
    """Two students learn mixtures of both views with each other's low frequencies."""

    Options = BetaFFTOptions
    presets = {  # noqa: RUF012
        "default": ABD.presets["default"],
        "reference": {**ABD.presets["reference"], "magnitude": True},
    }

    def exchange(self, images: list[Tensor], logits: list[Tensor]) -> Tensor:
        """Return both students' mixtures (2 B, channels, H, W), changed by the other's.

        Args:
            images: weak and strong mixtures, (B, channels, H, W) each.
            logits: not used.
        """
        one, two = images
        share, magnitude = self.options.low_share, self.options.magnitude
        change = low_frequencies(two, share, magnitude) - low_frequencies(one, share, magnitude)
        return torch.cat([one + change, two - change])

    def further(self, views: list[View], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Return student 1's loss of labels and mixed rows of both views, and its parts."""
        options, start = self.options, self.pretrain_until
        labels = consistency = views[0].images.new_zeros(())
        for images, label, taught in views:
            rows, target = len(label), taught.softmax(dim=1)
            share, partner = draw_mixture(len(taught), options.mixing)
            share, partner = share.to(images), partner.to(images.device)
            mixed = mix(images[rows:], images[rows:][partner], share)
            logits = self.segmenter(torch.cat([images[:rows], mixed]))
            labels = labels + cross_entropy_dice(logits[:rows], label)
            target = mix(target, target[partner], share)
            consistency = consistency + squared_difference(logits[rows:].softmax(dim=1), target)
        weight = options.weight(step - start, self.problem.iterations - start)
        loss = options.supervised_weight * labels + weight * consistency
        return loss, {"labels": labels, "mixed": consistency, "consistency_weight": weight}


def low_frequencies(images: Tensor, share: float, magnitude: bool) -> Tensor:
    """Return what the lowest frequencies of images (B, channels, H, W) show.

    Args:
        images: the images.
        share: share of the frequencies along each axis that count as low.
        magnitude: whether the absolute value is taken, which loses the sign.
    """
    kept = torch.ones(images.shape[-2:], dtype=torch.bool)
    for dim, side in enumerate(images.shape[-2:]):
        count = max(1, round(share * side))
        frequency = (torch.fft.fftfreq(side) * side).round()
        low = (frequency >= -(count // 2)) & (frequency < count - count // 2)
        kept &= low[:, None] if dim == 0 else low
    low = torch.fft.ifft2(torch.fft.fft2(images) * kept.to(images.device))
    found: Tensor = low.abs() if magnitude else low.real
    return found
