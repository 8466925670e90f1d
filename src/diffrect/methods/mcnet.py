"""MC-Net+: one encoder, three decoders, each matching the others' sharpened predictions.

Wu, Ge, Zhang, Xu, Zhang, Xia, Cai, "Mutual Consistency Learning for Semi-supervised Medical Image
Segmentation", Medical Image Analysis 81, 2022 (MC-Net+; MCNetV2 in its code).

- Decoders differ in how they enlarge maps: 1x1 convolution and bilinear, transposed convolution,
  1x1 convolution and nearest. They share the encoder's maps, dropout included.
- Sharpening: s(p) = p^(1/T) / (p^(1/T) + (1 - p)^(1/T)), T = 0.1, for each class on its own: with
  more than two classes the result does not sum to 1.
- Total: sum_d 1/2 Dice(p_d) on labelled rows + w(i) sum_(d != e) mean |p_d - s(p_e)|^2 on all rows.
  The released Dice loss lacks the factor 2 and so is half the usual one plus 1/2, hence the 1/2.

As in the released code, the gradient goes through s(p_e) too; `detach` stops it there. The code
keeps the learning rate constant: `rate_decay` = false, as in preset `reference`. Its w(i) is one
iteration ahead. The first decoder predicts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.data.batch import Batch
from diffrect.data.view_options import OLDER_SSL4MIS_VIEWS
from diffrect.errors import InputError
from diffrect.methods.base import Method, Problem, Update
from diffrect.methods.consistency import ConsistencyOptions, squared_difference
from diffrect.methods.losses import dice_loss
from diffrect.networks.unet import Decoder, crop_like


@dataclass(frozen=True)
class MCNetOptions(ConsistencyOptions):
    """Settings of MC-Net+; `supervised_weight` is that of each decoder's Dice loss."""

    temperature: float = 0.1
    """T of the sharpening; above 0, at most 1."""
    detach: bool = False
    """Whether sharpened predictions are targets without gradient."""
    rate_decay: bool = True
    """Whether the learning rate decays as in all methods; false = constant, as in the code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature <= 1:
            raise InputError(
                "temperature",
                "a number above 0, up to 1",
                got=f"{self.temperature:g}",
                setting="temperature",
            )


class MCNet(Method):
    """The segmenter and two more decoders on its encoder."""

    Options = MCNetOptions
    presets = {"reference": {**OLDER_SSL4MIS_VIEWS, "rate_decay": False}}  # noqa: RUF012
    strong_views = 0
    needs_unet = True

    def __init__(self, problem: Problem, options: MCNetOptions) -> None:
        super().__init__(problem, options)
        self.transposed = Decoder(problem.classes, upsampling="transposed")
        self.nearest = Decoder(problem.classes, upsampling="nearest")

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser of the encoder and all decoders."""
        return {"segmenter": self.sgd(nn.ModuleList(self.children()))}

    def set_rates(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """Let the learning rate decay, or keep it constant as the released code does."""
        if self.options.rate_decay:
            super().set_rates(optimizers, step)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of Dice on labels and of the decoders' mutual consistency."""
        rows, options = batch.labelled, self.options
        maps = self.unet.encode(batch.weak)
        decoders = (self.unet.decoder, self.transposed, self.nearest)
        parts = [crop_like(decoder(maps), batch.weak).softmax(dim=1) for decoder in decoders]
        supervised = torch.stack([dice_loss(p[:rows], batch.label) for p in parts]).sum()
        consistency = mutual_consistency(parts, options.temperature, options.detach)
        weight = options.weight(step, self.problem.iterations)
        yield options.update(supervised, consistency, weight)


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Return s(p) of each class on its own, values in [0, 1]."""
    power = probabilities.pow(1 / temperature)
    return power / (power + (1 - probabilities).pow(1 / temperature))


def mutual_consistency(
    predictions: Sequence[Tensor], temperature: float, detach: bool = False
) -> Tensor:
    """Return the sum over ordered pairs d != e of mean (p_d - s(p_e))^2.

    Args:
        predictions: p_d, probabilities (B, C, H, W) of each decoder.
        temperature: T.
        detach: stop the gradient at s(p_e).
    """
    sharp = [sharpen(p.detach() if detach else p, temperature) for p in predictions]
    pairs = permutations(range(len(predictions)), 2)
    terms = [squared_difference(predictions[d], sharp[e]) for d, e in pairs]
    return torch.stack(terms).sum()
