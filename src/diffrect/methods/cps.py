"""CPS: two networks give each other hard pseudo-labels.

Chen, Yuan, Zeng, Wang, "Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision",
CVPR 2021.

- L_s: the supervised loss of both networks; here 1/2 (cross-entropy + Dice) of each.
- L_cps = CE(p_1, y_2) + CE(p_2, y_1), y_k = argmax p_k without gradient, no threshold.
- Total: L_s + w L_cps.

Both networks have the same architecture, start from weights of their own and see the same images;
the first one predicts. CPS was published for natural images, with L_cps on labelled images too and
a constant w of 1.5. Here, as in the medical benchmark SSL4MIS, L_cps is on unlabelled rows and w
rises to 0.1; `cross_rows`, `consistency_weight` and `ramp_share` restore the former. The CutMix
variant of the publication is left out. Two optimisers after one backward pass are one optimiser of
both networks' parameters, because SGD moves each parameter on its own. The benchmark's rate decays
one iteration earlier.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.data.batch import Batch
from diffrect.data.view_options import SSL4MIS_VIEWS
from diffrect.methods.base import Method, Problem, Update
from diffrect.methods.consistency import ConsistencyOptions
from diffrect.methods.losses import cross_entropy, cross_entropy_dice


@dataclass(frozen=True)
class CPSOptions(ConsistencyOptions):
    """Settings of CPS."""

    cross_rows: Literal["unlabelled", "all"] = "unlabelled"
    """Rows on which the networks teach each other."""


class CPS(Method):
    """Two segmenters, each learning labels and the other's predictions."""

    Options = CPSOptions
    presets = {"reference": SSL4MIS_VIEWS}  # noqa: RUF012
    strong_views = 0

    def __init__(self, problem: Problem, options: CPSOptions) -> None:
        super().__init__(problem, options)
        self.other = problem.make_network()

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser of both networks."""
        return {"segmenter": self.sgd(nn.ModuleList([self.segmenter, self.other]))}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of L_s + w L_cps."""
        rows, options = batch.labelled, self.options
        one, two = self.segmenter(batch.weak), self.other(batch.weak)
        supervised = cross_entropy_dice(one[:rows], batch.label)
        supervised = supervised + cross_entropy_dice(two[:rows], batch.label)
        first = rows if options.cross_rows == "unlabelled" else 0
        crossed = cross_pseudo_supervision(one[first:], two[first:])
        yield options.update(supervised, crossed, options.weight(step, self.problem.iterations))


def cross_pseudo_supervision(one: Tensor, two: Tensor) -> Tensor:
    """Return L_cps of the logits (B, classes, H, W) of two networks."""
    labels = one.detach().argmax(dim=1), two.detach().argmax(dim=1)
    return cross_entropy(one, labels[1]) + cross_entropy(two, labels[0])
