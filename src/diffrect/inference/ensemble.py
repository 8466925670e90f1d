"""Several trained models that label together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from diffrect.console import summary
from diffrect.data.task import describe_task
from diffrect.errors import InputError
from diffrect.inference.average import Member
from diffrect.inference.model import Model
from diffrect.inference.predictor import Predictor
from diffrect.runs.names import Checkpoint


class Ensemble(Predictor):
    """Models whose probabilities are averaged on the scan's own grid; each counts alike.

    They segment the same classes of images with as many channels. They may differ in all else: the
    method, the size of the network's input, intensities, or the axis along which they cut.

    Example:
        >>> import diffrect
        >>> both = diffrect.Ensemble.load(["run", "run"])
        >>> labels = both.predict("scan.nii.gz")
        >>> (labels == diffrect.Model.load("run").predict("scan.nii.gz")).all()
        np.True_

    Attributes:
        models: the models, two or more.
    """

    def __init__(self, models: Sequence[Model], names: Sequence[object] | None = None) -> None:
        """Take models.

        Args:
            models: one or more.
            names: what messages call them; by default their numbers, from 1.

        Raises:
            InputError: there is none, or two differ in their channels or in the names of their
                classes.
        """
        if not models:
            raise InputError("RUN", "at least one model", got="none")
        self.models = tuple(models)
        names = names or [f"model {number}" for number in range(1, len(models) + 1)]
        first = models[0]
        for name, model in zip(names, models, strict=True):
            if model.channels != first.channels:
                expected = f"the channels of {names[0]}, {first.channels}"
                raise InputError(name, expected, got=model.channels)
            if model.classes != first.classes:
                expected = f"the classes of {names[0]}, {', '.join(first.classes)}"
                raise InputError(name, expected, got=", ".join(model.classes))

    @classmethod
    def load(
        cls,
        runs: Sequence[Path | str],
        checkpoint: Checkpoint = "best",
        device: str = "auto",
    ) -> "Ensemble":
        """Return the models of RUN folders, or of files that `export` wrote, see `Model.load`.

        Raises:
            InputError: one cannot be loaded, or they do not segment the same.
        """
        return cls([Model.load(run, checkpoint, device) for run in runs], runs)

    def __repr__(self) -> str:
        members = ", ".join(f"{one.config.method} (iteration {one.step})" for one in self.models)
        return summary(self, f"{members}; {describe_task(self.models[0].task)}")

    def __iter__(self) -> Iterator[Model]:
        """Yield the models."""
        return iter(self.models)

    @property
    def members(self) -> tuple[Member, ...]:
        """The segmenters and their tasks, see `segment_by_all`."""
        return tuple(member for model in self.models for member in model.members)
