"""What a training costs: time by the clock and by the processor, and memory."""

import math
import sys
import time

import torch


class Meter:
    """Counts the time of this session of a training, and adds that of the sessions before.

    Args:
        minutes: by the clock, of earlier sessions.
        processor_minutes: of earlier sessions; None if they did not count them.
    """

    def __init__(self, minutes: float = 0.0, processor_minutes: float | None = 0.0) -> None:
        self.minutes_before, self.processor_minutes_before = minutes, processor_minutes
        self.started = self.validation_started = time.perf_counter()
        self.processor_started = time.process_time()
        self.validating = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of this session, by the clock."""
        return time.perf_counter() - self.started

    @property
    def training_seconds(self) -> float:
        """Seconds of this session, by the clock and without its validations."""
        return self.seconds - self.validating

    def validation_begins(self) -> None:
        """Note the start of a validation."""
        self.validation_started = time.perf_counter()

    def validation_ends(self) -> None:
        """Add the time since `validation_begins` to that of the validations."""
        self.validating += time.perf_counter() - self.validation_started

    def spent(self) -> dict[str, float]:
        """Return the minutes of all sessions, by the clock and by the processor.

        The latter are those that the threads of this process computed, so that other work on the
        machine, or a halt, hardly changes them. A training that was begun before they were counted
        does not report them: a part of them would mislead.
        """
        spent = {"minutes": self.minutes_before + self.seconds / 60}
        if self.processor_minutes_before is not None:
            processor = (time.process_time() - self.processor_started) / 60
            spent["processor_minutes"] = self.processor_minutes_before + processor
        return spent


def peak_memory_mib() -> float:
    """Return the most memory in use at a time: that of the GPU if there is one, else the process's.

    NaN where the system does not tell it.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)
