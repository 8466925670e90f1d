"""Decathlon and nnU-Net folders: channels in one file or in several, listed or found by name."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffrect.data.inspection import inspect
from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import SOURCES, detect
from diffrect.data.sources.base import SourceListing
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from support.tiny import scan, write_dataset_json, write_nifti

DECATHLON = SOURCES["decathlon"]
TWO = {"0": "T2", "1": "ADC"}


def write_json(folder: Path, **settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(settings))
    return folder


def write_channels(folder: Path, name: str, channels: int, label: bool = True) -> list[np.ndarray]:
    """Write one file per channel, NAME_0000 and so on, and the label NAME."""
    images = [scan((20, 18, 3), 3, seed)[0] for seed in range(channels)]
    for number, image in enumerate(images):
        write_nifti(folder / "imagesTr" / f"{name}_{number:04d}.nii.gz", image)
    if label:
        write_nifti(folder / "labelsTr" / f"{name}.nii.gz", scan((20, 18, 3), 3, 0)[1])
    return images


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    """Return raw data of version 2: two labelled cases of two channels, and one without a label."""
    folder = tmp_path / "Dataset001_Tiny"
    labels = {"background": 0, "PZ": 1, "TZ": 2}
    write_json(folder, channel_names=TWO, labels=labels, numTraining=2, file_ending=".nii.gz")
    write_channels(folder, "case_a", 2)
    write_channels(folder, "case_b", 2)
    write_channels(folder, "case_c", 2, label=False)
    write_nifti(folder / "imagesTs" / "case_d_0000.nii.gz", scan((20, 18, 3), 3, 0)[0])
    return folder


def test_nnunet_2(nnunet: Path, tmp_path: Path) -> None:
    assert detect(nnunet) == "decathlon"
    store = prepare(nnunet, tmp_path / "store", progress=False)
    assert list(store.cases) == ["case_a", "case_b", "case_c"]
    assert [case.labelled for case in store.cases.values()] == [True, True, False]
    assert store.classes == ("background", "PZ", "TZ")
    assert store.channels == 2
    single = [
        prepare(nnunet, tmp_path / name, options=SourceOptions(modality=name), progress=False)
        for name in ("T2", "adc")
    ]
    assert [one.channels for one in single] == [1, 1]
    both = np.concatenate([one.image("case_a") for one in single], axis=1)
    np.testing.assert_array_equal(store.image("case_a"), both)
    assert single[1].options["modality"] == "adc"


def test_one_file_with_all_channels(tmp_path: Path) -> None:
    folder = tmp_path / "Task05"
    images = np.stack([scan((20, 18, 3), 3, seed)[0] for seed in (0, 1)], axis=-1)
    # listed as .nii, and there as .nii.gz
    write_nifti(folder / "imagesTr" / "prostate_16.nii.gz", images)
    write_nifti(folder / "labelsTr" / "prostate_16.nii.gz", scan((20, 18, 3), 3, 0)[1])
    entry = {"image": "/imagesTr/prostate_16.nii", "label": "/labelsTr/prostate_16.nii"}
    write_dataset_json(folder, [entry], modality=TWO)
    store = prepare(folder, tmp_path / "both", progress=False)
    assert store.image("prostate_16").shape == (3, 2, 18, 20)
    options = SourceOptions(modality="ADC")
    adc = prepare(folder, tmp_path / "adc", options=options, progress=False)
    np.testing.assert_array_equal(adc.image("prostate_16")[:, 0], store.image("prostate_16")[:, 1])
    write_nifti(folder / "imagesTr" / "prostate_16.nii.gz", images[..., 0])
    with pytest.raises(InputError, match=r"prostate_16.nii.gz: expected 2 channels, got 1"):
        prepare(folder, tmp_path / "none", options=options, progress=False)


def test_nnunet_1_lists_cases_without_their_channels(tmp_path: Path) -> None:
    folder = tmp_path / "Task001"
    write_channels(folder, "la_2019", 2)
    entry = {"image": "./imagesTr/la_2019.nii.gz", "label": "./labelsTr/la_2019.nii.gz"}
    write_dataset_json(folder, [entry], modality=TWO)
    listing = DECATHLON.list(folder)
    assert [case.id for case in listing.references] == ["la_2019"]
    assert listing.references[0].load().image.array.shape == (20, 18, 3, 2)


def test_images_that_nobody_lists_are_unlabelled(tmp_path: Path) -> None:
    folder = tmp_path / "Task"
    for name in ("a", "b", "c"):
        write_nifti(folder / "imagesTr" / f"{name}.nii.gz", scan((8, 8, 2), 3, 0)[0])
    for name in ("a", "b"):  # b has been taken off the list
        write_nifti(folder / "labelsTr" / f"{name}.nii.gz", scan((8, 8, 2), 3, 0)[1])
    entry = {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}
    write_dataset_json(folder, [entry])
    labels = {case.id: case.load().label for case in DECATHLON.list(folder).references}
    assert [label is None for label in labels.values()] == [False, True]
    assert list(labels) == ["a", "c"]


def test_the_ignore_label_is_not_a_class(nnunet: Path) -> None:
    labels = {"background": 0, "PZ": 1, "ignore": 2}
    write_json(nnunet, channel_names=TWO, labels=labels, file_ending=".nii.gz")
    listing = DECATHLON.list(nnunet)
    assert listing.classes == ("background", "PZ")
    label = listing.references[0].load().label
    assert label is not None
    assert set(np.unique(label.array)) == {0, 1, IGNORED}


def test_cases_listed_with_their_files(nnunet: Path) -> None:
    images = ["imagesTr/case_b_0001.nii.gz", "imagesTr/case_b_0000.nii.gz"]
    cases = {"other": {"images": images, "label": "labelsTr/case_b.nii.gz"}}
    write_json(nnunet, channel_names=TWO, labels={"background": 0, "PZ": 1, "TZ": 2}, dataset=cases)
    case = {case.id: case for case in DECATHLON.list(nnunet).references}["other"].load()
    assert case.image.path == nnunet / images[0]
    cases["other"]["images"] = ["../elsewhere_0000.nii.gz"]
    write_json(nnunet, channel_names=TWO, labels={"background": 0, "PZ": 1, "TZ": 2}, dataset=cases)
    with pytest.raises(InputError, match=r"expected paths inside its folder, got '\.\./elsewhere"):
        DECATHLON.list(nnunet)


def test_patients_by_a_pattern(nnunet: Path) -> None:
    def patients(pattern: str) -> list[str]:
        listing: SourceListing = DECATHLON.list(nnunet, SourceOptions(patients=pattern))
        return [case.patient for case in listing.references]

    assert patients("(case)") == ["case"] * 3
    assert patients("_(.)$") == ["a", "b", "c"]
    for pattern, message in {
        "(": "expected a regular expression, got '\\('",
        "case": "expected a pattern with a group",
        "_([ab])": "to match every id, found 'case_c', which it does not match",
    }.items():
        with pytest.raises(InputError, match=f"--patients: .*{message}"):
            patients(pattern)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"background": [0], "PZ": [1], "TZ": [2]}},
        {"labels": {"background": "0", "PZ": "1", "TZ": "2"}},
        {"channel_names": ["T2", "ADC"]},
    ],
)
def test_descriptions_in_other_words(nnunet: Path, change: dict[str, Any]) -> None:
    """Other spellings that nnU-Net or its users write mean the same."""
    expected = DECATHLON.list(nnunet)
    settings = json.loads((nnunet / "dataset.json").read_text())
    write_json(nnunet, **{**settings, **change})
    found = DECATHLON.list(nnunet)
    assert (found.classes, found.channels) == (expected.classes, expected.channels)
    assert found.references == expected.references


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"background": 0, "whole": [1, 2]}}, r"must not overlap, got \[1, 2\] for 'wh"),
        ({"labels": {"background": 0, "PZ": 1, "TZ": 1}}, "each code once under 'labels', got 1"),
        ({"labels": {"background": 0, "PZ": -1}}, "whole codes from 0 up under 'labels', got 'PZ'"),
        ({"channel_names": {}}, "expected one entry under 'channel_names' or more, found {}"),
        ({"channel_names": {"0": "T2"}}, "case_a_0000.nii.gz: expected 1 channel of case_a"),
        (
            {"channel_names": {**TWO, "2": "DWI"}},
            "case_a_0002.nii.gz: expected the file named in dataset.json, found no such file",
        ),
        ({"dataset": {"a": {}}, "training": ["b"]}, "under 'training' or .*, found both"),
        ({"dataset": {"a": {}}}, "expected 'images' of a under 'dataset', got {}"),
    ],
)
def test_descriptions_refused(nnunet: Path, change: dict[str, Any], message: str) -> None:
    settings = json.loads((nnunet / "dataset.json").read_text())
    write_json(nnunet, **{**settings, **change})
    with pytest.raises(InputError, match=message):
        DECATHLON.list(nnunet)


def test_files_that_match_nothing_are_refused(nnunet: Path) -> None:
    options = SourceOptions(modality="DWI")
    with pytest.raises(InputError, match="--modality: expected one of T2, ADC, got 'DWI'"):
        DECATHLON.list(nnunet, options)
    stray = nnunet / "labelsTr" / "case_z.nii.gz"
    shutil.copy(nnunet / "labelsTr" / "case_a.nii.gz", stray)
    with pytest.raises(InputError, match=r"case_z.nii.gz: expected an image of the same name in"):
        DECATHLON.list(nnunet)
    stray.unlink()
    image = nnunet / "imagesTr" / "case_a_0001.nii.gz"
    shutil.copy(image, image.with_name("case_a_0001.nrrd"))
    with pytest.raises(InputError, match=r"case_a_0001.nrrd: expected one image for each case"):
        DECATHLON.list(nnunet)


def test_channels_of_other_shapes_are_refused(nnunet: Path) -> None:
    write_nifti(nnunet / "imagesTr" / "case_a_0001.nii.gz", np.ones((20, 18, 2), np.int16))
    message = r"case_a_0001.nii.gz: expected one channel of \(20, 18, 3\) voxels as in .*_0000"
    with pytest.raises(InputError, match=message):
        DECATHLON.list(nnunet).references[0].load()


def test_channels_that_lie_elsewhere_need_a_decision(nnunet: Path, tmp_path: Path) -> None:
    moved = np.eye(4)
    moved[0, 3] = 5
    write_nifti(
        nnunet / "imagesTr" / "case_a_0001.nii.gz", scan((20, 18, 3), 3, 1)[0], affine=moved
    )
    message = (
        r"case_a_0001.nii.gz: expected the geometry of the first channel .*_0000.nii.gz: .* 5 mm"
    )
    with pytest.raises(InputError, match=message):
        prepare(nnunet, tmp_path / "store", progress=False)
    options = SourceOptions(trust_image_geometry=True)
    store = prepare(nnunet, tmp_path / "store", options=options, workers=2, progress=False)
    assert len(store.cases) == 3


def test_protocol_h_reads_what_it_always_read(real_data: Path, tmp_path: Path) -> None:
    """The measurements on Hippocampus were made with a store of these ids, classes and bits."""
    folder = real_data / "hippocampus"
    listing = DECATHLON.list(folder)
    listed = json.loads((folder / "dataset.json").read_text())["training"]
    names = sorted(Path(entry["image"]).name.removesuffix(".nii.gz") for entry in listed)
    assert [case.id for case in listing.references] == names
    assert listing.classes == ("background", "Anterior", "Posterior")
    small = tmp_path / "part"
    for kind in ("imagesTr", "labelsTr"):
        (small / kind).mkdir(parents=True)
        (small / kind / f"{names[0]}.nii.gz").symlink_to(folder / kind / f"{names[0]}.nii.gz")
    entry = {"image": f"imagesTr/{names[0]}.nii.gz", "label": f"labelsTr/{names[0]}.nii.gz"}
    write_dataset_json(small, [entry])
    store = prepare(small, tmp_path / "store", progress=False)
    digest = hashlib.sha256(store.image(names[0]).tobytes() + store.label(names[0]).tobytes())
    assert digest.hexdigest() == "7deea9f6d98d7a80783fda6e805e73d628c85b43ac8c9e0ffdd3ce27f5170f21"


def write_listed(folder: Path, names: list[str], labels: bool = True) -> list[dict[str, str]]:
    """Write images and their labels, and return the entries that list them."""
    entries = []
    for number, name in enumerate(names):
        image, label = scan((8, 8, 2), 3, number)
        write_nifti(folder / "imagesTr" / f"{name}.nii.gz", image)
        entries.append({"image": f"imagesTr/{name}.nii.gz"})
        if labels:
            write_nifti(folder / "labelsTr" / f"label_{name}.nii.gz", label)
            entries[-1]["label"] = f"labelsTr/label_{name}.nii.gz"
    return entries


@pytest.mark.parametrize("key", ["validation", "val"])
def test_a_list_of_validation_cases_is_the_split(tmp_path: Path, key: str) -> None:
    entries = write_listed(tmp_path, list("abcdef"))
    tests = [*entries[4:5], {"image": entries[5]["image"]}]
    write_dataset_json(tmp_path, entries[:2], **{key: entries[2:4], "test": tests})
    listing = DECATHLON.list(tmp_path)
    assert listing.official_split == Split(("a", "b"), ("c", "d"), ("e",))
    assert all(one.load().label is not None for one in listing.references)
    file = tmp_path / "dataset.json"
    line = "1 case is listed for testing without a label, and left out: f"
    assert listing.remarks == (f"{file}: {line}",)


def test_test_cases_without_validation_are_left_out(tmp_path: Path) -> None:
    entries = write_listed(tmp_path, list("abc"))
    write_dataset_json(tmp_path, entries[:1], testing=entries[1:])
    listing = DECATHLON.list(tmp_path)
    assert [case.id for case in listing.references] == ["a"]
    assert listing.official_split is None
    assert "2 cases are listed for testing, and left out: b, c" in listing.remarks[0]


@pytest.mark.parametrize(
    "value",
    [["imagesTr/b.nii.gz"], [{"image": "imagesTr/b.nii.gz"}], [{"training": [{"image": "b"}]}]],
)
def test_other_keys_that_hold_cases_are_named(tmp_path: Path, value: list[Any]) -> None:
    entries = write_listed(tmp_path, list("ab"))
    write_dataset_json(tmp_path, entries[:1], folds=value, reference="a.nii.gz", licence=["x"])
    with pytest.raises(InputError, match=r"json: expected cases under .*, found 1 under 'folds'"):
        DECATHLON.list(tmp_path)


def test_a_patient_in_two_lists_is_refused(tmp_path: Path) -> None:
    entries = write_listed(tmp_path, ["p1_a", "p1_b"])
    write_dataset_json(tmp_path, entries[:1], validation=entries[1:])
    with pytest.raises(InputError, match="expected patient p1 in one list, got val after train"):
        DECATHLON.list(tmp_path, SourceOptions(patients="^(p1)"))


def test_ids_that_end_in_four_digits_are_cases(tmp_path: Path) -> None:
    names = [f"liver_{number:04d}" for number in range(5)]
    entries = write_listed(tmp_path, names)
    write_dataset_json(tmp_path, entries[:3])
    (tmp_path / "labelsTr" / "label_liver_0003.nii.gz").unlink()
    assert [case.id for case in DECATHLON.list(tmp_path).references] == names


def test_ids_that_end_in_four_digits_in_nnunet_2(tmp_path: Path) -> None:
    names = [f"liver_{number:04d}" for number in range(3)]
    write_json(tmp_path, channel_names={"0": "CT"}, labels={"background": 0, "a": 1, "b": 2})
    for name in names:
        write_nifti(tmp_path / "imagesTr" / f"{name}.nii.gz", scan((8, 8, 2), 3, 0)[0])
    for name in names[:2]:
        write_nifti(tmp_path / "labelsTr" / f"{name}.nii.gz", scan((8, 8, 2), 3, 0)[1])
    labelled = {c.id: c.load().label is not None for c in DECATHLON.list(tmp_path).references}
    assert labelled == {"liver_0000": True, "liver_0001": True, "liver_0002": False}


def test_a_missing_first_channel_is_named(nnunet: Path) -> None:
    (nnunet / "imagesTr" / "case_a_0000.nii.gz").unlink()
    with pytest.raises(InputError, match=r"case_a_0000.nii.gz: expected the file named in dataset"):
        DECATHLON.list(nnunet)


def test_rgb_pictures_of_nnunet_are_three_channels(tmp_path: Path) -> None:
    names = {"0": "R", "1": "G", "2": "B"}
    labels = {"background": 0, "a": 1, "b": 2}
    write_json(tmp_path, channel_names=names, labels=labels, file_ending=".png")
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        image, label = scan((9, 8, 1), 3, number)
        grey = (image[:, :, 0].T % 256).astype(np.uint8)
        pixels = np.stack([grey, grey // 2, 255 - grey], -1)
        Image.fromarray(pixels).save(tmp_path / "imagesTr" / f"c{number}_0000.png")
        Image.fromarray(label[:, :, 0].T.copy()).save(tmp_path / "labelsTr" / f"c{number}.png")
    store = prepare(tmp_path, tmp_path / "store", progress=False)
    assert (list(store.cases), store.channels) == (["c0", "c1"], 3)
    options = SourceOptions(modality="G")
    green = prepare(tmp_path, tmp_path / "green", options=options, progress=False)
    np.testing.assert_array_equal(green.image("c0")[:, 0], store.image("c0")[:, 1])


def test_two_spellings_of_a_name_are_one(tmp_path: Path) -> None:
    (entry,) = write_listed(tmp_path, ["Jose\u0301"])
    composed = {key: value.replace("e\u0301", "\u00e9") for key, value in entry.items()}
    write_dataset_json(tmp_path, [composed])
    (case,) = DECATHLON.list(tmp_path).references
    assert (case.id, case.load().label is None) == ("Jos\u00e9", False)


def test_a_constant_channel_is_kept_and_named(
    nnunet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nifti(nnunet / "imagesTr" / "case_a_0001.nii.gz", np.full((20, 18, 3), 5, np.int16))
    store = prepare(nnunet, tmp_path / "store")
    assert store.image("case_a")[:, 0].any()
    assert not store.image("case_a")[:, 1].any()
    line = "case_a_0000.nii.gz: every voxel of channel 1 is 5; the channel is kept, as zeros"
    assert line in capsys.readouterr().err
    found = inspect(nnunet, progress=False)
    assert found.problems == ()
    assert line in found.remarks[0]
