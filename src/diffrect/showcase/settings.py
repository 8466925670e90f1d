"""Settings of the demo: patients, methods, length of the trainings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffrect.config import TrainConfig
from diffrect.errors import InputError

METHODS: Mapping[str, str] = {"supervised": "supervised", "diffrect": "DiffRect"}
"""The methods that are compared, and how tables and pictures call them."""


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demo; with the defaults it takes a few minutes on two cores."""

    patients: int = 24
    """Synthetic patients, two scans each."""
    validation: int = 4
    """Patients by which checkpoints are chosen."""
    test: int = 6
    """Held-out patients that are reported. All others train, the first of them labelled."""
    phantom_seed: int = 0
    """Seed of the synthetic patients."""
    size: int = 64
    """Slices are resized to size x size pixels."""
    iterations: int = 900
    """Length of both trainings."""
    rectify_from: int = 300
    """First iteration that learns from rectified pseudo-labels."""
    validate_every: int = 150
    """Iterations between validations."""
    batch_labelled: int = 3
    """Labelled slices per batch; the supervised method takes only labelled slices."""
    batch_unlabelled: int = 3
    """Unlabelled slices per batch."""
    seed: int = 1337
    """Seed of both trainings."""

    def __post_init__(self) -> None:
        least = self.validation + self.test + 2
        if min(self.validation, self.test) < 1 or self.patients < least:
            expected = f"at least {least}, to validate, to test and two to train"
            raise InputError("patients", expected, got=self.patients, setting="patients")

    def lasting(self, iterations: int) -> "DemoSettings":
        """Return the settings for another length of the trainings; the schedule scales with it.

        Args:
            iterations: the new length.
        """
        scale = iterations / self.iterations
        return replace(
            self,
            iterations=iterations,
            rectify_from=round(self.rectify_from * scale),
            validate_every=max(1, round(self.validate_every * scale)),
        )

    def train_config(self, method: str, split_file: Path) -> TrainConfig:
        """Return the configuration of one method's training.

        Args:
            method: its name, one of `METHODS`.
            split_file: the file that names the patients.
        """
        return TrainConfig(
            method=method,
            split_file=split_file,
            size=self.size,
            iterations=self.iterations,
            options={"rectify_from": self.rectify_from} if method == "diffrect" else {},
            validate_every=self.validate_every,
            batch_labelled=self.batch_labelled,
            batch_unlabelled=self.batch_unlabelled,
            seed=self.seed,
        )
