"""ICT: the prediction of a mixture is the mixture of the predictions.

Verma, Lamb, Kannala, Bengio, Lopez-Paz, "Interpolation Consistency Training for Semi-Supervised
Learning", IJCAI 2019. With Mix_l(a, b) = l a + (1 - l) b and l ~ Beta(a, a), the consistency is
mean |f(Mix_l(u_j, u_k)) - Mix_l(f'(u_j), f'(u_k))|^2, f' the mean teacher.

ICT was published for classification. Decay 0.99, a = 0.2 and weight 0.1 are those of the SSL4MIS
benchmark, which mixes the first half of the unlabelled rows into the second. Here, as in the
publication, each unlabelled row is mixed with another row of the batch, so batches may be odd; each
row has its own l, as in the benchmark. Beta(0.2, 0.2) is U-shaped, so most mixtures are nearly
pure. The student sees labelled rows and mixtures in one pass, the teacher all clean unlabelled rows
in another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrect.data.batch import Batch
from diffrect.data.view_options import SSL4MIS_VIEWS
from diffrect.errors import InputError
from diffrect.methods.base import Update
from diffrect.methods.consistency import TeacherMethod, TeacherOptions, squared_difference
from diffrect.methods.losses import cross_entropy_dice


@dataclass(frozen=True)
class ICTOptions(TeacherOptions):
    """Settings of ICT."""

    mixing: float = 0.2
    """Both parameters of the Beta distribution of the mixing factor; above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self.mixing)


class ICT(TeacherMethod):
    """The student learns labels, and mixed predictions of the teacher on mixed rows."""

    Options = ICTOptions
    presets = {"reference": SSL4MIS_VIEWS}  # noqa: RUF012

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of labels and of mixed predictions."""
        rows, images = batch.labelled, batch.weak[batch.labelled :]
        share, partner = draw_mixture(len(images), self.options.mixing)
        share, partner = share.to(images), partner.to(images.device)
        target = self.teach(images)
        target = mix(target, target[partner], share)
        mixed = mix(images, images[partner], share)
        logits = self.segmenter(torch.cat([batch.weak[:rows], mixed]))
        supervised = cross_entropy_dice(logits[:rows], batch.label)
        consistency = squared_difference(logits[rows:].softmax(dim=1), target)
        weight = self.options.weight(step, self.problem.iterations)
        yield self.options.update(supervised, consistency, weight)


def check_mixing(mixing: float) -> None:
    """Check the parameter of a Beta distribution.

    Raises:
        InputError: it is not positive and finite.
    """
    if not 0 < mixing < float("inf"):
        raise InputError("mixing", "a positive number", got=f"{mixing:g}", setting="mixing")


def draw_mixture(rows: int, mixing: float) -> tuple[Tensor, Tensor]:
    """Draw the share of the partner (rows,) and the partner of each row.

    The partner is another row, if there is more than one.

    Args:
        rows: number of rows to mix.
        mixing: both parameters of the Beta distribution.
    """
    share = torch.distributions.Beta(mixing, mixing).sample((rows,))
    away = torch.randint(1, max(rows, 2), ())
    return share, (torch.arange(rows) + away) % rows


def mix(own: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return (1 - share) own + share other, with a share per row."""
    share = share[:, None, None, None]
    return (1 - share) * own + share * other
