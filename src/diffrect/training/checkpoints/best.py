"""What the validations of a training have said so far, which chooses its best checkpoint."""

import math
from dataclasses import dataclass


@dataclass
class BestSoFar:
    """The best validation of a training, and its last one.

    Attributes:
        dice: the highest Dice of a validation so far, in [0, 1]; -inf before the first that is
            defined.
        step: iterations done when the best checkpoint was made; None before.
        last_dice: the Dice of the last validation; NaN before the first, or if it is undefined.
        last_step: iterations done at the last validation; 0 before the first.
    """

    dice: float = -math.inf
    step: int | None = None
    last_dice: float = math.nan
    last_step: int = 0

    def judge(self, dice: float, step: int) -> None:
        """Remember a validation, as the best if its Dice is the highest so far, or undefined.

        Args:
            dice: what it has found; NaN if there is nothing to choose by.
            step: iterations done.
        """
        self.last_dice, self.last_step = dice, step
        better = dice > self.dice
        if better:
            self.dice = dice
        # With nothing to choose by, the last state is the best.
        if better or math.isnan(dice):
            self.step = step
