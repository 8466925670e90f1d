"""The course of a training, from its log: validation Dice per class, and the losses."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from diffrect.evaluation.metrics import METRICS
from diffrect.reporting.charts import Series, colour_class, lines
from diffrect.runs.log import read_log
from diffrect.runs.names import LOG_FILE

_COST = ("step", "kind", "minutes", "processor_minutes", "seconds_per_iteration", "peak_memory_mib")
MOST_LOSSES = 12  # charts of losses


class Curves(NamedTuple):
    """What a log says: a chart of validations, charts of losses by name, and remarks."""

    validation: Markup | None
    losses: list[tuple[str, Markup]]
    remarks: list[str]
    minutes: float | None


def read_curves(run: Path, classes: Sequence[str]) -> Curves:
    """Return the charts of a training's log; none of what the log does not have.

    Args:
        run: folder of the training.
        classes: names of the foreground classes.
    """
    log = read_log(run / LOG_FILE)
    remarks = [str(line["text"]) for line in log if line["kind"] == "remark" and "text" in line]
    minutes = [m for line in log if math.isfinite(m := _number(line, "minutes"))]
    train = [line for line in log if line["kind"] == "train"]
    names = list(dict.fromkeys(name for line in train for name in line if name not in _COST))
    return Curves(
        _validation([line for line in log if line["kind"] == "val"], classes),
        [(name, _loss(train, name)) for name in names[:MOST_LOSSES]],
        remarks,
        minutes[-1] if minutes else None,
    )


def _validation(log: Sequence[dict[str, object]], classes: Sequence[str]) -> Markup | None:
    if not log:
        return None
    steps = [_number(line, "step") for line in log]
    scale = METRICS["dice"].scale
    keys = [(f"dice_{name}", name, colour_class(code)) for code, name in enumerate(classes, 1)]
    keys.append(("dice", "mean", "mean"))
    series = [
        Series(name, style, steps, [scale * _number(line, key) for line in log])
        for key, name, style in keys
    ]
    title = "Validation Dice of each class by iteration"
    return lines(title, series, "iteration", METRICS["dice"].label)


def _loss(log: Sequence[dict[str, object]], name: str) -> Markup:
    there = [line for line in log if name in line]
    steps = [_number(line, "step") for line in there]
    series = Series(name, "mean", steps, [_number(line, name) for line in there])
    return lines(f"{name} by iteration", [series], "iteration", "")


def _number(line: dict[str, object], name: str) -> float:
    """Return a number of a line of the log; NaN where there is none."""
    value = line.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
