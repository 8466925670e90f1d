"""What every attack begins with: tiny data sets, a store, a run and a scan in every format."""

import gzip
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from crash_matrix import fork
from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.predict import predict
from diffrect.networks import unet
from diffrect.training.train import train
from support.fake_cells import write_cell
from support.mutations import samples
from support.scans import as_itk, grid, write_frames, write_scan, write_series
from support.tiny import write_acdc, write_decathlon, write_ssl4mis

EXAMPLES = Path(__file__).parents[1] / "tests" / "runs" / "examples"
"""A store and a run of earlier versions."""
SHAPE = (9, 8, 5)
TRAINING = TrainConfig(
    method="supervised",
    size=16,
    iterations=2,
    validate_every=1,
    batch_labelled=1,
    batch_unlabelled=1,
    labelled="1",
    device="cpu",
)
OPTIONS = [
    "--method",
    "supervised",
    "--size",
    "16",
    "--iterations",
    "2",
    "--validate-every",
    "1",
    "--batch-labelled",
    "1",
]
OPTIONS += ["--batch-unlabelled", "1", "--labelled", "1", "--device", "cpu"]
"""`TRAINING` on the command line."""
Files = dict[str, bytes]
"""The files of an input: name, relative to its folder, and content."""


@dataclass
class Fixtures:
    """Folders that attacks copy from and must leave as they are.

    Attributes:
        decathlon: a data set of 4 cases in the Decathlon's layout.
        acdc: one in ACDC's.
        ssl4mis: one in SSL4MIS's, of HDF5 files.
        store: the first, prepared.
        old_store: a store of version 1, which has no checksums of descriptions.
        run: a training on it, with `metrics_val.json`.
        labels: what the run predicts for the first case.
        cells: a folder of finished cells.
        scans: a small scan in every format, by the name of the file or folder to read.
    """

    decathlon: Path
    acdc: Path
    ssl4mis: Path
    store: Path
    old_store: Path
    run: Path
    labels: Path
    cells: Path
    scans: dict[str, Files]

    @classmethod
    def below(cls, folder: Path) -> "Fixtures":
        """Return the places of all fixtures in a folder, where nothing is yet."""
        names = ("decathlon", "acdc", "ssl4mis", "store", "old_store", "run", "labels", "cells")
        return cls(*(folder / name for name in names), {})

    @property
    def scan(self) -> Path:
        """The first image of `decathlon`."""
        return self.decathlon / "imagesTr" / "part_000.nii.gz"


def narrow_networks() -> None:
    """Give all U-Nets few channels, so that checkpoints are small and trainings quick."""
    widths = (2, 2, 4, 4, 4)
    for kind in (unet.Encoder, unet.Decoder):
        old = kind.__init__.__defaults__ or ()
        kind.__init__.__defaults__ = tuple(widths if v == unet.WIDTHS else v for v in old)


def make_fixtures(folder: Path) -> Fixtures:
    """Make everything in a fork, because a process that has trained cannot fork ones that train.

    Raises:
        RuntimeError: it failed, and has printed why.
    """
    fixtures = Fixtures.below(folder)
    if fork(lambda: _make(folder, fixtures)) != 0:
        raise RuntimeError("the fixtures cannot be made")
    fixtures.scans |= read_scans(folder / "scans")
    return fixtures


def read_scans(folder: Path) -> dict[str, Files]:
    """Return the files of the scans in a folder."""
    scans = {}
    for scan in sorted(folder.iterdir()):
        files = [scan] if scan.is_file() else sorted(scan.iterdir())
        scans[scan.name] = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    _bring_voxels(scans)
    return scans


def _bring_voxels(scans: dict[str, Files]) -> None:
    """Put files of voxels beside the headers that name them."""
    for raw in [name for name in scans if name.endswith(".raw")]:
        files = scans.pop(raw)
        for header in [name for name in scans if raw.encode() in b"".join(scans[name].values())]:
            scans[header] |= files


def _make(folder: Path, fixtures: Fixtures) -> None:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    write_sources(fixtures, folder / "scans")
    train(fixtures.store, fixtures.run, TRAINING, progress=False)
    shutil.rmtree(fixtures.run / "tensorboard")
    evaluate(fixtures.run, split="val", store=fixtures.store, progress=False)
    predict(fixtures.run, fixtures.labels, [fixtures.scan], device="cpu", progress=False)
    for name, seed in (("diffrect", 0), ("supervised", 0), ("supervised", 1)):
        write_cell(fixtures.cells, name, {"p9_a": (0.9, 0.7), "p9_b": (0.8, None)}, seed=seed)


def write_sources(fixtures: Fixtures, scans: Path) -> None:
    """Write the data sets, the scans and the stores."""
    write_decathlon(fixtures.decathlon, labelled=4, unlabelled=0)
    write_acdc(fixtures.acdc, ["patient011", "patient028", "patient099"])
    write_ssl4mis(fixtures.ssl4mis, ["patient011", "patient028", "patient099"])
    _write_scans(scans)
    prepare(fixtures.decathlon, fixtures.store, workers=1, progress=False)
    shutil.copytree(EXAMPLES / "store_1", fixtures.old_store)


def _write_scans(folder: Path) -> None:
    """Write a scan in every format, and in the ways of packing voxels that they have."""
    import SimpleITK as sitk

    draw = np.random.default_rng(0)
    array = draw.integers(-300, 300, SHAPE).astype(np.int16)
    small = draw.integers(0, 3, SHAPE).astype(np.uint8)
    affine = grid()
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "series"):
        write_scan(folder / name, array, affine)
    write_scan(folder / "float.nii", array.astype(np.float32) / 7, affine)
    for name in ("label.nii.gz", "label.nrrd", "a.png", "a.tif", "a.jpg"):
        write_scan(folder / name, small if "label" in name else 90 * small, affine)
    (folder / "packed.nii.gz").write_bytes(gzip.compress((folder / "float.nii").read_bytes()))
    for name in ("packed.nrrd", "packed.mha"):
        sitk.WriteImage(as_itk(array, affine), str(folder / name), useCompression=True)
    for name in ("raw.nrrd", "raw.nhdr"):
        sitk.WriteImage(as_itk(array, affine), str(folder / name), useCompression=False)
    write_frames(folder / "frames.dcm", array, affine)
    with tempfile.TemporaryDirectory() as place:
        for name, content in samples(Path(place)).items():
            if not name.endswith(".h5"):
                (folder / f"sample-{name}").write_bytes(content)
    write_series(folder / "signed", array[:, :, :2], affine, RescaleSlope=0.5, RescaleIntercept=-3)


def copy_tree(source: Path, target: Path) -> Path:
    """Copy a folder of small files and return the copy."""
    shutil.copytree(source, target, symlinks=True)
    return target
