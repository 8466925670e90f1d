"""The trials of a method, as FOLDER/METHOD.trials.json and the folders of its trainings hold them.

The file lists the values of each trial before it is trained; its score and cost are read from the
folder of the training. So the file is all that a tuning needs to go on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrect.comparison.cost import TrainingCost
from diffrect.comparison.matrix import Cell
from diffrect.comparison.report.results import read_result
from diffrect.comparison.tuning.space import Space, space_text, with_values
from diffrect.config import Role, TrainConfig, config_to_dict, names_with
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.evaluation.scores_file import read_scores
from diffrect.json_files import read_json, write_json
from diffrect.runs.names import metrics_file

FORMAT = 1


@dataclass(frozen=True)
class Trial:
    """A training with some values of the tuned settings.

    Attributes:
        number: from 0, the trial with the method's own settings.
        values: the tuned settings.
        dice: mean Dice on the held-out patients, in [0, 1]; None if it failed or is not trained.
        step: iteration of the checkpoint that was scored.
        cost: cost of the training.
        failed: why there is no score, in one line; empty if there is one.
    """

    number: int
    values: Mapping[str, Any]
    dice: float | None = None
    step: int = 0
    cost: TrainingCost = field(default_factory=TrainingCost)
    failed: str = ""


class TrialsFile:
    """The file of a method's trials.

    Args:
        folder: folder of the tuning.
        config: the method's training, without tuned values.
        space: what is tuned.
        seed: of the search.

    Raises:
        InputError: the file is there and was made with other settings, or cannot be read.
    """

    def __init__(self, folder: Path, config: TrainConfig, space: Space, seed: int) -> None:
        self.folder, self.config = folder, config
        self.method = re.sub(r"[^\w.-]+", "_", config.method)
        self.path = folder / f"{self.method}.trials.json"
        settings = config_to_dict(config)
        self.asked = {
            "format": FORMAT,
            "seed": seed,
            "space": space_text(space),
            "config": {k: v for k, v in settings.items() if k not in names_with(Role.MACHINE)},
        }
        self.values: list[dict[str, Any]] = []
        self.failures: dict[int, str] = {}
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        content = Fields(read_json(self.path), self.path)
        for name, asked in self.asked.items():
            found = content.get(name)
            if found != asked:
                raise InputError(
                    self.path,
                    f"a tuning with the {name} of this one",
                    found="another",
                    hint="tune in another folder",
                )
        for each in content.each("trials"):
            self.values.append(dict(each.fields("values").values))
            if each.get("failed", None) is not None:
                self.failures[len(self.values) - 1] = each.text("failed")

    def add(self, values: Mapping[str, Any]) -> None:
        """Remember the values of the next trial."""
        self.values.append(dict(values))
        self._write()

    def fail(self, number: int, reason: str) -> None:
        """Remember that a trial has failed, and why."""
        self.failures[number] = reason
        self._write()

    def _write(self) -> None:
        trials: list[dict[str, Any]] = [{"values": values} for values in self.values]
        for number, reason in self.failures.items():
            trials[number]["failed"] = reason
        write_json(self.path, {**self.asked, "trials": trials})

    def cell(self, number: int) -> Cell:
        """Return the training of a trial."""
        config = with_values(self.config, self.values[number])
        return Cell(f"{self.method}-trial{number:02d}", config)

    def trial(self, number: int) -> Trial:
        """Return a trial with its score, if its training has one."""
        trial = Trial(number, self.values[number], failed=self.failures.get(number, ""))
        file = self.folder / self.cell(number).folder / metrics_file("val")
        if trial.failed or not file.is_file():
            return trial
        result = read_result(file)
        dice = Fields(read_scores(file), file).fields("mean").number("dice", 0, 1)
        return Trial(number, trial.values, dice, result.step, result.cost)

    @property
    def trials(self) -> list[Trial]:
        """All trials so far."""
        return [self.trial(number) for number in range(len(self.values))]
