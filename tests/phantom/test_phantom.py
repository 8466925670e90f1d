"""The synthetic patients: layout, determinism, geometry and the facts of the heart."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from diffrect.errors import InputError
from diffrect.phantom.heart import GROUPS, Phase, contract, draw_heart
from diffrect.phantom.patient import PhantomPatient, phantom_patient
from diffrect.phantom.write import write_phantom

RV, MYOCARDIUM, LV = 1, 2, 3


@pytest.fixture(scope="module")
def patients() -> list[PhantomPatient]:
    """One patient of every group."""
    return [phantom_patient(seed=0, index=index) for index in range(len(GROUPS))]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, patients=2)
    return folder


def volumes_ml(label: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Of RV cavity, myocardium, LV cavity."""
    return np.bincount(label.ravel(), minlength=4)[1:] * np.prod(spacing) / 1000


def areas(label: np.ndarray, value: int) -> np.ndarray:
    return (label == value).sum(axis=(0, 1))


def information(folder: Path) -> dict[str, str]:
    lines = (folder / "Info.cfg").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(": ") for line in lines)
    return {key: value for key, _, value in pairs}


def test_layout_is_that_of_acdc(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == ["phantom001", "phantom002"]
    for folder in written.iterdir():
        facts = information(folder)
        assert list(facts) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
        assert facts["Group"] in GROUPS
        assert 1 == int(facts["ED"]) < int(facts["ES"]) <= int(facts["NbFrame"])
        stems = [f"{folder.name}_frame{int(facts[phase]):02d}" for phase in ("ED", "ES")]
        expected = {f"{stem}{end}.nii.gz" for stem in stems for end in ("", "_gt")}
        assert {path.name for path in folder.iterdir()} == {"Info.cfg", *expected}


def test_files_hold_the_patient_with_its_geometry(
    written: Path, patients: list[PhantomPatient]
) -> None:
    folder, patient = written / "phantom001", patients[0]
    image = nib.Nifti1Image.from_filename(folder / "phantom001_frame01.nii.gz")
    label = nib.Nifti1Image.from_filename(folder / "phantom001_frame01_gt.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert label.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), patient.diastole.image)
    np.testing.assert_array_equal(np.asarray(label.dataobj), patient.diastole.label)
    np.testing.assert_allclose(image.header.get_zooms(), patient.spacing, rtol=1e-6)
    np.testing.assert_array_equal(image.affine, label.affine)
    np.testing.assert_allclose(image.header.get_sform(), image.header.get_qform(), atol=1e-4)
    np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine), patient.spacing, rtol=1e-6)
    assert image.header["sform_code"] == image.header["qform_code"] == 1
    assert image.header.get_xyzt_units()[0] == "mm"


def test_same_arguments_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", patients=1)
    for path in (written / "phantom001").iterdir():
        content = path.read_bytes()
        assert content == (tmp_path / "again" / "phantom001" / path.name).read_bytes()
        if path.suffix == ".gz":
            assert content[4:8] == bytes(4)  # no time in the gzip header


def test_patients_and_seeds_differ(patients: list[PhantomPatient]) -> None:
    others = [*patients[1:], phantom_patient(seed=1, index=0)]
    for other in others:
        a, b = patients[0].diastole.image, other.diastole.image
        assert a.shape != b.shape or not np.array_equal(a, b)
    assert len({patient.spacing for patient in patients}) == len(patients)


def test_size_and_intensity_are_plausible(patients: list[PhantomPatient]) -> None:
    for patient in patients:
        assert 1.4 <= patient.spacing[0] == patient.spacing[1] <= 1.7
        assert 8 <= patient.spacing[2] <= 10
        for frame in (patient.diastole, patient.systole):
            width, height, slices = frame.image.shape
            assert frame.label.shape == frame.image.shape
            assert 96 <= width <= 128
            assert 96 <= height <= 128
            assert 7 <= slices <= 9
            assert frame.image.min() >= 0
            assert set(np.unique(frame.label)) == {0, RV, MYOCARDIUM, LV}


def test_blood_is_brighter_than_muscle_under_its_own_labels(
    patients: list[PhantomPatient],
) -> None:
    for patient in patients:
        image, label = patient.diastole.image, patient.diastole.label
        blood, muscle = (np.median(image[label == value]) for value in (LV, MYOCARDIUM))
        assert blood > 1.3 * muscle


def test_heart_lies_within_the_picture(patients: list[PhantomPatient]) -> None:
    for patient in patients:
        for label in (patient.diastole.label, patient.systole.label):
            inner = label[2:-2, 2:-2]
            assert np.count_nonzero(inner) == np.count_nonzero(label)


def test_right_ventricle_shrinks_towards_the_apex(patients: list[PhantomPatient]) -> None:
    for patient in patients:
        rv = areas(patient.diastole.label, RV)
        assert rv[-1] < 0.2 * rv.max()
        assert rv[len(rv) // 2 :].sum() < rv[: len(rv) // 2].sum()


def test_cavities_empty_and_the_wall_keeps_its_volume(patients: list[PhantomPatient]) -> None:
    for patient in patients:
        rv, muscle, lv = volumes_ml(patient.diastole.label, patient.spacing)
        rv_late, muscle_late, lv_late = volumes_ml(patient.systole.label, patient.spacing)
        assert rv_late < 0.85 * rv
        assert lv_late < 0.9 * lv
        assert muscle_late == pytest.approx(muscle, rel=0.2)
        assert 40 < lv < 350
        assert 30 < rv < 300
        assert 60 < muscle < 300


def test_groups_differ_as_diagnoses_do(patients: list[PhantomPatient]) -> None:
    by_group = {patient.group: patient for patient in patients}
    early = {g: volumes_ml(p.diastole.label, p.spacing) for g, p in by_group.items()}
    late = {g: volumes_ml(p.systole.label, p.spacing) for g, p in by_group.items()}
    ejection = {group: 1 - late[group][2] / early[group][2] for group in by_group}
    assert ejection["DCM"] < 0.45 < ejection["NOR"] < ejection["HCM"]
    assert early["DCM"][2] > 1.4 * early["NOR"][2]  # dilated cavity
    assert early["HCM"][1] / early["HCM"][2] > 1.3 * early["NOR"][1] / early["NOR"][2]
    assert early["RV"][0] / early["RV"][2] > 1.3 * early["NOR"][0] / early["NOR"][2]


def test_myocardium_surrounds_the_left_cavity(patients: list[PhantomPatient]) -> None:
    for patient in patients:
        for label in (patient.diastole.label, patient.systole.label):
            for k in np.argsort(areas(label, LV))[-3:]:
                cavity = label[..., k] == LV
                border = ndimage.binary_dilation(cavity) & ~cavity
                if k > 2:  # below the outlet the wall closes
                    assert np.mean(label[..., k][border] == MYOCARDIUM) == 1
                else:
                    assert np.mean(label[..., k][border] == MYOCARDIUM) > 0.8


def test_septum_separates_the_ventricles(patients: list[PhantomPatient]) -> None:
    for patient in patients:
        label = patient.diastole.label[..., 2:]
        rv_reach = ndimage.binary_dilation(label == RV, np.ones((3, 3, 1), dtype=bool))
        assert not np.any(rv_reach & (label == LV))
        assert np.any(rv_reach & (label == MYOCARDIUM))


def test_contraction_keeps_the_muscle_and_ejects_the_given_share() -> None:
    before = draw_heart(np.random.default_rng(3), GROUPS["NOR"]).diastole
    after = contract(before, ejection=0.6, rv_ejection=0.5, shortening=0.15)

    def muscle(phase: Phase) -> float:
        outer = phase.radius + phase.wall
        return (outer**2 - phase.radius**2) * phase.length

    blood = [phase.radius**2 * phase.length for phase in (before, after)]
    assert muscle(after) == pytest.approx(muscle(before))
    assert blood[1] == pytest.approx(0.4 * blood[0])
    assert after.wall > 1.2 * before.wall
    assert after.base + after.length == pytest.approx(before.base + before.length)


@pytest.mark.parametrize("patients", [0, -1, 1000])
def test_impossible_number_of_patients(tmp_path: Path, patients: int) -> None:
    with pytest.raises(InputError, match=f"patients: expected 1 to 999, got {patients}"):
        write_phantom(tmp_path / "none", patients=patients)
    assert not (tmp_path / "none").exists()


def test_existing_patients_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "phantom002").mkdir()
    with pytest.raises(InputError, match=r"phantom002: expected a new folder"):
        write_phantom(tmp_path, patients=2)
    assert [path.name for path in tmp_path.iterdir()] == ["phantom002"]
