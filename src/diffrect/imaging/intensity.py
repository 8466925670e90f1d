"""Raw intensities -> the [0, 1] that views and networks work in; remembered by stores and models.

Every normalisation picks two values of a channel, `low` and `high`, which become 0 and 1:

    minmax                 smallest and largest value of the volume, as in the reference
    percentile:0.5:99.5    these percentiles of the volume
    zscore                 mean - 4 sd and mean + 4 sd of the volume: z / 8 + 1 / 2
    window:LEVEL:WIDTH     level - width / 2 and level + width / 2, for CT

Values outside are cut off: the strong view of training clamps to [0, 1] anyway.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffrect.checks import one_of
from diffrect.errors import InputError

KINDS = ("minmax", "percentile", "zscore", "window")
PERCENTILES = (0.5, 99.5)
_DEVIATIONS = 4
_LEAST_RANGE, _MOST_RANGE = 1e-140, 1e140  # whose squares float64 can hold and sum
_BINS = 1 << 16
_FEW = 1 << 18  # values that are few enough to sort at once


@dataclass(frozen=True)
class Intensity:
    """A normalisation of intensities.

    Attributes:
        kind: one of `KINDS`.
        numbers: the two percentiles, or level and width of the window; empty for the others.
    """

    kind: str = "minmax"
    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        one_of("--intensity", self.kind, KINDS)
        if self.kind == "percentile":
            low, high = self._two("percentiles LOW and HIGH")
            if not 0 <= low < high <= 100:
                given = f"{low:g} and {high:g}"
                raise InputError("--percentiles", "0 <= LOW < HIGH <= 100", got=given)
        elif self.kind == "window":
            level, width = self._two("a window, LEVEL and WIDTH")
            if not (math.isfinite(level) and 0 < width < math.inf):
                given = f"{level:g} and {width:g}"
                raise InputError("--window", "a level and a width above 0", got=given)
            low, high = level - width / 2, level + width / 2
            if not (math.isfinite(low) and low < high < math.inf):
                given = f"{level:.17g} and {width:g}"
                raise InputError("--window", "a width above rounding at its level", got=given)
        elif self.numbers:
            raise InputError(f"--intensity {self.kind}", "no numbers", got=self.numbers)

    def _two(self, expected: str) -> tuple[float, float]:
        if len(self.numbers) != 2:
            raise InputError(f"--intensity {self.kind}", expected, got=self.numbers)
        return self.numbers[0], self.numbers[1]

    def __str__(self) -> str:
        return ":".join([self.kind, *map(_exact, self.numbers)])

    @classmethod
    def of(
        cls,
        kind: str,
        percentiles: tuple[float, float] | None = None,
        window: tuple[float, float] | None = None,
    ) -> "Intensity":
        """Return the normalisation that options of the command line describe.

        Args:
            kind: value of --intensity.
            percentiles: value of --percentiles; None for `PERCENTILES`.
            window: value of --window, level and width.

        Raises:
            InputError: there is no such kind, or the numbers belong to another one.
        """
        for option, numbers, owner in (
            ("--percentiles", percentiles, "percentile"),
            ("--window", window, "window"),
        ):
            if numbers is not None and kind != owner:
                raise InputError(option, f"--intensity {owner} with it", got=kind)
        if kind == "percentile":
            return cls(kind, percentiles or PERCENTILES)
        if kind == "window" and window is None:
            raise InputError("--intensity window", "--window LEVEL WIDTH with it", got="none")
        return cls(kind, window or ())

    @classmethod
    def parse(cls, text: str) -> "Intensity":
        """Return the normalisation of a text such as "window:40:400"; the inverse of `str`.

        Raises:
            InputError: there is no such normalisation.
        """
        kind, *numbers = str(text).split(":")
        if kind == "percentile" and not numbers:
            return cls(kind, PERCENTILES)
        try:
            return cls(kind, tuple(float(number) for number in numbers))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"--intensity {text}", f"numbers after '{kind}:'") from None

    def limits(
        self, slices: np.ndarray, path: Path | None, *, normalised: bool = False
    ) -> np.ndarray:
        """Return the values that become 0 and 1, (2, C) float64.

        Args:
            slices: (Z, H, W) or (Z, H, W, C) of any number type; read one slice at a time.
            path: the file, for messages.
            normalised: the values are in [0, 1] already, and minmax leaves them as they are.

        Raises:
            InputError: all channels are constant, or `normalised` values lie outside [0, 1].
        """
        channels = slices if slices.ndim == 4 else slices[..., np.newaxis]
        each = [channels[..., number] for number in range(channels.shape[3])]
        if len(each) > 1 and any(one.min() < one.max() for one in each):
            pairs = [self._limits_of_many(one, path, normalised) for one in each]
        else:
            pairs = [self._limits(one, path, normalised) for one in each]
        return np.array(pairs).T

    def _limits_of_many(
        self, channel: np.ndarray, path: Path | None, normalised: bool
    ) -> tuple[float, float]:
        """Return the limits of a channel beside others, which may be constant: it becomes zeros."""
        low = float(channel.min())
        if low < float(channel.max()) or not math.isfinite(low):
            return self._limits(channel, path, normalised)
        return low, low + max(1.0, abs(low))

    def _limits(
        self, channel: np.ndarray, path: Path | None, normalised: bool
    ) -> tuple[float, float]:
        low, high = float(channel.min()), float(channel.max())
        if not high > low:
            reason = f"every voxel is {low:g}"
            if channel.min() < channel.max():
                reason += " but for rounding"
            raise InputError(path, "varying intensities", reason=reason)
        if not math.isfinite(high - low):
            raise InputError(path, problem=f"intensities from {low:g} to {high:g} are too large")
        if normalised:
            return self._limits_of_normalised(channel, path, low, high)
        low, high = self._chosen(channel, path, low, high)
        if not (math.isfinite(low) and 0 < high - low < math.inf):
            expected = f"intensities that {self} can scale"
            raise InputError(path, expected, reason=f"its limits are {low:g} and {high:g}")
        return low, high

    def _chosen(
        self, channel: np.ndarray, path: Path | None, low: float, high: float
    ) -> tuple[float, float]:
        """Return the limits of a channel from `low` to `high`."""
        if self.kind == "window":
            level, width = self.numbers
            return level - width / 2, level + width / 2
        if self.kind == "percentile":
            low, high = (_percentile(channel, p, low, high) for p in self.numbers)
            if not high > low:
                between = "{:g} and {:g}".format(*self.numbers)
                expected = f"varying intensities between the percentiles {between}"
                raise InputError(path, expected, reason=f"every one is {low:g}")
        elif self.kind == "zscore":
            return _deviations(channel, low, high)
        return low, high

    def _limits_of_normalised(
        self, channel: np.ndarray, path: Path | None, low: float, high: float
    ) -> tuple[float, float]:
        """Return the limits of a channel whose values are in [0, 1] already.

        Args:
            channel: (Z, H, W).
            path: the file, for messages.
            low: the smallest value of the channel.
            high: the largest value.

        Raises:
            InputError: values lie outside [0, 1], or a window of raw intensities is asked for.
        """
        if low < -1e-6 or high > 1 + 1e-6:
            expected = "intensities already scaled to [0, 1]"
            raise InputError(path, expected, found=f"{low:g} to {high:g}")
        if self.kind == "window":
            found = "intensities already scaled to [0, 1]"
            hint = "--intensity window needs the scanner's"
            raise InputError(path, "raw intensities", found=found, hint=hint)
        return (0.0, 1.0) if self.kind == "minmax" else self._limits(channel, path, False)


def scale(slices: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Scale slices (Z, H, W[, C]) of any number type to (Z, C, H, W) float32 in [0, 1].

    Args:
        slices: the raw intensities.
        limits: (2, C), the values of each channel that become 0 and 1, see `Intensity.limits`.
    """
    channels = slices if slices.ndim == 4 else slices[..., np.newaxis]
    # float64 keeps the differences of integers and of large intensities.
    values = np.moveaxis(channels, 3, 1).astype(np.float64)
    low, high = (one[:, np.newaxis, np.newaxis] for one in limits)
    with np.errstate(over="ignore"):  # what is too far outside is cut off
        values -= low
        values /= high - low
    return np.ascontiguousarray(np.clip(values, 0, 1), dtype=np.float32)


def _exact(number: float) -> str:
    """Return a number in as few digits as tell it from its neighbours."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _deviations(channel: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return four standard deviations below and above the mean, computed one slice at a time.

    Args:
        channel: (Z, H, W), from `low` to `high`.
        low: the smallest value of the channel.
        high: the largest value.
    """
    # Where squares or sums could overflow or vanish, values are measured along their range.
    plain = _LEAST_RANGE < high - low < _MOST_RANGE
    start, unit = (0.0, 1.0) if plain else (low, high - low)

    def measured(one: np.ndarray) -> np.ndarray:
        return one if plain else (one.astype(np.float64) - start) / unit

    mean = sum(float(measured(one).sum(dtype=np.float64)) for one in channel) / channel.size
    squares = sum(float(((measured(one).astype(np.float64) - mean) ** 2).sum()) for one in channel)
    away = _DEVIATIONS * math.sqrt(squares / channel.size)
    return start + (mean - away) * unit, start + (mean + away) * unit


def _percentile(channel: np.ndarray, percent: float, low: float, high: float) -> float:
    """Return the value of the nearest rank without sorting a copy of the volume.

    The values from `low` to `high` are counted in bins. Only the bin that holds the rank is sorted,
    or counted in finer bins if it holds many values.

    Args:
        channel: (Z, H, W); read one slice at a time.
        percent: the rank as a percentage, 0 to 100.
        low: the smallest value of the channel.
        high: the largest value.
    """
    rank = round(percent / 100 * (channel.size - 1))
    while high > low:
        counts = np.zeros(_BINS, np.int64)
        below = 0
        for values in _slices(channel):
            below += int((values < low).sum())
            counts += np.bincount(_bin(values, low, high), minlength=_BINS)
        reached = below + np.cumsum(counts)
        wanted = int(np.searchsorted(reached, rank, side="right"))
        parts = (v[(v >= low) & (v <= high)] for v in _slices(channel))
        if counts[wanted] <= _FEW:
            found = np.concatenate([v[_bin(v, low, high) == wanted] for v in parts])
            start = rank - int(reached[wanted] - counts[wanted])
            return float(np.partition(found, start)[start])
        extremes = [
            (chosen.min(), chosen.max())
            for v in parts
            if (chosen := v[_bin(v, low, high) == wanted]).size
        ]
        low, high = min(one for one, _ in extremes), max(one for _, one in extremes)
    return float(low)


def _slices(channel: np.ndarray) -> Iterator[np.ndarray]:
    return (one.ravel().astype(np.float64) for one in channel)


def _bin(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the bin of each value from `low` to `high`; other values are left out."""
    inside = values[(values >= low) & (values <= high)]
    return np.minimum((inside - low) / (high - low) * _BINS, _BINS - 1).astype(np.int64)
