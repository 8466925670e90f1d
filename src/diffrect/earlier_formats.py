"""What presets were when files of earlier configuration formats were written.

A default that changes changes trainings that are resumed and models that are loaded, unless what it
was is said here. Whoever changes one raises `diffrect.config.CONFIG_FORMAT`, and adds the value of
before to the format before.
"""

from collections.abc import Mapping
from typing import Any

DIFFRECT_OF_FORMAT_4: Mapping[str, Any] = {"joined_foreground": False}
"""What method diffrect's options were by default when files of version 4 were written, where they
are not that now."""
DIFFRECT_OF_FORMAT_3: Mapping[str, Any] = {
    **DIFFRECT_OF_FORMAT_4,
    "given_guidance": 0.5,
    "correction_weight": 1.0,
    "decoded_share": 0.0,
}
"""The same for files of version 3."""
DIFFRECT_OF_FORMAT_2: Mapping[str, Any] = {
    **DIFFRECT_OF_FORMAT_3,
    "rectifier": "slice",
    "rectify_share": 1 / 30,
    "consistency_target": "teacher",
    "teacher_statistics": "student",
    "rectification_ramp": False,
    "rectifier_interval": 2,
    "relabel_from": 0.16,
    "relabel_share": 0.1,
    "largest_part": True,
    "least_part": 1.0,
    "diffusion_from": 0.0,
}
"""The same for files of versions 1 and 2."""
_DIFFRECT = {1: DIFFRECT_OF_FORMAT_2, 2: DIFFRECT_OF_FORMAT_2, 3: DIFFRECT_OF_FORMAT_3}

VIEWS_OF_FORMAT_4: Mapping[str, Any] = {"scale_range": 0.0}
"""What the views of preset `default` were, of all methods, until files of version 4."""

_REFERENCE_OF_FORMAT_1: Mapping[str, Any] = {
    "geometry": "single",
    "two_classes": "black_red",
    "rectify_after": False,
}
_RIVALS_REFERENCE_OF_FORMAT_3: Mapping[str, Any] = {
    "geometry": "authors",
    "eight_bit": True,
    "rotation_probability": 1.0,
}
_RIVALS_OF_FORMAT_3 = ("mean_teacher", "uamt", "ict", "cps", "mcnet", "incl", "unimatch", "bcp")


def earlier_options(method: str, preset: str, version: int = 1) -> Mapping[str, Any]:
    """Return what a preset was to an earlier version, where it is not that now.

    Args:
        method: name of the method.
        preset: name of the preset.
        version: the format that the version wrote.
    """
    options: dict[str, Any] = {}
    if preset == "default":
        options.update(VIEWS_OF_FORMAT_4)
        if method == "diffrect":
            options.update(_DIFFRECT.get(version, DIFFRECT_OF_FORMAT_4))
    if version < 4 and preset == "reference":
        if method in _RIVALS_OF_FORMAT_3:
            options.update(_RIVALS_REFERENCE_OF_FORMAT_3)
        if method == "unimatch":
            options.update(perturbed_rows="unlabelled", box_labels="training")
    if version < 4 and method == "incl":
        options.update(second_norm=False)
    if version < 2 and preset == "reference":
        options.update(_REFERENCE_OF_FORMAT_1)
    return options
