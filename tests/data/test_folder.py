"""Own folders: images and labels by name or by a table, names of classes, patients, splits."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.cli import main as cli
from diffrect.data.choose_split import resolve_split
from diffrect.data.inspection import inspect
from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import SOURCES, detect, find_source, list_cases
from diffrect.data.sources.files import SCAN_SUFFIXES, image_stem
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from support.scans import write_series
from support.tiny import scan, write_nifti

FOLDER = SOURCES["folder"]
ITK_SNAP = """################################################
# ITK-SnAP Label Description File
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    7   255    0    0        1  1  1    "organ"
    9     0  255    0     0.50  1  1    "ignored"
"""


def write_pair(
    folder: Path, name: str, label: bool = True, codes: tuple[int, ...] = (0, 1)
) -> None:
    """Write an image in images/ and its label in labels/, of two classes with these codes."""
    image, labels = scan((12, 10, 2), len(codes), seed=1)
    write_nifti(folder / "images" / f"{name}.nii.gz", image)
    if label:
        table = np.array(codes, np.uint16)
        write_nifti(folder / "labels" / f"{name}.nii.gz", table[labels])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two labelled cases and one without a label, of two patients."""
    path = tmp_path / "own data"
    write_pair(path, "hérz 1_a")
    write_pair(path, "hérz 1_b", label=False)
    write_pair(path, "hérz 2_a")
    return path


def table(folder: Path, text: str, name: str = "cases.csv") -> SourceOptions:
    (folder / name).write_bytes(text.encode())
    return SourceOptions(table=folder / name)


def test_images_and_labels_by_name(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "._hérz 1_a.nii.gz").write_bytes(b"macOS")
    (folder / "images" / "notes.txt").write_text("not an image")
    assert detect(folder) == "folder"
    store = prepare(folder, tmp_path / "störe", progress=False)
    assert list(store.cases) == ["hérz 1_a", "hérz 1_b", "hérz 2_a"]
    assert [case.labelled for case in store.cases.values()] == [True, False, True]
    assert store.classes == ("background", "class 1")
    assert [case.patient for case in store.cases.values()] == list(store.cases)


@pytest.mark.parametrize("trusting", [False, True])
def test_labels_stored_another_way_round_are_turned(tmp_path: Path, trusting: bool) -> None:
    source, orders = tmp_path / "own", ("RAS", "LPS", "SAR", "PIL")
    image, labels = scan((12, 10, 2), 3, seed=1)
    affine = np.diag([1.5, 1.0, 8.0, 1.0])
    for order in orders:
        write_nifti(source / "images" / f"{order}.nii.gz", image, (1.5, 1.0, 8.0), affine)
        axes = nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt(order)
        )
        file = source / "labels" / f"{order}.nii.gz"
        file.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(labels, affine).as_reoriented(axes), file)
    options = SourceOptions(trust_image_geometry=trusting)
    assert inspect(source, options=options, progress=False).problems == ()
    store = prepare(source, tmp_path / "store", options=options, workers=1, progress=False)
    for order in orders:
        np.testing.assert_array_equal(store.label(order), labels.T)


def test_patients_by_a_pattern_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    arguments = ["prepare", str(folder), str(tmp_path / "store"), "--workers", "1", "--quiet"]
    assert cli.main([*arguments, "--patients", r"(\d+)_"]) == 0
    store = Store(tmp_path / "store")
    assert [case.patient for case in store.cases.values()] == ["1", "1", "2"]
    assert store.options["patients"] == r"(\d+)_"
    # resuming asks for the same
    assert cli.main([*arguments, "--resume"]) == 2
    assert cli.main([*arguments, "--resume", "--patients", r"(\d+)_"]) == 0


def test_suffixes_of_two_parts_are_one() -> None:
    names = {image_stem(Path(f"a.b{suffix}")) for suffix in (*SCAN_SUFFIXES, ".NII.GZ", "")}
    assert names == {"a.b"}


def test_codes_found_become_classes(tmp_path: Path) -> None:
    write_pair(tmp_path / "mask", "a", codes=(0, 255))
    store = prepare(tmp_path / "mask", tmp_path / "one", progress=False)
    assert store.classes == ("background", "class 255")
    assert store.label("a").max() == 1
    write_pair(tmp_path / "gaps", "a", codes=(0, 200, 1000))
    store = prepare(tmp_path / "gaps", tmp_path / "two", progress=False)
    assert store.classes == ("background", "class 200", "class 1000")
    assert set(np.unique(store.label("a"))) == {0, 1, 2}
    write_pair(tmp_path / "mask", "b", codes=(0, 1))
    message = "whether label code 255 is a class or 'ignored', found codes 0, 1, 255"
    with pytest.raises(InputError, match=message):
        FOLDER.list(tmp_path / "mask")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "0: nothing\n7: organ\n9: ignored\n"),
        ("c.yaml", "nothing: 0\norgan: 7\nignore: 9\n"),
        ("c.txt", ITK_SNAP),
        ("c.label", ITK_SNAP.replace("\n", "\r\n")),
        ("c.csv", "\ufeffcode,name\r\n7,organ\r\n\r\n9,Ignored\r\n"),
        ("c.csv", 'Name;Code\n"organ";7\nignored;9\n'),
    ],
)
def test_names_of_classes(tmp_path: Path, name: str, text: str) -> None:
    write_pair(tmp_path / "own", "a", codes=(0, 7, 9))
    (tmp_path / name).write_bytes(text.encode())
    options = SourceOptions(classes=tmp_path / name)
    store = prepare(tmp_path / "own", tmp_path / "store", options=options, progress=False)
    assert store.classes == ("background", "organ")
    assert set(np.unique(store.label("a"))) == {0, 1, IGNORED}


def test_names_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("[background, organ]")
    write_pair(tmp_path / "own", "a", codes=(0, 2))
    listing = FOLDER.list(tmp_path / "own", SourceOptions(classes=tmp_path / "c.yml"))
    assert listing.classes == ("background", "organ")
    message = r"labels/a.nii.gz: expected label codes 0 to 1 \(2 classes\), found 2"
    with pytest.raises(InputError, match=message):
        listing.references[0].load()


def test_a_table_says_it_all(folder: Path, tmp_path: Path) -> None:
    options = table(
        folder,
        "Id,Patient,Image,Label,Split,Age\r\n"
        "one,P1,images/hérz 1_a.nii.gz,labels/hérz 1_a.nii.gz,train,71\r\n"
        "\r\n"
        "two,P1,images\\hérz 1_b.nii.gz,,Train,71\r\n"
        '"three",P2,./images/hérz 2_a.nii.gz,labels/hérz 2_a.nii.gz,val,\r\n',
    )
    store = prepare(folder, tmp_path / "store", options=options, progress=False)
    assert list(store.cases) == ["one", "two", "three"]
    assert [case.patient for case in store.cases.values()] == ["P1", "P1", "P2"]
    assert [case.labelled for case in store.cases.values()] == [True, False, True]
    assert store.official_split is not None
    assert store.official_split.train == ("P1",)
    assert store.official_split.val == ("P2",)
    assert store.options["table"] == str(folder / "cases.csv")


def test_a_split_with_labelled_patients(tmp_path: Path) -> None:
    lines = ["image;label;split"]
    for name, part in zip("abcd", ("train", "labelled", "val", ""), strict=True):
        write_pair(tmp_path, name)
        lines.append(f"images/{name}.nii.gz;labels/{name}.nii.gz;{part}")
    options = table(tmp_path, "\n".join(lines))
    store = prepare(tmp_path, tmp_path / "store", options=options, progress=False)
    split = resolve_split(store)
    assert (split.train, split.labelled, split.val) == (("b", "a"), ("b",), ("c",))


def test_a_table_is_enough_to_recognise_an_own_folder(folder: Path) -> None:
    (folder / "images").rename(folder / "scans")
    options = table(folder, "image,label\nscans/hérz 1_a.nii.gz,labels/hérz 1_a.nii.gz\n")
    source = find_source(folder, options=options)
    assert source.name == "folder"
    assert [case.id for case in list_cases(source, folder, options).references] == ["hérz 1_a"]


def test_options_of_another_layout_are_refused(folder: Path, acdc_folder: Path) -> None:
    with pytest.raises(InputError, match="--modality: expected another layout than folder"):
        list_cases(FOLDER, folder, SourceOptions(modality="T2"))
    with pytest.raises(InputError, match="--patients: expected another layout than acdc"):
        list_cases(SOURCES["acdc"], acdc_folder, SourceOptions(patients="(a)"))


def test_folders_of_dicom_files_are_images(folder: Path) -> None:
    series = folder / "images" / "series 3"
    series.mkdir()
    (series / "IM0001.DCM").write_bytes(b"")
    (folder / "images" / "empty").mkdir()
    assert "series 3" in [case.id for case in FOLDER.list(folder).references]


def test_unlabelled_folders_need_names_of_classes(folder: Path, tmp_path: Path) -> None:
    for label in (folder / "labels").iterdir():
        label.unlink()
    with pytest.raises(
        InputError, match="expected labels with classes, or their names by --classe"
    ):
        FOLDER.list(folder)
    (tmp_path / "c.yaml").write_text("1: organ")
    listing = FOLDER.list(folder, SourceOptions(classes=tmp_path / "c.yaml"))
    assert len(listing.references) == 3


def test_dicom_files_and_freesurfer_volumes_are_cases(tmp_path: Path) -> None:
    for name in "abc":
        write_pair(tmp_path, name)
    image, label = scan((12, 10, 1), 2, seed=1)
    for kind, array in (("images", image), ("labels", label.astype(np.int16))):
        (tmp_path / kind / "b.nii.gz").unlink()
        (file,) = write_series(tmp_path / "tmp" / kind, array, np.eye(4))
        file.rename(tmp_path / kind / "b.dcm")
        volume = nib.load(tmp_path / kind / "c.nii.gz")
        data = np.asanyarray(volume.dataobj)
        nib.save(nib.MGHImage(data, volume.affine), tmp_path / kind / "c.mgz")
        (tmp_path / kind / "c.nii.gz").unlink()
    shutil.rmtree(tmp_path / "tmp")
    listing = FOLDER.list(tmp_path)
    assert [case.id for case in listing.references] == ["a", "b", "c"]
    assert listing.remarks == ()
    nifti, dicom, freesurfer = (case.load() for case in listing.references)
    assert dicom.label is not None
    np.testing.assert_array_equal(dicom.label.array, label)
    assert freesurfer.label is not None
    np.testing.assert_array_equal(freesurfer.image.array, nifti.image.array)
    np.testing.assert_allclose(freesurfer.image.affine, nifti.image.affine)


def test_slices_of_one_series_without_a_folder_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    write_series(tmp_path / "images", scan((12, 10, 2), 2, seed=1)[0], np.eye(4))
    with pytest.raises(InputError, match="expected one DICOM file for each scan, found the series"):
        FOLDER.list(tmp_path)


def test_what_no_reader_knows_is_counted_and_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images" / "notes.txt").touch()
    (folder / "images" / "more").mkdir()
    (folder / "labels" / "hérz 1_b.mat").touch()
    (folder / "labels" / ".hidden").touch()
    lines = [
        f"{folder / 'images'}: 2 entries that no reader knows are passed over: more/, notes.txt",
        f"{folder / 'labels'}: 1 entry that no reader knows is passed over: hérz 1_b.mat",
    ]
    assert list(inspect(folder, progress=False).remarks) == lines
    prepare(folder, tmp_path / "store")
    assert capsys.readouterr().err.splitlines() == lines


def test_files_of_voxels_beside_their_header_are_not_passed_over(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    volume = nib.load(tmp_path / "images" / "a.nii.gz")
    nib.save(nib.Nifti1Pair(volume.dataobj, volume.affine), tmp_path / "images" / "a.img")
    (tmp_path / "images" / "a.nii.gz").unlink()
    listing = FOLDER.list(tmp_path)
    assert ([case.id for case in listing.references], listing.remarks) == (["a"], ())


def test_two_spellings_of_a_name_are_one(tmp_path: Path) -> None:
    composed, decomposed = "M\u00fcller", "Mu\u0308ller"
    write_pair(tmp_path, "a")
    write_pair(tmp_path, composed)
    label = tmp_path / "labels" / f"{composed}.nii.gz"
    label.rename(label.with_name(f"{decomposed}.nii.gz"))
    listing = FOLDER.list(tmp_path)
    assert {case.id: case.load().label is None for case in listing.references} == {
        "a": False,
        composed: False,
    }
    lines = f"image,label\nimages/{decomposed}.nii.gz,labels/{composed}.nii.gz\n"
    (case,) = FOLDER.list(tmp_path, table(tmp_path, lines)).references
    assert (case.id, case.load().label is None) == (composed, False)
