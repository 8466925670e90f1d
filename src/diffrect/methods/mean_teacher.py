"""Mean Teacher: a network agrees with the moving average of itself under noise.

Tarvainen, Valpola, "Mean teachers are better role models: Weight-averaged consistency targets
improve semi-supervised deep learning results", NeurIPS 2017.

- Teacher: theta'_t = a theta'_(t-1) + (1 - a) theta_t, a = min(1 - 1 / (t + 1), 0.99).
- Consistency: J = mean |f(x, theta', noise') - f(x, theta, noise)|^2 of the
  softmaxes, weighted by w(i). The teacher's noise is on its input; both networks use dropout.

Mean Teacher was published for classification. Of the ways to carry it to segmentation, this is that
of the SSL4MIS benchmark: decay 0.99, weight 0.1, consistency on unlabelled rows only, and a student
that sees the clean weak view. The benchmark's 2-D script leaves the consistency out for the first
1,000 of 30,000 iterations, where w(i) is below 0.001: `consistency_from`, on in preset `reference`
only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.data.view_options import SSL4MIS_VIEWS
from diffrect.methods.base import Update
from diffrect.methods.consistency import (
    TeacherMethod,
    TeacherOptions,
    squared_difference,
    with_noise,
)
from diffrect.methods.losses import cross_entropy_dice


@dataclass(frozen=True)
class MeanTeacherOptions(TeacherOptions):
    """Settings of Mean Teacher."""

    consistency_from: float = 0.0
    """Share of the training before which the consistency loss has no weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("consistency_from", self.consistency_from, 0, 1)


class MeanTeacher(TeacherMethod):
    """The student learns labels, and the teacher's soft predictions of unlabelled rows."""

    Options = MeanTeacherOptions
    presets = {"reference": {**SSL4MIS_VIEWS, "consistency_from": 1 / 30}}  # noqa: RUF012

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of labels and of J."""
        rows, iterations = batch.labelled, self.problem.iterations
        weight = self.options.weight(step, iterations)
        if step < self.options.consistency_from * iterations:
            weight = 0.0
        target = self.teach(with_noise(batch.weak[rows:]))
        logits = self.segmenter(batch.weak)
        supervised = cross_entropy_dice(logits[:rows], batch.label)
        consistency = squared_difference(logits[rows:].softmax(dim=1), target)
        yield self.options.update(supervised, consistency, weight)
