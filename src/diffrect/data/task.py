"""The description of what is segmented, shared by stores, models, checkpoints and methods."""

from dataclasses import dataclass, fields
from typing import Any

from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import THIRD_AXIS, check_policy

_MOST_CHANNELS = 2**10


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

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Task":
        """Return the task that `to_dict` wrote; other keys are ignored.

        Raises:
            InputError, KeyError, TypeError, ValueError: the values describe no task, or one whose
                numbers would fill the memory.
        """
        channels, classes = values["channels"], tuple(values["classes"])
        if type(channels) is not int or not 0 < channels <= _MOST_CHANNELS:
            raise ValueError(f"channels {channels!r}")
        if not 2 <= len(classes) <= 255 or not all(isinstance(n, str) for n in classes):
            raise ValueError(f"{len(classes)} classes")
        strange = [name for name in classes if not name.isprintable()]
        if strange:
            raise ValueError(f"a class called {strange[0]!r}")
        axis = values.get("axis", THIRD_AXIS)  # older files predate the choice
        check_policy(axis)
        Intensity.parse(values["intensity"])
        return cls(channels, classes, values["intensity"], axis)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as checkpoints and JSON hold them."""
        return {
            "channels": self.channels,
            "classes": list(self.classes),
            "intensity": self.intensity,
            "axis": self.axis,
        }

    def difference(self, other: "Task") -> str | None:
        """Return the name of the first field in which two tasks differ, None if they are equal."""
        names = (field.name for field in fields(self))
        return next((name for name in names if getattr(self, name) != getattr(other, name)), None)
