"""Every format gives the same voxels in the same place; images are found by their names."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from diffrect.errors import InputError
from diffrect.imaging.decode import reason
from diffrect.imaging.find import find_images
from diffrect.imaging.kinds import kind_of, stem_of
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.write import write_labels
from support.scans import OBLIQUE, ORIGIN, SPACING, as_itk, grid, write_scan

VOLUMES = ("scan.nii", "scan.nii.gz", "scan.nrrd", "scan.mha", "scan.mhd", "scan.nhdr", "series")


def voxels(shape: tuple[int, ...] = (7, 5, 6), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-500, 900, shape).astype(np.int16)


@pytest.mark.parametrize("name", VOLUMES)
def test_voxels_and_millimetres(tmp_path: Path, name: str) -> None:
    array = voxels()
    volume = read_image(write_scan(tmp_path / name, array, grid()))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.affine, grid(), atol=1e-4)
    assert volume.remarks == ()
    assert kind_of(tmp_path / name) is not None


@pytest.mark.parametrize("name", ["scan.png", "scan.tif"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_are_one_slice(tmp_path: Path, name: str, kind: type) -> None:
    array = np.arange(35).reshape(7, 5, 1).astype(kind) * (7 if kind is np.uint8 else 1800)
    volume = read_image(write_scan(tmp_path / name, array, np.eye(4)))
    np.testing.assert_array_equal(volume.array, array)
    assert volume.spacing is None


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pages_of_a_tiff_are_slices(tmp_path: Path, kind: type) -> None:
    array = np.random.default_rng(0).integers(0, 200, (7, 5, 4)).astype(kind)
    pages = [Image.fromarray(np.ascontiguousarray(plane.T)) for plane in array.transpose(2, 0, 1)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    volume = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(read_label(tmp_path / "a.tif").array, array)
    labels = (array % 3).astype(np.uint8)
    write_labels(tmp_path / "b.tif", labels, volume)
    np.testing.assert_array_equal(read_label(tmp_path / "b.tif").array, labels)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "b.tif")))
    np.testing.assert_array_equal(itk, labels.T)
    with pytest.raises(InputError, match="expected one slice in a PNG, got 4"):
        write_labels(tmp_path / "b.png", labels, volume)


def test_colours_of_pages_are_channels(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (4, 5, 7, 3), np.uint8)
    pages = [Image.fromarray(page) for page in colours]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif").array, colours.transpose(2, 1, 0, 3)
    )


def test_colours_of_a_picture_are_channels(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    opaque = np.dstack([colours, np.full((5, 7), 255, np.uint8)])
    for name, pixels in {"a.png": colours, "b.png": opaque}.items():
        Image.fromarray(pixels).save(tmp_path / name)
        array = read_image(tmp_path / name).array
        assert array.shape == (7, 5, 1, 3)
        np.testing.assert_array_equal(array[:, :, 0], colours.swapaxes(0, 1))
    Image.fromarray(colours).save(tmp_path / "c.jpg")
    assert read_image(tmp_path / "c.jpg").array.shape == (7, 5, 1, 3)


def test_a_label_s_palette_is_not_looked_at(tmp_path: Path) -> None:
    codes = np.arange(12, dtype=np.uint8).reshape(4, 3) % 3
    image = Image.fromarray(codes)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    assert image.mode == "P"
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array[:, :, 0], codes.T)
    Image.fromarray(codes > 0).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_label(tmp_path / "b.png").array[:, :, 0], codes.T > 0)


def test_channels_and_two_dimensions_of_itk(tmp_path: Path) -> None:
    flat = sitk.GetImageFromArray(voxels((5, 7)))
    flat.SetSpacing((0.5, 0.7))
    sitk.WriteImage(flat, str(tmp_path / "flat.mha"))
    volume = read_image(tmp_path / "flat.mha")
    assert (volume.array.shape, volume.spacing) == ((7, 5, 1), (0.5, 0.7, 1.0))
    vector = sitk.GetImageFromArray(voxels((6, 5, 7, 2)), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "vector.nrrd"))
    read = read_image(tmp_path / "vector.nrrd").array
    np.testing.assert_array_equal(read, voxels((6, 5, 7, 2)).transpose(2, 1, 0, 3))
    sitk.WriteImage(
        sitk.GetImageFromArray(voxels((2, 6, 5, 7)), isVector=False), str(tmp_path / "four.mha")
    )
    np.testing.assert_array_equal(read_image(tmp_path / "four.mha").array, voxels((2, 6, 5, 7)).T)


def test_axes_that_are_not_at_right_angles_are_remarked_on(tmp_path: Path) -> None:
    skewed = OBLIQUE.copy()
    skewed[:, 1] = (skewed[:, 1] + 0.3 * skewed[:, 0]) / np.hypot(1, 0.3)
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        (remark,) = read_image(write_scan(tmp_path / name, voxels(), grid(skewed))).remarks
        assert remark == "its axes are not at right angles (73.3 degrees between two of them)"
        np.testing.assert_allclose(read_image(tmp_path / name).affine, grid(skewed), atol=1e-4)


@pytest.mark.parametrize("turned", [np.eye(3), OBLIQUE])
def test_no_program_places_labels_of_a_sheared_scan_elsewhere(
    tmp_path: Path, turned: np.ndarray
) -> None:
    sheared = turned @ np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 0.954]])
    labels = np.ones((7, 5, 6), np.uint8)
    for name, axes in {"straight.nrrd": turned, "sheared.nrrd": sheared}.items():
        image = read_image(write_scan(tmp_path / name, voxels(), grid(axes)))
        path = tmp_path / f"{name}.nii.gz"
        write_labels(path, labels, image)
        header = nib.load(path).header
        np.testing.assert_allclose(header.get_sform(), image.affine, atol=1e-4)
        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, axes is turned)
        np.testing.assert_allclose(read_label(path).affine, image.affine, atol=1e-4)
        if axes is turned:
            last = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((6, 4, 5))
            place = image.affine @ (6, 4, 5, 1)
            np.testing.assert_allclose(last, (-place[0], -place[1], place[2]), atol=1e-3)


def test_images_below_a_folder(tmp_path: Path) -> None:
    for name in (
        "b.nii.gz",
        "a.NRRD",
        "sub/c.png",
        "series/x/1.dcm",
        "d.txt",
        ".e.nii",
        "f.raw",
        "g.mgz",
        "series/x/2.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.NRRD", "b.nii.gz", "g.mgz", "series/x", "sub/c.png"]
    names = [path.name for path in find_images(tmp_path, recursive=False)]
    assert names == ["a.NRRD", "b.nii.gz", "g.mgz"]
    assert find_images(tmp_path / "series", recursive=False) == [tmp_path / "series" / "x"]
    assert find_images(tmp_path / "series" / "x") == [tmp_path / "series" / "x"]
    assert find_images(tmp_path / "b.nii.gz") == [tmp_path / "b.nii.gz"]
    assert find_images(tmp_path / "d.txt") == find_images(tmp_path / "nowhere") == []
    names = {"b.nii.gz": "b", "a.NRRD": "a", "series/x": "x"}
    assert {name: stem_of(tmp_path / name) for name in names} == names


def test_real_scans_through_other_formats(real_data: Path, tmp_path: Path) -> None:
    file = sorted((real_data / "mscmr19" / "images").glob("*_DE.nii.gz"))[0]
    image, original = sitk.ReadImage(str(file)), read_image(file)
    for name in ("a.nrrd", "a.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        volume = read_image(tmp_path / name)
        np.testing.assert_array_equal(volume.array, original.array)
        np.testing.assert_allclose(volume.affine, original.affine, atol=1e-3)
    assert nib.aff2axcodes(volume.affine) == nib.aff2axcodes(original.affine)


def test_memory_of_an_itk_image_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(as_itk(np.full((50, 60, 70), 7, np.int16), grid(origin=ORIGIN)), str(path))
    views = [read_image(path).array[3:9, ::-1].T for _ in range(3)]
    others = [np.zeros((50, 60, 70), np.int16) for _ in range(9)]
    assert all((view == 7).all() for view in views)
    assert len(others) == 9


@pytest.mark.skipif(os.name == "nt", reason="no file permissions")
def test_decoders_say_nothing_themselves(tmp_path: Path, capfd) -> None:
    write_scan(tmp_path / "a.mha", voxels(), grid())
    (tmp_path / "a.mha").write_bytes((tmp_path / "a.mha").read_bytes()[:-100])
    with pytest.raises(InputError):
        read_image(tmp_path / "a.mha")
    assert capfd.readouterr() == ("", "")


def test_pictures_that_viewers_turn_are_remarked_on(tmp_path: Path) -> None:
    entries = Image.Exif()
    entries[0x112] = 6
    array = np.arange(35, dtype=np.uint8).reshape(7, 5)
    Image.fromarray(array).save(tmp_path / "a.png", exif=entries)
    volume = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(volume.array[:, :, 0].T, array)
    assert volume.remarks[0].startswith("its EXIF entry asks viewers to turn it, which is not done")


def test_nifti_pairs_are_found_by_their_headers(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(voxels(), grid()), tmp_path / "a.hdr")
    assert find_images(tmp_path) == [tmp_path / "a.hdr"]
    assert (kind_of(tmp_path / "a.hdr"), stem_of(tmp_path / "a.hdr")) == ("nifti", "a")
    np.testing.assert_array_equal(read_image(tmp_path / "a.hdr").array, voxels())


def test_a_negative_spacing_is_a_turned_axis(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mhd", voxels(), np.diag([-1.0, -1.0, 1.0, 1.0]))
    path.write_text(path.read_text().replace("ElementSpacing = 1 1 1", "ElementSpacing = 1 -1 1"))
    volume = read_image(path)
    assert volume.spacing == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(volume.affine, np.diag([-1.0, 1.0, 1.0, 1.0]))
    (tmp_path / "out").mkdir()
    write_labels(tmp_path / "out" / "a.mhd", np.zeros((7, 5, 6), np.uint8), volume)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.mhd").affine, volume.affine)


@pytest.mark.parametrize("name", ["scan.nii.gz", "series", "scan.png"])
def test_labels_as_nrrd_lie_where_an_image_of_another_format_lies(
    tmp_path: Path, name: str
) -> None:
    array = voxels((7, 5, 1) if name == "scan.png" else (7, 5, 6)).astype(np.uint8)
    image = read_image(write_scan(tmp_path / name, array, grid()))
    write_labels(tmp_path / "labels.nrrd", array % 3, image)
    labels = read_label(tmp_path / "labels.nrrd")
    np.testing.assert_array_equal(labels.array, array % 3)
    np.testing.assert_allclose(labels.affine, image.affine, atol=1e-4)
    np.testing.assert_allclose(labels.spacing, image.spacing or (1, 1, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("E: /a/b.cxx:99:\nITK ERROR: Image(0x1f): it is bad.", "it is bad"),
        ("E: /a/c.hxx:179:\nFailed to allocate memory for image.", "Failed to allocate memory for"),
        ("E: /a/d.h:443 ():\nNo logic", "No logic"),
    ],
)
def test_messages_of_itk_lose_their_place_in_the_source(message: str, line: str) -> None:
    assert reason(RuntimeError(f"Exception thrown in SimpleITK {message}")).startswith(line)
