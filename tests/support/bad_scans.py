"""Bad scans by what is wrong: arguments, the exact line (docs/reference/messages.md), the fault."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.uid import RTStructureSetStorage

from diffrect.imaging.kinds import EXPECTED
from support.bad_cases import FINE
from support.scans import grid, write_frames, write_object, write_scan, write_series
from support.spoil import IMAGE, LABEL, Spoil, change, cut, make_folder, one_voxel, write
from support.tiny import write_nifti

SERIES = Path("series")


def header(**fields: Any) -> Spoil:
    """Change bytes in the header of an image, which nibabel would repair while writing."""

    def spoil() -> None:
        image = nib.load("a.nii.gz")
        voxels = np.asarray(image.dataobj)
        image.header["vox_offset"] = image.header.single_vox_offset
        for name, value in fields.items():
            image.header[name] = value
        content = image.header.binaryblock + bytes(4) + voxels.tobytes(order="F")
        Path("a.nii").write_bytes(content)

    return spoil


def label_at(**changes: Any) -> Spoil:
    """Put the label of a case on another grid."""
    return lambda: write_nifti(LABEL, np.asarray(nib.load(LABEL).dataobj), **changes)


def series(fault: Callable[[list[Path]], Any]) -> Spoil:
    """Write a DICOM series of 5 slices and change its files, given in the order of their places."""
    return lambda: fault(write_series(SERIES, VOXELS, grid(np.eye(3))))


def other_series(files: list[Path]) -> None:
    for file in write_series(Path("other"), np.ones((8, 9, 3)), grid(np.eye(3))):
        file.rename(SERIES / f"other {file.name}")
    Path("other").rmdir()


def retag(name: str, value: Any) -> Callable[[list[Path]], None]:
    def change_one(files: list[Path]) -> None:
        dataset = pydicom.dcmread(files[2])
        setattr(dataset, name, value)
        dataset.save_as(files[2])

    return change_one


def pictures(label: np.ndarray, name: str = "b.png", mode: str | None = None) -> Spoil:
    """Make a data set of one picture with this label."""

    def spoil() -> None:
        grey = np.arange(63, dtype=np.uint8).reshape(7, 9)
        Image.fromarray(grey).save("source/a.png")
        Image.fromarray(label).convert(mode).save(f"source/{name}")
        settings = json.loads(Path("source/dataset.json").read_text())
        settings["training"] = [{"image": "a.png", "label": name}]
        Path("source/dataset.json").write_text(json.dumps(settings))

    return spoil


def slicer_segments(overlapping: bool) -> Spoil:
    """Make a data set whose label has two segments, of one code or at the same voxels."""

    def spoil() -> None:
        array = np.zeros((*FINE.shape, 2), np.uint8)
        array[2, 2, :, 0] = array[2 if overlapping else 3, 2, :, 1] = 1
        if overlapping:
            array[..., 1] *= 2
        write_scan(Path("own/images/b.nrrd"), FINE, np.eye(4))
        segments = sitk.GetImageFromArray(array.transpose(2, 1, 0, 3), isVector=True)
        for number, name in enumerate(("wall", "blood")):
            segments.SetMetaData(f"Segment{number}_ID", name)
            segments.SetMetaData(f"Segment{number}_Name", name)
            code = str(number + 1 if overlapping else 1)
            segments.SetMetaData(f"Segment{number}_LabelValue", code)
        Path("own/labels").mkdir()
        sitk.WriteImage(segments, "own/labels/b.seg.nrrd")

    return spoil


def animation() -> None:
    pages = [Image.fromarray(np.full((9, 9), value, np.uint8)) for value in (1, 2, 3)]
    pages[0].save("a.png", save_all=True, append_images=pages[1:])


def uneven_pages() -> None:
    pages = [Image.fromarray(np.zeros(shape, np.uint8)) for shape in ((7, 9), (3, 4))]
    pages[0].save("a.tif", save_all=True, append_images=pages[1:])


def short_tiff() -> None:
    image = Image.fromarray(CODES + np.arange(9, dtype=np.uint8))
    image.save("a.tif", tiffinfo={278: 7})
    content = bytearray(Path("a.tif").read_bytes())
    place = content.index(bytes([1, 1, 4, 0, 1, 0, 0, 0, 7])) + 8  # ImageLength
    content[place] = 70
    Path("a.tif").write_bytes(content)


def text_of_itk(name: str, before: bytes, after: bytes) -> Spoil:
    def spoil() -> None:
        sitk.WriteImage(sitk.GetImageFromArray(FINE.T), name)
        Path(name).write_bytes(Path(name).read_bytes().replace(before, after))

    return spoil


def flip_checksum(name: str) -> Spoil:
    """Change a bit of the checksum at the end of a gzip file."""

    def spoil() -> None:
        content = bytearray(Path(name).read_bytes())
        content[-8] ^= 1
        Path(name).write_bytes(content)

    return spoil


def cut_itk(name: str) -> Spoil:
    return lambda: (write_scan(Path(name), FINE, grid()), cut(name)())


NIFTI = "expected a readable NIfTI file"
ITK = "expected a readable NRRD or MetaImage file"
COLOURS = np.zeros((7, 9, 3), np.uint8)
CODES = np.zeros((7, 9), np.uint8)
VOXELS = np.random.default_rng(0).integers(0, 99, (8, 9, 5))

SCANS: dict[str, tuple[str, str, Spoil]] = {
    "a file of zero bytes": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected a NIfTI file, found an empty file",
        write("a.nii.gz"),
    ),
    "a truncated gz": (
        "predict run out a.nii.gz",
        f"a.nii.gz: {NIFTI}, found one that seems truncated: Compressed file ended before the "
        "end-of-stream marker was reached",
        cut("a.nii.gz"),
    ),
    "a damaged gz": (
        "predict run out a.nii.gz",
        f"a.nii.gz: {NIFTI}, found one that is damaged: incorrect data check",
        flip_checksum("a.nii.gz"),
    ),
    "text named .nii.gz": (
        "predict run out a.nii.gz",
        f"a.nii.gz: {NIFTI}, found no gzip file",
        write("a.nii.gz", "no scan"),
    ),
    "a compressed file named .nii": (
        "predict run out b.nii",
        "b.nii: expected a file without compression, or the name b.nii.gz",
        lambda: Path("a.nii.gz").rename("b.nii"),
    ),
    "a header that promises more voxels than there are": (
        "predict run out a.nii",
        f"a.nii: {NIFTI}, found one that seems truncated: its header says (20, 20, 200), the file "
        "has 1952 bytes",
        header(dim=(3, 20, 20, 200, 1, 1, 1, 1)),
    ),
    "a header that says that voxels begin inside it": (
        "predict run out a.nii",
        "a.nii: expected voxels from byte 352 on: its header says 0",
        header(vox_offset=0),
    ),
    "five dimensions": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected a 3-D volume, got shape (2, 2, 2, 2, 2)",
        lambda: write_nifti(Path("a.nii.gz"), np.ones((2, 2, 2, 2, 2), np.float32)),
    ),
    "complex numbers": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected one real number per voxel, got complex64",
        lambda: write_nifti(Path("a.nii.gz"), np.ones((2, 2, 2), np.complex64)),
    ),
    "a voxel that is NaN": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected finite intensities, found NaN or infinity",
        lambda: write_nifti(Path("a.nii.gz"), one_voxel(np.nan)(FINE)),
    ),
    "an infinite voxel": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected finite intensities, found NaN or infinity",
        lambda: write_nifti(Path("a.nii.gz"), one_voxel(np.inf)(FINE)),
    ),
    "a constant image": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected varying intensities: every voxel is 0",
        lambda: write_nifti(Path("a.nii.gz"), 0 * FINE),
    ),
    "a spacing of 0": (
        "predict run out a.nii",
        "a.nii: expected a spacing above 0 mm in pixdim, got (1.0, 0.0, 1.0)",
        header(pixdim=(1, 1, 0, 1, 1, 1, 1, 1)),
    ),
    "an affine with NaN": (
        "predict run out a.nii",
        "a.nii: expected a finite affine, found NaN or infinity",
        header(srow_x=(np.nan, 0, 0, 0), sform_code=1),
    ),
    "an affine of zeros, needed to cut slices": (
        "predict run out a.nii --axis axial",
        "a.nii: expected an affine that says where every axis points (or --axis 0, 1 or 2), got "
        "[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]",
        header(srow_x=(0, 0, 0, 0), sform_code=1),
    ),
    "a file without permission": (
        "predict run out a.nii.gz",
        "a.nii.gz: expected a NIfTI file: Permission denied",
        lambda: Path("a.nii.gz").chmod(0),
    ),
    "a file whose name is not that of an image": (
        "predict run out b.txt",
        f"b.txt: expected an image by its name ({EXPECTED})",
        write("b.txt"),
    ),
    "a folder without images": (
        "predict run out no",
        f"no: expected images ({EXPECTED}) in it, found none",
        make_folder("no", "b.txt"),
    ),
    "a label of another shape": (
        "prepare source new",
        f"{LABEL}: expected the shape of its image, (20, 18, 4), got (20, 18, 3)",
        change(LABEL, lambda labels: labels[:, :, :3]),
    ),
    "a label in another place": (
        "prepare source new",
        f"{LABEL}: expected the geometry of its image {IMAGE}: voxels lie up to 70 mm apart; "
        "if the image's is right, give --trust-image-geometry",
        label_at(
            spacing=(1, 1, 2),
            affine=np.array([[1, 0, 0, 70], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        ),
    ),
    "a label in another place, flipped": (
        "prepare source new",
        f"{LABEL}: expected the geometry of its image {IMAGE}: voxels lie up to 36 mm apart, its "
        "axes point to LAS and the image's to RAS; save it on the image's grid",
        label_at(spacing=(1, 1, 2), affine=np.diag([-1.0, 1, 1, 1]) + 2 * np.eye(4, k=3)),
    ),
    "a label of another spacing": (
        "prepare source new",
        f"{LABEL}: expected the spacing of its image {IMAGE}, 1 x 1 x 2 mm, got 1 x 1 x 3 mm; "
        "if the image's is right, give --trust-image-geometry",
        label_at(spacing=(1, 1, 3)),
    ),
    "segments that share a code": (
        "prepare own new",
        "own/labels/b.seg.nrrd: expected a code for each segment, found wall and blood with code "
        "1; export it as a label map, with one code per segment",
        slicer_segments(overlapping=False),
    ),
    "segments that overlap": (
        "prepare own new",
        "own/labels/b.seg.nrrd: expected one segment per voxel, found segments that overlap; "
        "export it as a label map, with one code per segment",
        slicer_segments(overlapping=True),
    ),
    "a label with fractions": (
        "prepare source new",
        f"{LABEL}: expected whole label codes, found 0.5",
        change(LABEL, one_voxel(0.5)),
    ),
    "a label with negative codes": (
        "prepare source new",
        f"{LABEL}: expected label codes from 0 up, found -1",
        change(LABEL, one_voxel(-1)),
    ),
    "a label with codes that no program writes": (
        "prepare source new",
        f"{LABEL}: expected label codes up to 2^53, found 1e+20",
        change(LABEL, one_voxel(1e20)),
    ),
    "a label with NaN": (
        "prepare source new",
        f"{LABEL}: expected label codes, found NaN or infinity",
        change(LABEL, one_voxel(np.nan)),
    ),
    "a class that is not in the list": (
        "prepare source new",
        f"{LABEL}: expected label codes 0 to 2 (3 classes), found 3",
        change(LABEL, one_voxel(3, np.uint8)),
    ),
    "a label in colour": (
        "prepare source new",
        "source/b.png: expected a label in grey or with a palette, its values the class codes, "
        "got mode RGB",
        pictures(COLOURS),
    ),
    "a label with transparency": (
        "prepare source new",
        "source/b.png: expected a label in grey or with a palette, its values the class codes, "
        "got mode LA",
        pictures(CODES, mode="LA"),
    ),
    "a label in JPEG": (
        "prepare source new",
        "source/b.jpg: expected a label in a format without loss, got JPEG",
        pictures(CODES, "b.jpg"),
    ),
    "a palette with a class that is not in the list": (
        "prepare source new",
        "source/b.png: expected label codes 0 to 2 (3 classes), found 7",
        pictures(CODES + 7, mode="P"),
    ),
    "an animated picture": (
        "predict run out a.png",
        "a.png: expected one page, found 3",
        animation,
    ),
    "a TIFF with pages of several sizes": (
        "predict run out a.tif",
        "a.tif: expected pages of one size and kind, found uint8 (4, 3) and uint8 (9, 7)",
        uneven_pages,
    ),
    "a TIFF without all of its rows": (
        "predict run out a.tif",
        "a.tif: expected a readable picture, found one that seems truncated: its header says 70 "
        "rows, the file has 7",
        short_tiff,
    ),
    "a picture in colour for a model of grey pictures": (
        "predict run out a.png",
        "a.png: expected 1 channel, got 3",
        lambda: Image.fromarray(COLOURS).save("a.png"),
    ),
    "text named .png": (
        "predict run out a.png",
        "a.png: expected a readable picture: cannot identify image file 'a.png'",
        write("a.png", "no picture"),
    ),
    "a truncated NRRD": (
        "predict run out a.nrrd",
        f"a.nrrd: {ITK}, found one that seems truncated: its header says (20, 20, 2), 569 of 1600 "
        "bytes are there",
        cut_itk("a.nrrd"),
    ),
    "a truncated MHA": (
        "predict run out a.mha",
        f"a.mha: {ITK}, found one that seems truncated: its header says (20, 20, 2), 556 of 1600 "
        "bytes are there",
        cut_itk("a.mha"),
    ),
    "an MHA with a spacing of 0": (
        "predict run out a.mha",
        f"a.mha: {ITK}: its header says a spacing of 1 x 0 x 1",
        text_of_itk("a.mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1"),
    ),
    "an MHA of negative dimensions": (
        "predict run out a.mha",
        f"a.mha: {ITK}: its header says NDims -3",
        text_of_itk("a.mha", b"NDims = 3", b"NDims = -3"),
    ),
    "an MHA whose voxels are elsewhere": (
        "predict run out a.mha",
        "a.mha: expected its voxels in a file of its folder, got /etc/passwd",
        text_of_itk("a.mha", b"= LOCAL", b"= /etc/passwd"),
    ),
    "a DICOM series with a missing slice": (
        "predict run out series",
        "series: expected a slice every 4 mm, found a gap of 8 mm between IM0004.dcm and "
        "IM0000.dcm: slices are missing",
        series(lambda files: files[2].unlink()),
    ),
    "two DICOM series in one folder": (
        "predict run out series",
        "series: expected one DICOM series in a folder, found 2 of 5 and 3 files; put each into a "
        "folder of its own",
        series(other_series),
    ),
    "a DICOM slice twice": (
        "predict run out series",
        "series: expected one file for each slice, found IM0004.dcm and again.dcm at one place",
        series(lambda files: Path("series/again.dcm").write_bytes(files[1].read_bytes())),
    ),
    "a DICOM slice of another pixel spacing": (
        "predict run out series",
        "series/IM0003.dcm: expected the pixel spacing of IM0000.dcm, (1.5, 1.25), got (3.0, 2.0)",
        series(retag("PixelSpacing", [2.0, 3.0])),
    ),
    "a DICOM slice of another orientation": (
        "predict run out series",
        "series/IM0003.dcm: expected the orientation of IM0000.dcm",
        series(retag("ImageOrientationPatient", [0.0, 1.0, 0.0, 1.0, 0.0, 0.0])),
    ),
    "a DICOM slice that is out of line": (
        "predict run out series",
        "series: expected slices in a straight row, found IM0003.dcm 9 mm beside it",
        series(retag("ImagePositionPatient", [-1.0, 20.0, 38.0])),
    ),
    "a DICOM pixel spacing of 0": (
        "predict run out series",
        "series/IM0003.dcm: expected a pixel spacing above 0 mm, got (0.0, 1.0)",
        series(retag("PixelSpacing", [0.0, 1.0])),
    ),
    "a DICOM slice without a position": (
        "predict run out series",
        "series/IM0003.dcm: expected a header that says where the slice lies, found no "
        "ImagePositionPatient",
        series(retag("ImagePositionPatient", None)),
    ),
    "a DICOM slice with axes that are not at right angles": (
        "predict run out series",
        "series/IM0003.dcm: expected unit vectors at right angles in ImageOrientationPatient, got "
        "(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)",
        series(retag("ImageOrientationPatient", [1.0, 0.0, 0.0, 1.0, 0.0, 0.0])),
    ),
    "DICOM pixels that are cut short": (
        "predict run out series",
        "series/IM0003.dcm: expected a readable DICOM file, found one that seems truncated: its "
        "header says 144 bytes of pixels, the file has 100",
        series(retag("PixelData", bytes(100))),
    ),
    "DICOM pixels that are more than the header says": (
        "predict run out series",
        "series/IM0003.dcm: expected a readable DICOM file: its header says 48 bytes of pixels, "
        "the file has 144",
        series(retag("Rows", 3)),
    ),
    "a multi-frame DICOM file with a missing frame": (
        "predict run out a.dcm",
        "a.dcm: expected a slice every 4 mm, found a gap of 8 mm between frame 2 and frame 3: "
        "slices are missing",
        lambda: write_frames(Path("a.dcm"), VOXELS, grid(np.eye(3)), [0, 1, 3, 4]),
    ),
    "a DICOM folder without an image": (
        "predict run out series",
        "series: expected a DICOM series, found no image in RS.dcm",
        lambda: write_object(SERIES / "RS.dcm", RTStructureSetStorage),
    ),
    "text named .dcm": (
        "predict run out series",
        "series/IM0004.dcm: expected a DICOM file with an image, found none in it",
        series(lambda files: files[1].write_text("no slice")),
    ),
    "label files as DICOM": (
        "predict run out series --format same",
        "series: expected another format than DICOM for --format same; give --format nifti or "
        "dicom-seg",
        series(lambda files: None),
    ),
    "a DICOM segmentation of another scan": (
        "predict run out a.nii.gz --format dicom-seg",
        "a.nii.gz: expected a DICOM series for --format dicom-seg; give --format nifti or same",
        header(),
    ),
    "a DICOM segmentation of a series without a frame of reference": (
        "predict run out series --format dicom-seg",
        "series/IM0003.dcm: expected a DICOM series that a segmentation can refer to, found a "
        "header without FrameOfReferenceUID",
        series(retag("FrameOfReferenceUID", "")),
    ),
}
