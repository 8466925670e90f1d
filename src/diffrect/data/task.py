"""What a model segments, as every checkpoint and exported model remembers it."""

from dataclasses import dataclass
from typing import Any

from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import THIRD_AXIS, check_policy

_MOST_CHANNELS = 2**10


@dataclass(frozen=True)
class Task:
    """What is segmented: remembered by every checkpoint."""

    channels: int
    """Image channels."""
    classes: tuple[str, ...]
    """Names of the class codes; the first is the background."""
    intensity: str
    """How raw intensities become network input, see `Intensity`."""
    axis: str = THIRD_AXIS
    """How volumes are cut into slices, see `choose_slicing`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "channels": self.channels,
            "classes": list(self.classes),
            "intensity": self.intensity,
            "axis": self.axis,
        }


def task_from_dict(values: dict[str, Any]) -> Task:
    """The inverse of `Task.to_dict`.

    Raises:
        InputError, KeyError, TypeError, ValueError: it is none, or would fill the memory.
    """
    channels, classes = values["channels"], tuple(values["classes"])
    if type(channels) is not int or not 0 < channels <= _MOST_CHANNELS:
        raise ValueError(f"channels {channels!r}")
    if not 2 <= len(classes) <= 255 or not all(isinstance(n, str) for n in classes):
        raise ValueError(f"{len(classes)} classes")
    strange = [name for name in classes if not name.isprintable()]
    if strange:
        raise ValueError(f"a class called {strange[0]!r}")
    axis = values.get("axis", THIRD_AXIS)  # older checkpoints know no other
    check_policy(axis)
    Intensity.parse(values["intensity"])
    return Task(channels, classes, values["intensity"], axis)
