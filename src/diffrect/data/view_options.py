"""Options of the views, and what the presets set of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffrect.checks import within
from diffrect.errors import InputError
from diffrect.plugins.names import NAME
from diffrect.plugins.settings import VIEW_OPTIONS

_PROBABILITIES = (
    "turn_probability",
    "rotation_probability",
    "jitter_probability",
    "blur_probability",
    "cutmix_probability",
)


@dataclass(frozen=True)
class ViewOptions:
    """How slices become the weak and the strong view. The names are unique among all options."""

    interpolation: Literal["linear", "nearest"] = "linear"
    """How images are resized in training, validation and prediction; `nearest` also resizes the
    predicted label in place of the probabilities."""
    eight_bit: bool = False
    """Cut training images, not those of validation, to 256 grey levels as the reference does."""
    geometry: Literal["single", "authors"] = "single"
    """`single`: resizing and the three options below are one resampling. `authors`: slices are
    resized first, then flipped left-right and up-down with probability 0.5 each, then with
    probability 0.5 rotated by 0 to 358 whole degrees, corners black."""
    rotation_degrees: float = 20.0
    """Largest rotation of the weak view, in degrees either way, if `geometry` is single."""
    rotation_probability: float = 1.0
    """Probability that a slice without a quarter turn is rotated, if `geometry` is single."""
    scale_range: float = 0.25
    """Largest natural logarithm of the factor by which the weak view is enlarged or shrunk about
    its centre, if `geometry` is single: 0.25 is up to 28 %. Each axis differs by up to a fifth of
    it."""
    turn_probability: float = 0.0
    """Probability that a slice gets a random quarter turn and a flip instead of a rotation, if
    `geometry` is single."""
    jitter_low: float = 0.5
    """Smallest random factor of the strong view's contrast, brightness and sharpness."""
    jitter_high: float = 1.5
    """Largest random factor of the strong view's contrast, brightness and sharpness."""
    jitter_probability: float = 0.8
    """Probability of each of the three changes of contrast, brightness and sharpness, which come in
    random order."""
    blur_sigma: float = 1.5
    """Largest standard deviation, in pixels, of the Gaussian blur that the strong view may get."""
    blur_probability: float = 0.5
    """Probability that the strong view is blurred."""
    cutmix_probability: float = 1.0
    """Probability that an unlabelled row's strong view gets a box of another row pasted in."""
    cutmix_area: float = 0.5
    """Largest share of the slice that the box of CutMix covers, at least 0.02, the smallest."""
    cutmix_from: Literal["all", "unlabelled"] = "all"
    """Rows that the box of CutMix may show: any other row, or only other unlabelled rows."""
    weak_view: str | None = None
    """Your own function (images, labels, generator) -> (images, labels), as MODULE:FUNCTION, which
    changes the weak view; the strong view is made of the result."""
    strong_view: str | None = None
    """Your own function (images, generator) -> images, as MODULE:FUNCTION, which makes the strong
    view in place of contrast, brightness, sharpness and blur; CutMix follows."""

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            within(name, getattr(self, name), 0, 1)
        within("cutmix_area", self.cutmix_area, 0.02, 1)
        within("rotation_degrees", self.rotation_degrees, 0, 180)
        within("scale_range", self.scale_range, 0, 1)
        within("blur_sigma", self.blur_sigma, 0, 100)
        within("jitter_high", self.jitter_high, 0, 100)
        within("jitter_low", self.jitter_low, 0, self.jitter_high)
        for name in VIEW_OPTIONS:
            value = getattr(self, name)
            if value is not None and not NAME.fullmatch(value):
                raise InputError(name, "MODULE:FUNCTION", got=value, setting=name)


VIEW_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "reference": {
        "interpolation": "nearest",
        "eight_bit": True,
        "geometry": "authors",
        "scale_range": 0.0,  # this and the next are read with geometry=single
        "turn_probability": 0.5,
        "jitter_low": 1.0,
        "jitter_high": 1.1,
        "jitter_probability": 0.5,
        "blur_sigma": 1.0,
        "cutmix_probability": 0.0,
    },
}

SSL4MIS_VIEWS: Mapping[str, Any] = {
    "geometry": "single",
    "turn_probability": 0.5,
    "rotation_degrees": 20.0,
    "eight_bit": False,
}
"""Views of the rivals whose code is part of the SSL4MIS benchmark, in preset `reference`."""

OLDER_SSL4MIS_VIEWS: Mapping[str, Any] = {**SSL4MIS_VIEWS, "rotation_probability": 0.5}
"""Views of the rivals whose code grew from an older version of the benchmark, in `reference`."""
