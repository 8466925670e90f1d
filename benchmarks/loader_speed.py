"""Batches per second of loader and both views, beside one h5 file and PIL images per slice.

    python benchmarks/loader_speed.py [--size 256] [--batch 3] [--rounds 5]

The yardstick reads and augments like SSL4MIS: one h5 file per slice, turns or a
rotation by scipy, PIL images resized by nearest neighbours for the weak view, enhancers and
blur for the strong one. Both start from files in the page cache and end with float tensors of a
batch; both run in one process. They take turns; medians are compared.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from diffrect.config import VIEW_PRESETS, ViewOptions
from diffrect.data.augment import make_views
from diffrect.data.loader import Batches, SliceIndex, slices_of
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.phantom import write_phantom


def write_h5(store: Store, slices: list[SliceIndex], folder: Path) -> list[Path]:
    """Every slice as a file of its own, in the SSL4MIS layout."""
    files = []
    for case, position in slices:
        files.append(folder / f"{case}_slice_{position}.h5")
        with h5py.File(files[-1], "w") as file:
            file["image"] = store.image(case, position)[0]
            file["label"] = store.label(case, position)
    return files


def yardstick_sample(path: Path, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weak view, strong view and label of one slice."""
    with h5py.File(path, "r") as file:
        image, label = file["image"][:], file["label"][:]
    if random.random() > 0.5:
        turns, axis = random.randint(0, 3), random.randint(0, 1)
        image, label = (np.flip(np.rot90(a, turns), axis).copy() for a in (image, label))
    else:
        angle = random.randint(-20, 20)
        image, label = (ndimage.rotate(a, angle, order=0, reshape=False) for a in (image, label))
    weak = Image.fromarray((image * 255).astype(np.uint8)).resize((size, size), Image.NEAREST)
    truth = Image.fromarray(label).resize((size, size), Image.NEAREST)
    strong = weak
    kinds = [ImageEnhance.Contrast, ImageEnhance.Brightness, ImageEnhance.Sharpness]
    for kind in random.sample(kinds, 3):
        if random.random() < 0.5:
            strong = kind(strong).enhance(random.uniform(1, 1.1))
    if random.random() < 0.5:
        strong = strong.filter(ImageFilter.GaussianBlur(random.random()))
    tensors = (torch.from_numpy(np.asarray(picture).copy()) for picture in (weak, strong, truth))
    weak_tensor, strong_tensor, label_tensor = tensors
    return weak_tensor.float() / 255, strong_tensor.float() / 255, label_tensor.long()


def yardstick_batch(files: list[Path], size: int) -> list[torch.Tensor]:
    """The same for a batch."""
    samples = [yardstick_sample(path, size) for path in files]
    return [torch.stack(parts) for parts in zip(*samples, strict=True)]


def main() -> None:
    """Builds both kinds of files, takes turns and prints the ratio."""
    parser = argparse.ArgumentParser(description="loader and views against h5 and PIL")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=3, help="labelled and unlabelled slices each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20, help="per round")
    arguments = parser.parse_args()
    size, half = arguments.size, arguments.batch
    options = {
        name: ViewOptions(**VIEW_PRESETS[name])  # type: ignore[arg-type]
        for name in ("reference", "default")
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "data", 4, 0)
        store = prepare(folder / "data", folder / "store", format="acdc", progress=False)
        patients = list(dict.fromkeys(case.patient for case in store.cases.values()))
        labelled, others = slices_of(store, patients[:1]), slices_of(store, patients[1:])
        batches = Batches(store, labelled, others, (half, half), seed=0)
        h5 = write_h5(store, [*labelled, *others], folder)
        seconds: dict[str, list[float]] = {"h5 and PIL": [], **{name: [] for name in options}}
        for _ in range(arguments.rounds + 1):
            started = time.perf_counter()
            for _ in range(arguments.batches):
                yardstick_batch(random.sample(h5, 2 * half), size)
            seconds["h5 and PIL"].append(time.perf_counter() - started)
            for what, views in options.items():
                started = time.perf_counter()
                for step in range(arguments.batches):
                    make_views(batches[step], size, views)
                seconds[what].append(time.perf_counter() - started)
    print(f"{size} x {size}, {2 * half} slices a batch, {torch.get_num_threads()} threads")
    base = median(seconds["h5 and PIL"][1:])  # the first round warms up
    for what, taken in seconds.items():
        typical = median(taken[1:])
        rate = arguments.batches / typical
        sample = 1e3 * typical / arguments.batches / (2 * half)
        print(f"{what:12} {rate:7.1f} batches/s {sample:7.2f} ms/sample {base / typical:6.1f} x")


if __name__ == "__main__":
    main()
