"""Which validation chooses the best checkpoint."""

import math

from diffrect.training.checkpoints.best import BestSoFar


def test_the_best_is_the_first_with_the_highest_dice() -> None:
    best, steps = BestSoFar(), []
    for step, dice in enumerate([0.0, 0.4, 0.3, 0.4, 0.5, 0.1], start=1):
        best.judge(dice, step)
        steps.append(best.step)
    assert steps == [1, 2, 2, 2, 5, 5]
    assert (best.dice, best.last_dice, best.last_step) == (0.5, 0.1, 6)


def test_the_last_state_is_the_best_where_there_is_nothing_to_choose_by() -> None:
    best = BestSoFar()
    assert (best.step, best.last_step) == (None, 0)
    for step in (3, 6):
        best.judge(math.nan, step)
        assert (best.step, best.last_step) == (step, step)
    assert best.dice == -math.inf
    assert math.isnan(best.last_dice)
    # The first that is defined is the highest.
    best.judge(0.0, 9)
    assert (best.dice, best.step) == (0.0, 9)
