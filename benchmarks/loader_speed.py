"""Loader and both views are several times as fast as h5 files and PIL images.

    python benchmarks/loader_speed.py [--size 256] [--batch 3] [--rounds 5] [--data ACDC]

Prints batches per second, milliseconds per slice and the ratio to the yardstick, per preset.

The yardstick reads and augments as the reference does: a compressed h5 file per slice; image and
label resized by scipy's zoom of order 0; three copies of the image and the label as PIL images,
each flipped, rotated on a larger canvas and cropped back; enhancers and blur for the strong view;
float arrays of all of them. Both start from files in the page cache and end with float tensors of
a batch on the device. They take turns in one process; medians are compared. The slices are
synthetic hearts of 216 x 256 pixels, or those of a folder in ACDC's layout.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from acdc_like import write_acdc_like
from diffrect.data.loader import Batches
from diffrect.data.prepare import prepare
from diffrect.data.record import SliceIndex
from diffrect.data.store import Store
from diffrect.data.view_options import VIEW_PRESETS, ViewOptions
from diffrect.data.views import make_batch
from side_by_side import DEVICE, machine, parse, take_turns


def write_h5(store: Store, slices: list[SliceIndex], folder: Path) -> list[Path]:
    """Write every slice as a file of its own, in the SSL4MIS layout."""
    files = []
    for case, position in slices:
        files.append(folder / f"{case}_slice_{position}.h5")
        with h5py.File(files[-1], "w") as file:
            image, label = store.image(case, position)[0], store.label(case, position)
            file.create_dataset("image", data=image, compression="gzip")
            file.create_dataset("label", data=label, compression="gzip")
    return files


def yardstick_sample(path: Path, size: int) -> list[torch.Tensor]:
    """Return image, weak view, strong view and label of one slice."""
    with h5py.File(path, "r") as file:
        arrays = file["image"][:], file["label"][:]
    factors = [size / side for side in arrays[0].shape]
    image, label = (ndimage.zoom(array, factors, order=0) for array in arrays)
    pixels = (image * 255).astype(np.uint8)
    pictures = [Image.fromarray(pixels.copy()) for _ in range(3)] + [Image.fromarray(label)]
    for flip in (np.fliplr, np.flipud):
        if random.random() < 0.5:
            pictures = [Image.fromarray(flip(np.array(picture))) for picture in pictures]
    if random.random() < 0.5:
        angle = random.randrange(-20, 20) % 360
        pictures = [rotated(picture, angle) for picture in pictures]
    strong = pictures[2]
    kinds = [ImageEnhance.Contrast, ImageEnhance.Brightness, ImageEnhance.Sharpness]
    for kind in random.sample(kinds, 3):
        if random.random() < 0.5:
            strong = kind(strong).enhance(random.uniform(1, 1.1))
    if random.random() < 0.5:
        strong = strong.filter(ImageFilter.GaussianBlur(random.random()))
    pictures[2] = strong
    floats = [np.array(picture, dtype=np.float32) for picture in pictures]
    tensors = [torch.from_numpy(array / 255)[None] for array in floats[:3]]
    return [*tensors, torch.from_numpy(floats[3].astype(np.uint8))]


def rotated(picture: Image.Image, angle: int) -> Image.Image:
    """Turn a picture on a canvas that holds all of it, and cut its middle out again."""
    width, height = picture.size
    turned = picture.rotate(angle, expand=True)
    left, top = (turned.size[0] - width) // 2, (turned.size[1] - height) // 2
    return turned.crop((left, top, left + width, top + height))


def yardstick_batch(files: list[Path], size: int) -> list[torch.Tensor]:
    """Return the samples of a batch, stacked, on the device."""
    samples = [yardstick_sample(path, size) for path in files]
    return [torch.stack(parts).to(DEVICE) for parts in zip(*samples, strict=True)]


def main() -> None:
    """Build both kinds of files, take turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=3, help="labelled and unlabelled slices each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20, help="per round")
    parser.add_argument("--data", type=Path, help="a folder in ACDC's layout, all labelled")
    arguments = parse(parser)
    size, half = arguments.size, arguments.batch
    options = {
        name: ViewOptions(**VIEW_PRESETS[name])  # type: ignore[arg-type]
        for name in ("reference", "default")
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = arguments.data or write_acdc_like(folder / "data", 4)
        store = prepare(data, folder / "store", format="acdc", progress=False)
        patients = store.patients
        labelled, others = store.slices(patients[:1]), store.slices(patients[1:])
        batches = Batches(store, labelled, others, (half, half), seed=0)
        h5 = write_h5(store, [*labelled, *others], folder)
        steps = range(arguments.batches)

        def yardstick() -> None:
            for _ in steps:
                yardstick_batch(random.sample(h5, 2 * half), size)

        def ours(views: ViewOptions) -> None:
            for step in steps:
                make_batch(batches[step].to(DEVICE), size, views, torch.float32)

        runs: dict[str, Callable[[], object]] = {"h5 and PIL": yardstick}
        runs |= {what: partial(ours, views) for what, views in options.items()}
        times = take_turns(runs, arguments.rounds)
    print(f"{machine()}; {size} x {size}, {2 * half} slices a batch")
    for what, taken in times.items():
        rate = arguments.batches / taken
        sample = 1e3 * taken / arguments.batches / (2 * half)
        ratio = times["h5 and PIL"] / taken
        print(f"{what:12} {rate:7.1f} batches/s {sample:7.2f} ms/sample {ratio:6.1f} x")


if __name__ == "__main__":
    main()
