"""What it costs that decoders run in a process of their own: `prepare` with and without.

    python benchmarks/decoder_cost.py [--files 60] [--side 128] [--rounds 3]

Prints a row per format: processor milliseconds per file of a folder of small files, in both
processes together, and their ratio; and what the start of the process costs, once. The two ways
take turns, and the smallest of the rounds counts. It reads /proc, so it runs on Linux only.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.imaging.decoders import guard


def write_pictures(folder: Path, voxels: np.ndarray) -> None:
    """Write a case per slice, as PNG."""
    for kind, array in (("images", voxels), ("labels", voxels > 128)):
        (folder / kind).mkdir(parents=True)
        for number, plane in enumerate(array):
            Image.fromarray(plane.astype(np.uint8)).save(folder / kind / f"case_{number}.png")


def write_hdf5(folder: Path, voxels: np.ndarray) -> None:
    """Write slices in the layout of SSL4MIS, twelve of them a case."""
    (folder / "data" / "slices").mkdir(parents=True)
    for number, plane in enumerate(voxels):
        name = f"case{number // 12:03d}_frame01_slice_{number % 12 + 1}.h5"
        with h5py.File(folder / "data" / "slices" / name, "w") as content:
            content.create_dataset("image", data=plane / np.float32(255), compression="gzip")
            content.create_dataset("label", data=(plane > 128).astype(np.uint8))


def write_dicom(folder: Path, voxels: np.ndarray) -> None:
    """Write series of twelve slices, without labels."""
    folder.mkdir()
    (folder / "classes.yaml").write_text("- background\n- heart\n")
    for number, plane in enumerate(voxels):
        series = folder / "images" / f"case_{number // 12}"
        series.mkdir(parents=True, exist_ok=True)
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, generate_uid()
        data.SeriesInstanceUID = f"1.2.{number // 12 + 1}"
        data.Rows, data.Columns = plane.shape
        data.PixelSpacing, data.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, number % 12]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.PixelData = plane.astype("<u2").tobytes()
        data.save_as(series / f"{number}.dcm", enforce_file_format=True)


WRITERS = {"PNG": write_pictures, "HDF5": write_hdf5, "DICOM": write_dicom}


def processor_seconds() -> float:
    """Return the processor time of this process and of those that decode for it."""
    ticks = 0
    for worker in guard._idle[os.getpid()]:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def cost(source: Path, store: Path) -> float:
    """Return the processor seconds of a `prepare`."""
    before = processor_seconds()
    classes = source / "classes.yaml"
    options = SourceOptions(classes=classes if classes.exists() else None)
    prepare(source, store, options=options, overwrite=True, progress=False)
    return processor_seconds() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shape = (options.files, options.side, options.side)
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    print(f"{'format':8}{'separate, ms':>14}{'here, ms':>10}{'ratio':>7}")
    for name, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as place:
            source, store = Path(place) / "source", Path(place) / "store"
            write(source, voxels)
            cost(source, store)  # starts the process and imports what both ways need
            separate, here = [], []
            for _ in range(options.rounds):
                separate.append(cost(source, store))
                with patch.object(guard, "_SEPARATE", False):
                    here.append(cost(source, store))
        a, b = (1e3 * min(times) / options.files for times in (separate, here))
        print(f"{name:8}{a:14.2f}{b:10.2f}{a / b:7.2f}")
    guard._end_all()
    before = processor_seconds()
    guard.guarded(Path(__file__), "a file", os.getpid)
    print(f"start of the process, once: {processor_seconds() - before:.2f} s")


if __name__ == "__main__":
    main()
