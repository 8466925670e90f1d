"""ICL (INCL): class queries learned on labelled slices find the classes in unlabelled ones.

Zhu, Yang, Liu, Zhang, "Inherent Consistent Learning for Accurate Semi-supervised Medical Image
Segmentation", MIDL 2023. Two heads of class-query attention read the decoder's maps in training:
SSPA draws class maps M_L of labelled and M_C of unlabelled rows with queries of its own; USCL draws
M_U of unlabelled rows with the mean over the labelled rows of the queries that SSPA ended with.

L = S(p, y) + S(M_L, y) + D(M_U, p_u) + 50 MSE(M_U, M_C), S = cross-entropy + Dice, D = soft Dice
without squares against the segmenter's own softmax p_u; p_u and M_C have no gradient; the last
three terms are means over the scales. Weights are constant; there is no teacher and no noise.
Labelled and unlabelled rows go through the network separately. The heads are dropped when
predicting.

The token layers are square in the number of tokens: 2 (N^2 + N) weights per scale, 573 million per
head at 256 x 256 (about 14 GB in training), 36 million at 128 x 128. `token_grid` = 32 pools the
maps to at most 32 x 32 tokens first, which departs from the publication and must be reported with
the result. The released code starts at a learning rate of 0.01, its script at 0.1; here it is the
common one. Queries are split into attention heads class by class; the released code mixes classes
and heads there (`raw_reshape`, on in preset `reference`, which also has the authors' weak views).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from diffrect.checks import at_least, within
from diffrect.data.batch import Batch
from diffrect.data.view_options import OLDER_SSL4MIS_VIEWS
from diffrect.distributed.sums import shared_mean, shared_sum
from diffrect.methods.base import Method, Problem, Update
from diffrect.methods.losses import cross_entropy_dice
from diffrect.networks.class_attention import ClassHead
from diffrect.networks.unet import crop_like


@dataclass(frozen=True)
class INCLOptions:
    """Settings of ICL."""

    token_grid: int | None = None
    """Largest side of the grid of tokens; None = one token per pixel of the decoder's maps, as
    published."""
    consistency_weight: float = 50.0
    """Weight of the squared difference of both heads' maps of unlabelled rows."""
    drop_path: float = 0.02
    """Share of rows whose residual branches the heads drop."""
    raw_reshape: bool = False
    """Whether queries are reshaped into attention heads without a transpose, as in the released
    code."""

    second_norm: bool = True
    """Whether tokens are normalised a second time before they are attended to, as in the released
    code; false = as versions of this package did until it was noticed."""

    def __post_init__(self) -> None:
        if self.token_grid is not None:
            at_least("token_grid", self.token_grid, 1, 256)
        within("consistency_weight", self.consistency_weight, 0, 1e6)
        within("drop_path", self.drop_path, 0, 0.99)


class INCL(Method):
    """The segmenter and the heads SSPA (`labelled_head`) and USCL (`unlabelled_head`)."""

    Options = INCLOptions
    presets = {"reference": {**OLDER_SSL4MIS_VIEWS, "raw_reshape": True}}  # noqa: RUF012
    strong_views = 0
    needs_unet = True

    def __init__(self, problem: Problem, options: INCLOptions) -> None:
        super().__init__(problem, options)
        padded = -(-problem.size // 16) * 16
        largest = options.token_grid or padded
        sides = [min(padded // part, largest) for part in (8, 4, 2)]
        self.labelled_head, self.unlabelled_head = (
            ClassHead(
                problem.classes,
                sides,
                learns_queries=learns,
                drop_path=options.drop_path,
                raw_reshape=options.raw_reshape,
                second_norm=options.second_norm,
            )
            for learns in (True, False)
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser of the segmenter and both heads."""
        return {"segmenter": self.sgd(nn.ModuleList(self.children()))}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of L."""
        known, unknown = batch.weak[: batch.labelled], batch.weak[batch.labelled :]
        logits, features = self.segment(known)
        supervised = cross_entropy_dice(logits, batch.label)
        maps, queries = self.labelled_head(features)
        drawn = [cross_entropy_dice(enlarge(m, known), batch.label) for m in maps]
        proxy = torch.stack(drawn).mean()

        logits, features = self.segment(unknown)
        with torch.no_grad():
            targets, _ = self.labelled_head(features)
        means = [shared_mean(query.mean(dim=0, keepdim=True)) for query in queries]
        maps, _ = self.unlabelled_head(features, means)
        unsupervised = transfer_loss(maps, targets, logits, self.options.consistency_weight)
        total = supervised + proxy + unsupervised
        logs = {
            "supervised": supervised,
            "unsupervised": unsupervised,
            "labelled_maps": proxy,
            "segmenter_total": total,
        }
        yield Update("segmenter", total, logs)

    def segment(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits, and the decoder's maps at 1/8, 1/4 and 1/2 of the resolution."""
        features = self.unet.decoder.features(self.unet.encode(images))
        return crop_like(self.unet.decoder.logits(features[-1]), images), features[:3]


def transfer_loss(
    maps: Sequence[Tensor], targets: Sequence[Tensor], logits: Tensor, weight: float
) -> Tensor:
    """Return D(M_U, p_u) + weight MSE(M_U, M_C), means over the scales.

    Args:
        maps: logits of M_U, (B, K, h, w) at each scale.
        targets: logits of M_C, of the same shapes.
        logits: the segmenter's logits (B, K, H, W), whose softmax is p_u.
        weight: of the squared difference.
    """
    own = logits.detach().softmax(dim=1)
    terms = []
    for drawn, target in zip(maps, targets, strict=True):
        difference = F.mse_loss(drawn.softmax(dim=1), target.detach().softmax(dim=1))
        terms.append(soft_dice_loss(enlarge(drawn, logits).softmax(dim=1), own))
        terms.append(weight * difference)
    return torch.stack(terms).sum() / len(maps)


def enlarge(maps: Tensor, like: Tensor) -> Tensor:
    """Resize maps (B, K, h, w) to `like` (B, ?, H, W), without its padding to multiples of 16."""
    padded = [-(-side // 16) * 16 for side in like.shape[-2:]]
    return crop_like(F.interpolate(maps, padded, mode="bilinear", align_corners=False), like)


def soft_dice_loss(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return 1 - (2 sum p q + e) / (sum p + sum q + e), e = 1e-5, a mean over classes.

    Sums are over all rows and pixels of probabilities (B, K, H, W).
    """
    overlap = shared_sum((probabilities * target).sum((0, 2, 3)))
    size = shared_sum((probabilities + target).sum((0, 2, 3)))
    return (1 - (2 * overlap + 1e-5) / (size + 1e-5)).mean()
