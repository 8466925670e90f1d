"""Reading volumes, refusing broken ones, and writing labels on the grid of their input."""

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from diffrect.data.case import Case, check_case, image_slices, label_slices
from diffrect.errors import InputError
from diffrect.imaging.geometry import check_geometry
from diffrect.imaging.label_codes import list_codes, map_codes, whole_numbers
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume
from diffrect.imaging.write import write_labels
from support.tiny import write_nifti

GEOMETRY = (
    *("pixdim", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("xyzt_units", "dim_info"),
)


def raw_header(path: Path) -> nib.Nifti1Header:
    """Return the header as on disk, without nibabel's repairs."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return nib.Nifti1Header(content[:348], check=False)


def oblique_image(path: Path, shape: tuple[int, ...], kind: type = nib.Nifti1Image) -> Path:
    """Write an image with every kind of geometry set, some of it contradictory."""
    affine = np.array([[-1.4, 0.1, 0, 7], [0.2, 1.5, 0.3, -9], [0, 0.3, 5, 11], [0, 0, 0, 1.0]])
    values = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    image = kind(values, affine)
    image.header.set_qform(np.diag([-1.0, -1.0, 1.0, 1.0]), code=1)
    image.header["sform_code"] = 2
    image.header["pixdim"][0] = -1
    image.header["pixdim"][1:5] = (1.37, 1.37, 8.0, 0.03)
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"] = 900
    nib.save(image, path)
    return path


def test_spacing_is_pixdim_and_not_the_affine(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.int16), (1.5, 1.25, 10))
    volume = read_image(path)
    assert volume.spacing == (1.5, 1.25, 10.0)
    np.testing.assert_array_equal(volume.affine, np.eye(4))
    assert volume.array.shape == (2, 3, 4)
    assert volume.array.dtype == np.int16


@pytest.mark.parametrize(("unit", "millimetres"), [("meter", 1000), ("micron", 0.001), ("mm", 1)])
def test_metres_and_micrometres_become_millimetres(
    tmp_path: Path, unit: str, millimetres: float
) -> None:
    affine = np.diag([-1.5, 1.25, 4.0, 1.0])
    affine[:3, 3] = 7, -9, 11
    voxels = np.random.default_rng(0).integers(0, 900, (5, 6, 3)).astype(np.int16)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.spacing, millimetres * np.array([1.5, 1.25, 4]), rtol=1e-6)
    np.testing.assert_allclose(volume.affine[:3], millimetres * affine[:3], rtol=1e-6)
    itk = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose(volume.spacing, itk.GetSpacing(), rtol=1e-6)
    assert read_label(tmp_path / "a.nii.gz").spacing == volume.spacing
    write_labels(tmp_path / "b.nii.gz", np.zeros((5, 6, 3), np.uint8), volume)
    for field in GEOMETRY:
        written, given = (raw_header(tmp_path / name)[field] for name in ("b.nii.gz", "a.nii.gz"))
        assert written.tobytes() == given.tobytes(), field
    sitk.WriteImage(itk, str(tmp_path / "a.nrrd"))
    check_geometry(volume, read_image(tmp_path / "a.nrrd"), "its twin")


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.diag([1.5, 0, 4, 1])[:3]])
def test_an_sform_that_places_nothing_gives_way_to_the_qform(
    tmp_path: Path, rows: np.ndarray
) -> None:
    voxels = np.random.default_rng(0).integers(0, 900, (5, 6, 3)).astype(np.int16)
    affine = np.diag([-1.5, 1.25, 4.0, 1.0])
    affine[:3, 3] = 7, -9, 11
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[280:328] = rows.astype("<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    volume = read_image(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    (remark,) = volume.remarks
    assert remark == "its sform does not say where every axis points, so its qform is used"
    itk = sitk.ReadImage(str(tmp_path / "a.nii"))
    np.testing.assert_allclose(itk.GetOrigin(), (-7, 9, 11), atol=1e-5)


def test_a_single_slice_needs_no_spacing_across(tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "a.nii", np.ones((2, 3, 1), np.uint8), (1.5, 1.25, 4))
    content = bytearray(source.read_bytes())
    content[88:92] = bytes(4)  # pixdim[3]
    source.write_bytes(content)
    assert read_image(source).spacing == (1.5, 1.25, 1.0)
    write_labels(tmp_path / "b.nii", np.ones((2, 3, 1), np.uint8), read_image(source))
    assert read_label(tmp_path / "b.nii").spacing == (1.5, 1.25, 1.0)


def test_scaled_and_multi_channel_images(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "scaled.nii.gz")
    assert read_image(tmp_path / "scaled.nii.gz").array.max() == 0.5 * 23 + 3
    write_nifti(tmp_path / "two.nii.gz", np.ones((2, 3, 4, 2), np.float32))
    assert read_image(tmp_path / "two.nii.gz").array.shape == (2, 3, 4, 2)
    write_nifti(tmp_path / "one.nii.gz", np.ones((2, 3, 4, 1), np.float32))
    assert read_image(tmp_path / "one.nii.gz").array.shape == (2, 3, 4)


def test_labels_stored_as_floats_are_read_as_integers(tmp_path: Path) -> None:
    codes = np.arange(8, dtype=np.float64).reshape(2, 2, 2)
    volume = read_label(write_nifti(tmp_path / "a.nii.gz", codes))
    assert np.issubdtype(volume.array.dtype, np.integer)
    np.testing.assert_array_equal(volume.array, codes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "whole label codes, found 0.5"),
        (-1.0, "from 0 up, found -1"),
        (np.nan, "NaN or infinity"),
    ],
)
def test_label_values_refused(tmp_path: Path, value: float, message: str) -> None:
    codes = np.zeros((2, 2, 2), np.float32)
    codes[1, 1, 1] = value
    path = write_nifti(tmp_path / "a.nii.gz", codes)
    with pytest.raises(InputError, match=f"a.nii.gz: .*{message}"):
        read_label(path)


def test_files_refused_in_one_line(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    whole = write_nifti(tmp_path / "whole.nii.gz", values)
    plain = write_nifti(tmp_path / "plain.nii", values)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.nii.gz").touch()
    (bad / "truncated.nii.gz").write_bytes(whole.read_bytes()[:5000])
    (bad / "truncated.nii").write_bytes(plain.read_bytes()[:5000])
    (bad / "header.nii").write_bytes(plain.read_bytes()[:100])
    (bad / "garbage.nii.gz").write_bytes(b"not an image at all" * 50)
    (bad / "text.nii").write_text("hello" * 100)
    (bad / "other.mgz").write_bytes(b"\x00" * 400)
    damaged = bytearray(whole.read_bytes())
    damaged[3000:3010] = b"\xff" * 10
    (bad / "damaged.nii.gz").write_bytes(damaged)
    write_nifti(bad / "five.nii", np.ones((2, 2, 2, 2, 2), np.float32))
    write_nifti(bad / "complex.nii", values.astype(np.complex64))
    infinite = values.copy()
    infinite[3, 3, 3] = np.inf
    write_nifti(bad / "infinite.nii.gz", infinite)
    for path in [*sorted(bad.iterdir()), bad / "absent.nii.gz"]:
        with pytest.raises(InputError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: expected"), path
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spacing", [(1.0, 0.0, 2.0), (np.nan, 1.0, 1.0)])
def test_spacing_refused(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    path = tmp_path / "a.nii"
    write_nifti(path, np.ones((2, 2, 2), np.uint8))
    content = bytearray(path.read_bytes())
    content[80:92] = np.asarray(spacing, "<f4").tobytes()  # pixdim[1:4]
    path.write_bytes(content)
    with pytest.raises(InputError, match="spacing above 0 mm in pixdim"):
        read_image(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ElementSpacing = 1 5e-324 1", r"expected a spacing from 1e-09 to 1e\+09 mm"),
        ("ElementSpacing = 1 1e300 1", r"expected a spacing from 1e-09 to 1e\+09 mm"),
        ("Offset = 1e300 0 0", r"expected an affine of numbers up to 1e\+12, found 1e\+300"),
    ],
)
def test_places_beyond_any_scan_are_refused(tmp_path: Path, line: str, message: str) -> None:
    text = f"NDims = 3\nDimSize = 2 2 2\n{line}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(text.encode() + bytes(8))
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.mha")


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 6, 3, 2)])
def test_written_labels_keep_the_geometry(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    source = oblique_image(tmp_path / name, shape)
    labels = np.random.default_rng(1).integers(0, 4, (5, 6, 3)).astype(np.uint8)
    output = tmp_path / "label.nii.gz"
    write_labels(output, labels, read_image(source))
    before, after = raw_header(source), raw_header(output)
    for field in GEOMETRY:
        assert before[field].tobytes() == after[field].tobytes(), field
    assert after["datatype"] == 2
    np.testing.assert_array_equal(nib.load(output).affine, nib.load(source).affine)
    np.testing.assert_array_equal(np.asanyarray(nib.load(output).dataobj), labels)
    np.testing.assert_array_equal(read_label(output).array, labels)
    assert read_label(output).spacing == read_image(source).spacing
    assert {path.name for path in tmp_path.iterdir()} == {name, "label.nii.gz"}


def test_geometry_that_nibabel_would_repair_is_kept(tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "a.nii", np.ones((2, 3, 4), np.int16), (-1.5, 1.5, 3.0))
    content = bytearray(source.read_bytes())
    content[76:80] = np.float32(0).tobytes()  # pixdim[0], the handedness, not set
    content[80:84] = np.float32(-1.5).tobytes()
    source.write_bytes(content)
    write_labels(tmp_path / "b.nii.gz", np.zeros((2, 3, 4), np.uint8), read_image(source))
    written = raw_header(tmp_path / "b.nii.gz")["pixdim"]
    np.testing.assert_array_equal(written, raw_header(source)["pixdim"])
    assert read_image(source).spacing == (1.5, 1.5, 3.0)


def test_nifti2_and_pairs_are_read_and_written(tmp_path: Path) -> None:
    second = oblique_image(tmp_path / "second.nii.gz", (3, 4, 2), nib.Nifti2Image)
    pair = oblique_image(tmp_path / "pair.img", (3, 4, 2), nib.Nifti1Pair)
    for source in (second, pair):
        write_labels(tmp_path / "label.nii.gz", np.ones((3, 4, 2), np.uint8), read_image(source))
        output = nib.load(tmp_path / "label.nii.gz")
        np.testing.assert_array_equal(output.affine, nib.load(source).affine)
        assert output.shape == (3, 4, 2)


def test_written_labels_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    source = oblique_image(tmp_path / "image.nii.gz", (5, 6, 3))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, np.ones((5, 6, 3), np.uint8), read_image(source))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_labels_of_another_shape_are_not_written(tmp_path: Path) -> None:
    source = oblique_image(tmp_path / "image.nii.gz", (5, 6, 3))
    with pytest.raises(InputError, match=r"expected a grid of \(5, 6, 4\)"):
        write_labels(tmp_path / "label.nii.gz", np.ones((5, 6, 4), np.uint8), read_image(source))
    assert not (tmp_path / "label.nii.gz").exists()


def volume(array: np.ndarray) -> Volume:
    return Volume(array, (1.0, 1.0, 1.0), np.eye(4), Path("scan.nii.gz"))


def test_slices_are_the_transpose_scaled_by_the_volume() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) + 1000
    slices = image_slices(volume(array))
    assert slices.shape == (4, 1, 3, 2)
    assert slices.dtype == np.float32
    np.testing.assert_allclose(slices[:, 0], (array.T - 1000) / 23, atol=1e-7)
    labels = label_slices(volume(array - 1000), classes=24)
    np.testing.assert_array_equal(labels, (array - 1000).T)


def test_each_channel_is_scaled_by_itself() -> None:
    array = np.stack([np.arange(8.0), 1e6 * np.arange(8.0)], axis=-1).reshape(2, 2, 2, 2)
    slices = image_slices(volume(array))
    assert slices.shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(slices[:, 0], slices[:, 1])


def test_normalised_images_stay_as_they_are() -> None:
    array = np.linspace(0.25, 0.75, 8, dtype=np.float32).reshape(2, 2, 2)
    np.testing.assert_array_equal(image_slices(volume(array), normalised=True)[:, 0], array.T)
    with pytest.raises(InputError, match=r"already scaled to \[0, 1\], found 0.5 to 1.5"):
        image_slices(volume(2 * array), normalised=True)


def test_images_without_a_usable_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"scan.nii.gz: .*every voxel is 3"):
        image_slices(volume(np.full((2, 2, 2), 3)))
    with pytest.raises(InputError, match=r"too large"):
        image_slices(volume(np.array([-1.7e308, 1.7e308]).reshape(1, 1, 2)))


def test_parts_that_do_not_fit_are_refused() -> None:
    image, label = volume(np.ones((2, 3, 4))), volume(np.zeros((2, 3, 5), np.uint8))
    with pytest.raises(InputError, match=r"expected the shape of its image, \(2, 3, 4\)"):
        check_case(Case("a", "a", image, label), channels=1)
    with pytest.raises(InputError, match="expected 2 channels, got 1"):
        check_case(Case("a", "a", image, None), channels=2)
    with pytest.raises(InputError, match=r"codes 0 to 2 \(3 classes\), found 3"):
        label_slices(volume(np.full((2, 2, 2), 3)), classes=3)


def test_two_dimensions_are_one_slice(tmp_path: Path) -> None:
    flat = np.arange(12, dtype=np.int16).reshape(4, 3)
    source = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(flat, np.diag([2.0, 3.0, 1.0, 1.0])), source)
    volume = read_image(source)
    np.testing.assert_array_equal(volume.array, flat[:, :, np.newaxis])
    assert volume.spacing == (2.0, 3.0, 1.0)
    write_labels(tmp_path / "b.nii.gz", np.ones((4, 3, 1), np.uint8), read_image(source))
    assert nib.load(tmp_path / "b.nii.gz").shape == (4, 3)
    assert sitk.ReadImage(str(tmp_path / "b.nii.gz")).GetSize() == (4, 3)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "parts.nii.gz"])
def test_bytes_after_the_voxels_are_remarked_on(tmp_path: Path, name: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    content = write_nifti(tmp_path / "a.nii", voxels).read_bytes() + bytes(512)
    if name == "parts.nii.gz":
        content = gzip.compress(content[:399]) + gzip.compress(content[399:])
    elif name == "a.nii.gz":
        content = gzip.compress(content)
    (tmp_path / name).write_bytes(content)
    volume = read_image(tmp_path / name)
    np.testing.assert_array_equal(volume.array, voxels)
    assert volume.remarks == ("512 bytes after its voxels, of which its header says nothing",)


def test_files_compressed_in_parts(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    content = write_nifti(tmp_path / "a.nii", values).read_bytes()
    parts = gzip.compress(content[:999]) + gzip.compress(content[999:])
    for name, end in {"parts": b"", "zeros": bytes(512), "more": b"no gzip"}.items():
        (tmp_path / f"{name}.nii.gz").write_bytes(parts + end)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.nii.gz").array, values)


def test_vectors_of_itk_are_channels(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 2)).astype(np.int16)
    source = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(voxels.transpose(2, 1, 0, 3), isVector=True), source)
    assert nib.load(source).shape == (3, 4, 5, 1, 2)
    np.testing.assert_array_equal(read_image(source).array, voxels)
    write_labels(tmp_path / "b.nii.gz", np.ones((3, 4, 5), np.uint8), read_image(source))
    labels = sitk.ReadImage(str(tmp_path / "b.nii.gz"))
    assert (labels.GetSize(), labels.GetNumberOfComponentsPerPixel()) == ((3, 4, 5), 1)


def test_codes_that_are_whole_but_for_rounding(tmp_path: Path) -> None:
    codes = np.arange(256, dtype=np.uint16).reshape(8, 8, 4)
    image = nib.Nifti1Image(codes * 3, np.eye(4))
    path = tmp_path / "a.nii"
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(1 / 3).tobytes()  # scl_slope
    path.write_bytes(content)
    np.testing.assert_array_equal(read_label(path).array, codes)


@pytest.mark.parametrize("highest", [2, 7, 200])
def test_codes_that_a_slope_has_rounded(tmp_path: Path, highest: int) -> None:
    codes = np.arange(highest + 1, dtype=np.float64).reshape(-1, 1, 1)
    image = nib.Nifti1Image(codes, np.eye(4))
    image.header.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / "a.nii.gz")
    stored = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)
    assert np.abs(stored - codes).max() > 1e-3
    np.testing.assert_array_equal(read_label(tmp_path / "a.nii.gz").array, codes)
    if highest == 2:  # without the slope, what it has rounded is still near enough
        write_nifti(tmp_path / "b.nii.gz", stored.astype(np.float32))
        np.testing.assert_array_equal(read_label(tmp_path / "b.nii.gz").array, codes)


def test_codes_a_little_off(tmp_path: Path) -> None:
    codes = np.arange(27).reshape(3, 3, 3)
    path = write_nifti(tmp_path / "a.nii.gz", (codes * 0.9999).astype(np.float32))
    np.testing.assert_array_equal(read_label(path).array, codes)


def test_a_slope_does_not_make_codes_of_fractions(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(4, dtype=np.uint8).reshape(4, 1, 1), np.eye(4))
    image.header.set_slope_inter(0.5, 0)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"expected whole label codes, found 0\.5"):
        read_label(tmp_path / "a.nii")


@pytest.mark.parametrize("high", [614454277, 2**40])
def test_high_codes_take_no_more_memory_than_low_ones(high: int) -> None:
    codes = {0: 0, 7: 1, high: 2}
    label = volume(np.array([0, 7, high, 7], np.int64).reshape(2, 1, 2))
    tracemalloc.start()
    mapped = map_codes(label, codes).array
    assert list_codes(label.array, 3) == [0, 7, high]
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    np.testing.assert_array_equal(mapped.ravel(), [0, 1, 2, 1])
    assert mapped.dtype == np.uint8
    assert len(list_codes(label.array, 2)) > 2
    with pytest.raises(InputError, match=f"expected label codes 0, 7, {high}, found {high + 1}"):
        map_codes(volume(np.full((1, 1, 1), high + 1)), codes)


def test_codes_that_no_program_writes_are_refused() -> None:
    for array in (np.full(1, 2**60), np.full(1, 2**63, np.uint64), np.full(1, 1e20)):
        with pytest.raises(InputError, match=r"expected label codes up to 2\^53, found"):
            whole_numbers(array, Path("a.nii"))


@pytest.mark.parametrize(
    "shape", [(3, 4, 5, 1, 1), (3, 4, 5, 1, 2), (3, 4, 5, 2, 1), (3, 4, 1, 1, 1)]
)
def test_axes_of_length_1_past_the_third_are_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
    source = write_nifti(tmp_path / "a.nii.gz", voxels)
    channels = [size for size in shape[3:] if size > 1]
    np.testing.assert_array_equal(read_image(source).array, voxels.reshape(*shape[:3], *channels))
    write_labels(tmp_path / "b.nii.gz", np.ones(shape[:3], np.uint8), read_image(source))
    assert nib.load(tmp_path / "b.nii.gz").shape == shape[:3]
    if not channels:
        np.testing.assert_array_equal(read_label(source).array, voxels.reshape(shape[:3]))
