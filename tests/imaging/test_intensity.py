"""Normalisation: the values that become 0 and 1, the same slice by slice as all at once."""

from pathlib import Path

import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.imaging import intensity as module
from diffrect.imaging.intensity import Intensity, scale

RAW = np.random.default_rng(0).normal(300, 50, (6, 9, 8))


def normalised(text: str, values: np.ndarray) -> np.ndarray:
    return scale(values, Intensity.parse(text).limits(values, "scan.nii"))[:, 0]


def test_minmax() -> None:
    expected = (RAW - RAW.min()) / (RAW.max() - RAW.min())
    np.testing.assert_array_equal(normalised("minmax", RAW), expected.astype(np.float32))


@pytest.mark.parametrize("few", [1, 1 << 18])
@pytest.mark.parametrize("kind", ["float", "integers", "constant part", "outlier"])
def test_percentiles_are_exact(kind: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", few)
    values = RAW.copy()
    if kind == "integers":
        values = RAW.astype(np.int16)
    elif kind == "constant part":
        values[:3] = 300.5
    elif kind == "outlier":
        values[0, 0, 0] = 1e12
    for low, high in ((0.5, 99.5), (10, 90), (0, 100), (45, 100)):
        a, b = np.percentile(values, (low, high), method="nearest")
        expected = np.clip((values - a) / (b - a), 0, 1)
        found = normalised(f"percentile:{low}:{high}", values)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_zscore_is_mapped_to_the_middle_of_8_deviations() -> None:
    z = (RAW - RAW.mean()) / RAW.std()
    np.testing.assert_allclose(normalised("zscore", RAW), np.clip(z / 8 + 0.5, 0, 1), atol=1e-6)


def test_window() -> None:
    values = np.array([-1000.0, -160, 40, 240, 3000]).reshape(1, 1, 5)
    np.testing.assert_allclose(normalised("window:40:400", values)[0, 0], [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize("text", ["minmax", "percentile:0.5:99.5", "zscore", "window:-600:1500"])
def test_text_and_back(text: str) -> None:
    assert str(Intensity.parse(text)) == text


def test_each_channel_has_its_own_limits() -> None:
    both = np.stack([RAW, 1000 * RAW + 7], axis=-1)
    for text in ("minmax", "percentile", "zscore"):
        scaled = scale(both, Intensity.parse(text).limits(both, "scan.nii"))
        assert scaled.shape == (6, 2, 9, 8)
        np.testing.assert_allclose(scaled[:, 0], scaled[:, 1], atol=1e-6)


def test_normalised_values() -> None:
    values = np.linspace(0.25, 0.75, 8).reshape(2, 2, 2)
    assert Intensity().limits(values, "a.h5", normalised=True).tolist() == [[0], [1]]
    with pytest.raises(InputError, match=r"a\.h5: expected raw intensities, found .* scaled"):
        Intensity.parse("window:40:400").limits(values, "a.h5", normalised=True)
    # z-scores are the same whatever the scale
    raw, scaled = (
        Intensity.parse("zscore").limits(v, "a", normalised=v is values)
        for v in (100 * values, values)
    )
    np.testing.assert_allclose(raw, 100 * scaled)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "--intensity: expected one of minmax, percentile, zscore, window, got 'best'"),
        ("percentile:9:1", "--percentiles: expected 0 <= LOW < HIGH <= 100, got 9 and 1"),
        ("percentile:1", "--intensity percentile: expected percentiles LOW and HIGH"),
        ("window:0:0", "--window: expected a level and a width above 0, got 0 and 0"),
        ("window:a:b", "--intensity window:a:b: expected numbers after 'window:'"),
        ("minmax:1", "--intensity minmax: expected no numbers"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Intensity.parse(text)


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="--window: expected --intensity window with it, got zsc"):
        Intensity.of("zscore", window=(1, 2))
    with pytest.raises(InputError, match="--intensity window: expected --window LEVEL WIDTH"):
        Intensity.of("window")
    assert str(Intensity.of("percentile")) == "percentile:0.5:99.5"


def test_images_without_a_usable_range() -> None:
    values = np.zeros((4, 10, 10))
    values[0, 0, 0] = 1
    with pytest.raises(InputError, match=r"scan.nii: .* percentiles 0.5 and 99.5: every one is 0"):
        Intensity.parse("percentile").limits(values, "scan.nii")


@pytest.mark.parametrize("kind", ["minmax", "percentile", "zscore", "window:2:4"])
@pytest.mark.parametrize("value", [0.0, -7.0, 1e20])
def test_one_constant_channel_of_several_becomes_zeros(kind: str, value: float) -> None:
    values = np.empty((3, 4, 5, 2))
    values[..., 0] = np.arange(60).reshape(3, 4, 5)
    values[..., 1] = value
    limits = Intensity.parse(kind).limits(values, Path("scan.nii"))
    found = scale(values, limits)
    assert (found[:, 1] == 0).all()
    alone = Intensity.parse(kind).limits(values[..., 0], Path("scan.nii"))
    np.testing.assert_array_equal(limits[:, :1], alone)
    values[..., 0] = 3
    with pytest.raises(InputError, match="expected varying intensities: every voxel is 3"):
        Intensity.parse(kind).limits(values, Path("scan.nii"))


EXTREMES = [
    *(0.0, 5e-324, 1e-310, 2.2e-308, 1e-162, 1e-20, 1.0, 1 + 2**-52, 1e16, 1e16 + 2, 1e150),
    *(1e153, 1e160, 1e300, np.nextafter(1e300, np.inf), 8e307, 1.7e308),
]


@pytest.mark.parametrize(
    "text",
    [
        *("minmax", "percentile:0:100", "percentile:5:95", "zscore", "window:0:1e-320"),
        *("window:1e16:8", "window:-1e300:1.7e308", "window:1.2e308:1e308", "window:0:1.7e308"),
    ],
)
def test_what_is_scaled_is_finite_and_in_its_range_or_refused(text: str) -> None:
    """Few voxels of extreme values, in any mixture: no warning, no NaN, nothing out of order."""
    generator = np.random.default_rng(0)
    pool = np.array([*EXTREMES, *(-value for value in EXTREMES)])
    scaled = 0
    for trial in range(300):
        kinds = generator.choice(pool, generator.integers(1, 5))
        values = generator.choice(kinds, (2, 3, 2, 2) if trial % 9 == 0 else (2, 3, 4))
        if trial % 5 == 0:
            values = np.clip(values, -3e38, 3e38).astype(np.float32)
        try:
            found = scale(values, Intensity.parse(text).limits(values, Path("scan.nii")))
        except InputError as error:
            line = str(error)
        else:
            scaled += 1
            assert found.dtype == np.float32
            assert found.min() >= 0
            assert found.max() <= 1
            channels = values if values.ndim == 4 else values[..., np.newaxis]
            for number, after in enumerate(np.moveaxis(found, 1, 0)):
                order = channels[..., number].ravel().argsort(kind="stable")
                assert (np.diff(after.ravel()[order]) >= 0).all()
            continue
        assert line.startswith("scan.nii: ")
    assert scaled > 30


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int8, np.float16])
@pytest.mark.parametrize("text", ["minmax", "percentile:0:100", "zscore", "window:0:100"])
def test_the_ends_of_number_types(kind: type, text: str) -> None:
    ends = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(kind)
    values = np.array([ends.min, ends.max, 0, 1, 1, ends.max], kind).reshape(1, 2, 3)
    found = normalised(text, values)
    assert found.min() >= 0
    assert found.max() <= 1
    close = np.array([ends.max, ends.max, ends.max - kind(1)], kind).reshape(1, 1, 3)
    if kind in (np.int64, np.uint64):
        with pytest.raises(InputError, match=r"every voxel is .* but for rounding"):
            normalised(text, close)


@pytest.mark.parametrize("unit", [1e-300, 1e-155, 1e-20, 1e155, 1e290])
def test_zscores_do_not_depend_on_the_unit(unit: float) -> None:
    np.testing.assert_allclose(
        normalised("zscore", RAW * unit), normalised("zscore", RAW), atol=1e-6
    )


@pytest.mark.parametrize("numbers", [(1e16, 1.0), (1e300, 1.0), (1.7e308, 1e308), (5.0, 5e-324)])
def test_a_window_narrower_than_rounding_is_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="--window: expected a width above rounding at its level"):
        Intensity("window", numbers)


@pytest.mark.parametrize("numbers", [(1234567.25, 0.1), (40.0, 400.0), (1e-7, 1 / 3)])
def test_text_keeps_all_digits(numbers: tuple[float, float]) -> None:
    assert Intensity.parse(str(Intensity("window", numbers))).numbers == numbers
    assert str(Intensity("window", (40.0, 400.0))) == "window:40:400"
