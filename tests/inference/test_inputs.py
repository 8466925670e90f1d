"""Scans whose channels have a file each, one channel of several, and files that fail."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from pydicom.uid import RTStructureSetStorage
from torch import Tensor, nn

import diffrect.imaging.write as writing
from diffrect.cli.main import main
from diffrect.config import TrainConfig
from diffrect.data.task import Task
from diffrect.inference.inputs import list_scans
from diffrect.inference.model import Model
from support.scans import grid, write_object, write_scan, write_series
from support.tiny import write_nifti

SHAPE = (9, 8, 3)
LABELS = (np.random.default_rng(1).random(SHAPE) < 0.4).astype(np.int16)
OTHER = np.random.default_rng(2).integers(0, 99, SHAPE).astype(np.int16)


class Last(nn.Module):
    """A network that is sure of class 1 where the last channel is above one half."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(200.0))

    def forward(self, images: Tensor) -> Tensor:
        above = (images[:, -1:] - 0.5) * self.weight
        return torch.cat([-above, above], dim=1)


@pytest.fixture
def use_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes every RUN, and one called run, a model of some channels."""

    def use(channels: int) -> None:
        task = Task(channels, ("background", "bright"), "minmax", "2")
        model = Model(Last(), task, TrainConfig(size=32), 0, "nearest")
        monkeypatch.setattr(Model, "load", lambda *_, **__: model)
        checkpoint = tmp_path / "run" / "checkpoints" / "best.pt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()  # predict looks for it before it loads anything
        monkeypatch.chdir(tmp_path)

    return use


def labels_in(out: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(nib.load(path).dataobj) for path in out.iterdir()}


def run(tmp_path: Path, *arguments: str | Path) -> int:
    return main(["predict", "run", str(tmp_path / "out"), *map(str, arguments), "--quiet"])


def test_channels_in_files_of_their_own(tmp_path: Path, use_channels, capsys) -> None:
    use_channels(2)
    for case in ("a", "b_2020"):
        write_scan(tmp_path / "in" / f"{case}_0000.nii.gz", OTHER, grid())
        write_scan(tmp_path / "in" / f"{case}_0001.nii.gz", 100 * LABELS, grid())
    both = np.stack([OTHER, 100 * LABELS], axis=-1)
    write_nifti(tmp_path / "in" / "c.nii.gz", both)
    assert run(tmp_path, tmp_path / "in") == 0
    found = labels_in(tmp_path / "out")
    assert found.keys() == {"a.nii.gz", "b_2020.nii.gz", "c.nii.gz"}
    for labels in found.values():
        np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_allclose(nib.load(tmp_path / "out" / "a.nii.gz").affine, grid(), atol=1e-5)
    first = tmp_path / "in" / "a_0000.nii.gz"
    assert run(tmp_path, first, "--overwrite") == 2
    message = f"{first}: expected channels 0000 to 0001 of a, found 0000\n"
    assert capsys.readouterr().err == f"diffrect: error: {message}"
    write_scan(tmp_path / "in" / "a_0001.nii.gz", 100 * LABELS, grid(origin=(0, 0, 0)))
    assert run(tmp_path, tmp_path / "in", "--overwrite") == 1
    assert "a_0001.nii.gz: expected the geometry of the first channel" in capsys.readouterr().err


def test_one_channel_of_several(tmp_path: Path, use_channels, capsys) -> None:
    use_channels(1)
    both = np.stack([OTHER, 100 * LABELS], axis=-1)
    path = write_nifti(tmp_path / "a.nii.gz", both)
    assert run(tmp_path, path, "--channel", "1") == 0
    np.testing.assert_array_equal(labels_in(tmp_path / "out")["a.nii.gz"], LABELS)
    assert run(tmp_path, path, "--channel", "2", "--overwrite") == 2
    assert (
        f"{path}: expected a channel 2, found 2 channels, numbered from 0"
        in capsys.readouterr().err
    )
    assert run(tmp_path, path, "--channel", "-1") == 2
    assert "--channel: expected a number from 0 up, got -1" in capsys.readouterr().err
    assert run(tmp_path, path, "--overwrite") == 2
    assert f"{path}: expected 1 channel, got 2" in capsys.readouterr().err


def test_links_are_called_as_they_are(tmp_path: Path, use_channels, capsys) -> None:
    use_channels(1)
    scan = write_nifti(tmp_path / "raw" / "data.nii.gz", 100 * LABELS)
    series = write_scan(tmp_path / "raw" / "series", 100 * LABELS, grid())
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        (folder / name).symlink_to(scan)
    for name in ("c", "d"):
        (folder / name).symlink_to(series)
    # The same names by another way are the same scans.
    (tmp_path / "again").symlink_to(folder)
    assert run(tmp_path, folder, folder / "a.nii.gz", tmp_path / "again") == 0
    found = labels_in(tmp_path / "out")
    assert found.keys() == {f"{name}.nii.gz" for name in "abcd"}
    for labels in found.values():
        np.testing.assert_array_equal(labels, LABELS)
    # The names of a series that has none of its own.
    assert list(list_scans([series / "."], 1)) == list(list_scans([series], 1)) == ["series"]
    assert list(list_scans([folder / "c" / "..", scan], 1)) == ["data", "series"]


def test_channels_stored_another_way_round(tmp_path: Path, use_channels, capsys) -> None:
    use_channels(2)
    folder = tmp_path / "in"
    write_nifti(folder / "a_0000.nii.gz", OTHER, affine=np.eye(4))
    turned = nib.Nifti1Image(100 * LABELS, np.eye(4)).as_reoriented([[0, -1], [1, -1], [2, 1]])
    nib.save(turned, folder / "a_0001.nii.gz")
    assert run(tmp_path, folder) == 0
    np.testing.assert_array_equal(labels_in(tmp_path / "out")["a.nii.gz"], LABELS)
    # An option that predict does not have is not proposed.
    write_nifti(folder / "a_0001.nii.gz", LABELS, affine=np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3))
    assert run(tmp_path, folder, "--overwrite") == 2
    error = capsys.readouterr().err
    assert "voxels lie up to 1 mm apart" in error
    assert "--trust-image-geometry" not in error


def test_one_file_as_several_channels(tmp_path: Path, use_channels) -> None:
    use_channels(2)
    scan = write_nifti(tmp_path / "raw" / "data.nii.gz", 100 * LABELS)
    (tmp_path / "in").mkdir()
    for name in ("a_0000.nii.gz", "a_0001.nii.gz"):
        (tmp_path / "in" / name).symlink_to(scan)
    assert run(tmp_path, tmp_path / "in") == 0
    assert labels_in(tmp_path / "out").keys() == {"a.nii.gz"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (OSError(28, "No space left on device", "out/b.nii.gz"), "out/b.nii.gz: No space left on"),
        (MemoryError(), "b.nii.gz: needs more memory than there is"),
        (torch.OutOfMemoryError(), "b.nii.gz: needs more memory than there is"),
    ],
)
def test_a_file_without_room_does_not_stop_the_others(
    tmp_path: Path, use_channels, monkeypatch, capsys, fault: Exception, message: str
) -> None:
    use_channels(1)
    inner = writing.write_labels

    def write_labels(path: Path, *given) -> None:
        if path.name == "b.nii.gz":
            raise fault
        inner(path, *given)

    monkeypatch.setattr(writing, "write_labels", write_labels)
    for name in "abc":
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", 100 * LABELS)
    assert run(tmp_path, tmp_path / "in") == 1
    assert labels_in(tmp_path / "out").keys() == {"a.nii.gz", "c.nii.gz"}
    assert message in capsys.readouterr().err


def test_what_lies_beside_a_series_is_no_input(tmp_path: Path, use_channels, capsys) -> None:
    use_channels(1)
    write_series(tmp_path / "ct", OTHER, grid())
    write_object(tmp_path / "ct" / "RS.dcm", RTStructureSetStorage)
    write_scan(tmp_path / "ct" / "preview.png", OTHER[:, :, :1].astype(np.uint8), np.eye(4))
    assert main(["predict", "run", str(tmp_path / "out"), str(tmp_path / "ct")]) == 0
    assert list(labels_in(tmp_path / "out")) == ["ct.nii.gz"]
    line = "RS.dcm and preview.png are not part of the series and are passed over"
    assert f"{tmp_path / 'ct'}: {line}\n" in capsys.readouterr().err


def test_a_dicom_file_without_a_suffix_is_an_input(tmp_path: Path, use_channels) -> None:
    use_channels(1)
    (file,) = write_series(tmp_path, OTHER[:, :, :1], grid())
    assert run(tmp_path, file.rename(tmp_path / "IM0001")) == 0
    assert labels_in(tmp_path / "out")["IM0001.nii.gz"].shape == (9, 8, 1)


def test_scans_of_all_channels_whose_names_end_in_four_digits(tmp_path: Path) -> None:
    for number in range(2):
        write_nifti(tmp_path / f"liver_{number:04d}.nii.gz", np.ones((4, 4, 2, 2), np.int16))
    scans = list_scans([tmp_path], 2)
    assert {name: len(files[0]) for name, files in scans.items()} == {
        "liver_0000": 1,
        "liver_0001": 1,
    }
    for number in range(2, 5):
        write_nifti(tmp_path / f"liver_{number:04d}.nii.gz", np.ones((4, 4, 2, 2), np.int16))
    assert len(list_scans([tmp_path], 2)) == 5
