"""The description of what is segmented, shared by stores, models, checkpoints and methods."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from diffrect.console import count, summary
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import THIRD_AXIS, check_policy

_MOST_CHANNELS = 2**10

Symmetries = Literal["none", "flips", "turns"]
"""What may be done to a slice so that its labels, moved along with it, stay right.

`none`: nothing; `flips`: mirroring its rows, its columns or both; `turns`: that and quarter turns.
"""
SYMMETRIES: tuple[str, ...] = get_args(Symmetries)


@dataclass(frozen=True)
class Task:
    """A description of what is segmented; a model is evaluated only on stores of an equal task."""

    channels: int
    """Image channels."""
    classes: tuple[str, ...]
    """Names of the class codes; the first is the background."""
    intensity: str
    """Rule by which raw intensities become network input, such as "minmax", see `Intensity`."""
    axis: str = THIRD_AXIS
    """Rule by which volumes are cut into slices, see `choose_slicing`."""
    symmetries: Symmetries | None = field(default=None, compare=False)
    """What may be done to slices, see `Symmetries`; None if nobody has said so. Tasks that say
    different things of it are equal."""

    def __repr__(self) -> str:
        """Return it in one line, however many classes there are."""
        return summary(self, f"{describe_task(self)}, intensity {self.intensity}, axis {self.axis}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: object = "task") -> "Task":
        """Return the task that `to_dict` wrote; other keys are ignored.

        Args:
            values: its fields by name.
            where: what messages call the place that they come from, such as the file.

        Raises:
            InputError: the values describe no task, or one whose numbers would fill the memory.
        """
        fields = Fields(values, where)
        channels = fields.whole("channels", 1, _MOST_CHANNELS)
        classes = fields.texts("classes")
        if not 2 <= len(classes) <= 255 or len(set(classes)) < len(classes):
            raise fields.refuse("classes", "2 to 255 names that differ")
        if not all(name.isprintable() for name in classes):
            raise fields.refuse("classes", "names that can be shown")
        axis = fields.text("axis", THIRD_AXIS)  # older files predate the choice
        intensity = fields.text("intensity")
        try:
            check_policy(axis)
            Intensity.parse(intensity)
        except InputError as error:
            raise InputError(where, "a rule that is known", reason=error) from None
        symmetries = fields.get("symmetries", None)
        if symmetries is not None and symmetries not in SYMMETRIES:
            raise fields.refuse("symmetries", f"one of {', '.join(SYMMETRIES)}")
        return cls(channels, classes, intensity, axis, symmetries)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as checkpoints and JSON hold them."""
        return {
            "channels": self.channels,
            "classes": list(self.classes),
            "intensity": self.intensity,
            "axis": self.axis,
            "symmetries": self.symmetries,
        }

    def difference(self, other: "Task") -> str | None:
        """Return the name of the first field in which two tasks differ, None if they are equal."""
        names = (field.name for field in fields(self) if field.compare)
        return next((name for name in names if getattr(self, name) != getattr(other, name)), None)


def describe_task(task: Task) -> str:
    """Return in words what is segmented: `1 channel, classes background, heart`."""
    return f"{count(task.channels, 'channel')}, classes {', '.join(task.classes)}"
