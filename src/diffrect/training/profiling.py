"""Where the time and the memory of a training go: `diffrect train --profile`."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, schedule

from diffrect.console import stderr_console

WARM_UP, RECORDED = 3, 5  # iterations; the first ones allocate memory and choose kernels
LARGEST = 10


def operations(events: Iterable[Any]) -> list[Any]:
    """Return the rows of a profile that are operations, so that every microsecond counts once.

    The work of a GPU is in a profile twice: as that of an operation and as that of its kernels.
    """
    return [
        event
        for event in events
        if event.device_type.name == "CPU" and not event.key.startswith("ProfilerStep")
    ]


class StepProfiler:
    """Records a few iterations while the context lasts; call `step` after each one.

    The trace is for chrome://tracing, Perfetto or TensorBoard's profiler plugin. At the end, the
    operations that took most time are printed, with the memory they allocated.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device, self.iterations = folder, device, 0
        self.recording = ExitStack()
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self.profiler = profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=WARM_UP, active=RECORDED, repeat=1),
            on_trace_ready=self.finish,
            profile_memory=True,
        )

    def __enter__(self) -> "StepProfiler":
        self.recording.enter_context(self.profiler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.recording.__exit__(kind, error, traceback)

    def step(self) -> None:
        """Note that an iteration has ended."""
        self.iterations += 1
        self.profiler.step()

    def finish(self, recorded: profile) -> None:
        """Write the trace and print the table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "trace.pt.trace.json.gz"
        recorded.export_chrome_trace(str(path))
        iterations = max(1, min(RECORDED, self.iterations - WARM_UP))
        console = stderr_console()
        console.print(self.table(recorded.key_averages(), iterations))
        console.print(f"{path}: open it in Perfetto, chrome://tracing or TensorBoard")

    def table(self, events: Any, iterations: int) -> Table:
        """Return the operations with the most time of their own, per iteration."""
        where = "device" if self.device.type == "cuda" else "cpu"
        ranked = sorted(operations(events), key=lambda e: -getattr(e, f"self_{where}_time_total"))
        total = sum(getattr(e, f"self_{where}_time_total") for e in ranked) or 1
        title = f"one iteration, mean of {iterations}: the {LARGEST} largest by {where} time"
        table = Table("operation", "ms", "share", "calls", "MB allocated", title=title)
        for event in ranked[:LARGEST]:
            taken = getattr(event, f"self_{where}_time_total")
            memory = getattr(event, f"self_{where}_memory_usage") / 1e6 / iterations
            table.add_row(
                event.key,
                f"{taken / 1e3 / iterations:.1f}",
                f"{100 * taken / total:.1f} %",
                f"{event.count / iterations:.0f}",
                f"{memory:.0f}",
            )
        return table
