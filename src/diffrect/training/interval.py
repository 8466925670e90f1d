"""How often a training validates unless it is said: often enough, at a tenth of its work at most.

The interval follows from counts and not from a clock, so that a resumed training validates when one
without a stop would.
"""

import math
from dataclasses import replace

from diffrect.config import TrainConfig
from diffrect.data.split import Split
from diffrect.data.store import Store

SHARE = 0.1
"""Largest part of the work of the iterations that validations take."""
# Work per slice, in forward passes of the segmenter: one that trains also has a backward pass, of
# twice the work; one that is scored is also read, resized to its own grid and compared.
_TRAINED, _SCORED = 3.0, 1.5


def validation_interval(iterations: int, scored: int, batch: int) -> int:
    """Return the iterations between validations.

    They are a 150th of all, as in the papers (200 of 30,000), or more where that would take more
    than `SHARE` of the work.

    Args:
        iterations: length of the training.
        scored: slices that a validation labels.
        batch: slices of a batch.
    """
    usual = max(1, round(iterations / 150))
    least = math.ceil(_SCORED * scored / (SHARE * _TRAINED * batch))
    if least <= usual:
        return usual
    return min(iterations, 10 * math.ceil(least / 10))


def scored_slices(store: Store, split: Split) -> int:
    """Return the number of slices that a validation labels."""
    return sum(block.stop - block.start for block in store.validation_blocks(split))


def with_interval(config: TrainConfig, store: Store, split: Split) -> TrainConfig:
    """Return a configuration that says how often to validate, if it does not yet."""
    if config.validate_every is not None:
        return config
    batch = config.batch_labelled + config.batch_unlabelled
    networks = 2 if config.average else 1  # the average is scored, too
    scored = networks * scored_slices(store, split)
    interval = validation_interval(config.iterations, scored, batch)
    return replace(config, validate_every=interval)
