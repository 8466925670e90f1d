"""The estimate of `compare --dry-run`: the work that is timed is the work that will be done."""

from typing import Any

import pytest

import diffrect.comparison.estimate as estimate
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.inference.segmenter import Segmenter


def test_the_validation_that_is_timed_resamples_as_the_training(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[Segmenter] = []
    inner = estimate.validate

    def validate(segmenter: Segmenter, *given: Any) -> object:
        timed.append(segmenter)
        return inner(segmenter, *given)

    monkeypatch.setattr(estimate, "validate", validate)
    config = TrainConfig(method="supervised", spacing=1.5, crop=48, iterations=4, batch_labelled=2)
    assert estimate.timed_minutes(config, store) > 0
    assert [(segmenter.spacing, segmenter.size) for segmenter in timed] == [(1.5, 48)]
