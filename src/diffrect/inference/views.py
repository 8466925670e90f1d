"""Which mirrored and rotated views of a slice a prediction averages (test-time augmentation).

A network labels views that it has not been trained on far worse, and where a class is told by its
side, a mirrored slice has other labels. So `auto` takes views that the model was trained on, and
of those only what the task allows.
"""

from typing import Literal, NamedTuple

from diffrect.checks import one_of
from diffrect.config import TrainConfig
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.methods.registry import as_trained
from diffrect.networks.mean import Views

Tta = Literal["off", "auto", "flips", "turns", "rotations"]
"""Views to average: none, those that suit the model, or those that the user names."""
TTA: tuple[Tta, ...] = ("off", "auto", "flips", "turns", "rotations")

_SHARE = 0.75  # of the training's largest rotation: the angle of the views


class Trained(NamedTuple):
    """What a model saw of its slices while it was trained.

    Attributes:
        turned: whether they were mirrored, and turned by quarters.
        degrees: largest rotation either way.
    """

    turned: bool
    degrees: float


def trained_views(config: TrainConfig) -> Trained:
    """Return what a model saw of its slices, by the configuration that it remembers."""
    _, options = as_trained(config)
    if options.geometry == "authors":
        return Trained(turned=True, degrees=180.0)
    return Trained(options.turn_probability > 0, options.rotation_degrees)


def angle_of(config: TrainConfig) -> float:
    """Return the degrees by which rotated views of a model's slices are rotated.

    15 degrees either way for a model that was trained on rotations by up to 20.
    """
    return _SHARE * min(trained_views(config).degrees, 20.0)


def choose_views(tta: Tta, task: Task, config: TrainConfig, name: object) -> Views | None:
    """Return the views to average; None if there is only the slice as it is.

    Args:
        tta: what the user wants.
        task: what the model segments.
        config: how it was trained.
        name: the model, for messages.

    Raises:
        InputError: there are no views that suit the model.
    """
    one_of("--tta", tta, TTA)
    if tta == "off":
        return None
    trained = trained_views(config)
    if tta in ("flips", "turns"):
        return tta
    if tta == "auto" and trained.turned and task.symmetries != "none":
        return "flips" if task.symmetries == "flips" else "turns"
    if not trained.degrees:
        raise InputError(f"--tta {tta}", f"a model that was trained on such views, not {name}")
    return "rotations"


def describe_untrained(views: Views | None, task: Task, config: TrainConfig) -> str | None:
    """Return why views may make labels worse; None if they suit the model."""
    if views in (None, "rotations"):
        return None
    if not trained_views(config).turned:
        return "the model was not trained on mirrored slices, and may label them far worse"
    wider = views == "turns" and task.symmetries == "flips"
    if task.symmetries == "none" or wider:
        return f"its store says that only this keeps labels right: {task.symmetries}"
    return None
