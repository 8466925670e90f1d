"""SIGTERM at any moment ends a command within seconds; repeated, it ends as if never stopped."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attack_fixtures import TRAINING, Fixtures
from attack_inputs import Attempt, command
from crash_ends import file_differences, run_differences
from diffrect.cli.evaluate import Evaluate
from diffrect.cli.predict import Predict
from diffrect.cli.prepare import Prepare
from diffrect.cli.train import Train


@dataclass
class Stop(Attempt):
    """A command to stop, and to repeat until it is done.

    Attributes:
        again: the repetition.
        after: seconds until SIGTERM.
        begun: what is in the output once there is something to repeat; before, it starts anew.
    """

    again: Callable[[], int] = lambda: 0
    after: float = 0.0
    begun: str = ""


def stopped(fixtures: Fixtures, place: Path, draw: random.Random) -> Stop:
    """Stop a command at a random moment."""
    verb = draw.choice(("prepare", "train", "predict", "evaluate"))
    out, after = Path("out"), draw.choice((0.05, 0.2, 0.5, 1.0)) * draw.random()
    if verb == "prepare":
        first: Any = Prepare(fixtures.decathlon, out, workers=1, quiet=True)
        return Stop(
            verb,
            command(first),
            kept=("out",),
            again=command(replace(first, resume=True)),
            after=after,
            check=lambda folder: file_differences(folder / "out", fixtures.store),
        )
    if verb == "train":
        first = Train(fixtures.store, out, TRAINING, quiet=True)
        again = replace(first, resume=True)
        return Stop(
            verb,
            command(first),
            kept=("out",),
            again=command(again),
            after=after,
            begun="config.yaml",
            # A stop saves once more, so the checkpoint before the last may be another.
            check=lambda folder: [
                each
                for each in run_differences(folder / "out", fixtures.run)
                if each != "previous.pt differs"
            ],
        )
    if verb == "predict":
        parsed: Any = Predict(
            fixtures.run, out, (fixtures.scan,), device="cpu", overwrite=True, quiet=True
        )
        return Stop(
            verb,
            command(parsed),
            kept=("out",),
            again=command(parsed),
            after=after,
            check=lambda folder: file_differences(folder / "out", fixtures.labels),
        )
    shutil.copytree(fixtures.run, place / "out")
    scores = (fixtures.run / "metrics_val.json").read_text()
    parsed = Evaluate(out, device="cpu", quiet=True)

    def check(folder: Path) -> list[str]:
        mine = (folder / "out" / "metrics_val.json").read_text()
        return [] if len(mine) > len(scores) / 2 else ["the scores are cut short"]

    return Stop(
        verb, command(parsed), kept=("out",), again=command(parsed), after=after, check=check
    )


STOPS: dict[str, tuple[Any, int]] = {"stops": (stopped, 4)}
"""The kind, with how often it has its turn."""
