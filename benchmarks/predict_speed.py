"""A volume is predicted, NIfTI to NIfTI, faster than the reference's way and with equal labels.

    python benchmarks/predict_speed.py [--rounds 7] [--size 256] [--preset default]
                                       [--run RUN --image scan.nii.gz]

Prints the milliseconds of the reference's way, of ours, of ours with --precision bf16 and of ONNX
Runtime, their ratios, and how many voxels get another label than from ours: if the same network
runs in the default layout on one slice at a time, in bfloat16, from the exported model, and from
the reference's way.

The reference's way predicts one slice at a time, resized by scipy's zoom of order 0 there and back,
in PyTorch's default layout, with batch norms as they are; SimpleITK reads and writes the files.
Without a RUN, a segmenter is trained for a moment on synthetic hearts; the image is one more,
resized to the size of an ACDC volume. All take turns in one process with the model loaded. The
exported model runs on the CPU, the others on a GPU if there is one; there sums differ in their last
digits, and labels may differ too.
"""

import argparse
import copy
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import zoom

from acdc_like import write_acdc_like
from diffrect import export, train
from diffrect.config import TrainConfig
from diffrect.imaging.intensity import Intensity, scale
from diffrect.imaging.read import read_image
from diffrect.imaging.resample import labels_from_logits, to_network
from diffrect.imaging.slicing import choose_slicing
from diffrect.inference.model import Model
from diffrect.inference.predict import predict_file
from phantom_store import phantom_store
from side_by_side import DEVICE, machine, parse, take_turns


def yardstick(network: torch.nn.Module, file: Path, output: Path, size: int) -> None:
    """Predict from file to file by the reference's loop over slices.

    Args:
        network: the segmenter, in the default layout.
        file: NIfTI file to read.
        output: NIfTI file to write.
        size: side of the network's input in pixels.
    """
    image = sitk.ReadImage(file)
    array = sitk.GetArrayFromImage(image).astype(np.float32)  # (Z, Y, X)
    array = (array - array.min()) / (array.max() - array.min())
    labels = np.zeros(array.shape, np.uint8)
    for index, part in enumerate(array):
        height, width = part.shape
        resized = zoom(part, (size / height, size / width), order=0)
        tensor = torch.from_numpy(resized)[None, None].float().to(DEVICE)
        with torch.no_grad():
            decided = torch.argmax(torch.softmax(network(tensor), dim=1), dim=1).squeeze(0)
        back = zoom(decided.cpu().numpy(), (height / size, width / size), order=0)
        labels[index] = back
    result = sitk.GetImageFromArray(labels)
    result.CopyInformation(image)
    sitk.WriteImage(result, output)


def plain(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a network in the default layout, by PyTorch's own operations only."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)


@torch.inference_mode()
def slice_by_slice(model: Model, file: Path) -> np.ndarray:
    """Return labels (X, Y, Z) of the unfolded network, one slice at a time."""
    volume = read_image(file)
    slicing = choose_slicing(volume, model.axis)
    slices = slicing.view(volume.array)
    limits = Intensity.parse(model.intensity).limits(slices, file)
    zoom = model.segmenter.zoom(slicing.spacing(volume), str(file))
    labels = np.empty(volume.array.shape[:3], np.uint8)
    network = plain(model.network)
    for index in range(len(slices)):
        image = torch.from_numpy(scale(slices[index : index + 1], limits)).to(DEVICE)
        logits = network(to_network(image, model.size, model.interpolation, zoom))
        found = labels_from_logits(logits, slices.shape[1:3], model.interpolation, zoom)
        slicing.view(labels)[index] = found[0].cpu().numpy()
    return labels


def make_run(folder: Path, preset: str, size: int, iterations: int) -> tuple[Path, Path]:
    """Make a RUN folder, and an image that it has not seen.

    Args:
        folder: where to work.
        preset: preset of the training.
        size: side of the network's input in pixels.
        iterations: length of the training.
    """
    write_acdc_like(folder / "other", 1, 1)
    config = TrainConfig(
        method="supervised",
        preset=preset,
        size=size,
        batch_labelled=1,
        batch_unlabelled=1,
        labelled="100%",
        iterations=iterations,
        validate_every=iterations,
    )
    with phantom_store(3) as store:
        train(store.path, folder / "run", config, progress=False)
    return folder / "run", min((folder / "other").glob("*/*_frame??.nii.gz"))


def labels_in(file: Path) -> np.ndarray:
    """Return the labels in a NIfTI file."""
    return np.asanyarray(nib.load(file).dataobj)


def main() -> None:
    """Make what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=256, help="side of the network's input")
    parser.add_argument("--preset", default="default", choices=["default", "reference"])
    parser.add_argument("--iterations", type=int, default=100, help="length of the training")
    parser.add_argument("--run", type=Path, help="a RUN folder instead of a training")
    parser.add_argument("--image", type=Path, help="the scan, with --run")
    arguments = parse(parser)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, image = arguments.run, arguments.image
        if run is None:
            run, image = make_run(folder, arguments.preset, arguments.size, arguments.iterations)
        report(run, image, folder, arguments.size, arguments.rounds)


def report(run: Path, image: Path, folder: Path, size: int, rounds: int) -> None:
    """Take turns and print the table.

    Args:
        run: the RUN folder.
        image: the scan.
        folder: where to write.
        size: side of the network's input in pixels.
        rounds: number of turns.
    """
    model = Model.load(run, checkpoint="last")
    exported = Model.load(export(run, folder / "model.onnx", checkpoint="last"))
    for one in (model, exported):
        one.segmenter = replace(one.segmenter, size=size, spacing=None)
    half = model.in_half_precision()
    theirs, ours, halved, onnx = (folder / f"{name}.nii.gz" for name in ("1", "2", "3", "4"))
    network = plain(model.network)
    times = take_turns(
        {
            "reference's way": lambda: yardstick(network, image, theirs, model.size),
            "diffrect": lambda: predict_file(model, image, ours),
            "diffrect, bf16": lambda: predict_file(half, image, halved),
            "ONNX": lambda: predict_file(exported, image, onnx),
        },
        rounds,
    )
    labels = labels_in(ours)
    print(f"{machine()}; {labels.shape}, network at {model.size} x {model.size}")
    print(f"{'':16} {'ms':>8} {'x':>6} {'x diffrect':>11}")
    for what, taken in times.items():
        base, mine = times["reference's way"] / taken, times["diffrect"] / taken
        print(f"{what:16} {1e3 * taken:8.1f} {base:6.2f} {mine:11.2f}")
    foreground = 100 * np.count_nonzero(labels) / labels.size
    print(f"{foreground:.1f} % of {labels.size} voxels are foreground")
    comparisons = {
        "ours, slice by slice": slice_by_slice(model, image),
        "ours in bf16": labels_in(halved),
        "ONNX": labels_in(onnx),
        "reference's way": labels_in(theirs),
    }
    for what, others in comparisons.items():
        count = int((others != labels).sum())
        print(f"voxels that {what} labels otherwise: {count} ({100 * count / labels.size:.4f} %)")


if __name__ == "__main__":
    main()
