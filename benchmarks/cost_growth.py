"""The cost of an iteration follows the number of pixels and hardly depends on that of classes.

    python benchmarks/cost_growth.py [--out docs/reports/cost_growth] [--rounds 2]
                                     [--axes size batch classes] [--processor-time] [--only-plot]

Prints the seconds per iteration of each setting, writes them to OUT.json as soon as they are
measured, and draws OUT.png from all that is in that file. What is in it already is not measured
again.

While one of size, batch and classes grows, the others stay at 128 x 128, 3 + 3 slices and 4
classes. Loading and augmentation are included; the data are random images with bands as classes. On
a machine that others use too, `--processor-time` on one thread (OMP_NUM_THREADS=1) is steadier than
the clock.
"""

import argparse
import gc
import json
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from side_by_side import machine, parse, typical
from step_time import make_trainer, period, turn

DEFAULT = {"size": 128, "batch": 6, "classes": 4}
VALUES: dict[str, list[int]] = {
    "size": [64, 128, 192, 256, 384, 512],
    "batch": [2, 6, 12, 24],
    "classes": [2, 4, 8, 16, 32],
}
TITLES = {"size": "side, pixels", "batch": "slices in a batch", "classes": "classes"}
PATIENTS, SLICES, SIDE = 4, 4, 256


def make_store(folder: Path, classes: int) -> Store:
    """Prepare random images whose labels are bands, one per class."""
    random = np.random.default_rng(0)
    bands = (np.arange(SIDE) * classes // SIDE).astype(np.uint8)
    for number in range(PATIENTS):
        shape = (SIDE, SIDE, SLICES)
        image = random.integers(0, 1000, shape).astype(np.int16)
        labels = np.broadcast_to(bands[:, None, None], shape)
        for kind, array in (("images", image), ("labels", labels)):
            (folder / "data" / kind).mkdir(parents=True, exist_ok=True)
            file = folder / "data" / kind / f"case{number}.nii.gz"
            nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 8.0, 1.0])), file)
    return prepare(folder / "data", folder / "store", format="folder", progress=False)


def measure(preset: str, size: int, batch: int, classes: int, rounds: int) -> float:
    """Return the median seconds of an iteration after a first one.

    Args:
        preset: preset of the training.
        size: side of the slices in pixels.
        batch: labelled and unlabelled slices together.
        classes: number of classes, background included.
        rounds: number of turns.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = TrainConfig(
            labelled="1",
            preset=preset,
            size=size,
            batch_labelled=batch // 2,
            batch_unlabelled=batch // 2,
        )
        trainer = make_trainer(make_store(folder, classes), folder, config)
        taken = typical(turn(trainer), rounds) / period(trainer)
    del trainer
    gc.collect()
    return taken


def key_of(preset: str, settings: dict[str, int]) -> str:
    """Return the name of a measurement in OUT.json."""
    return " ".join([preset, *(str(settings[axis]) for axis in VALUES)])


def plot(times: dict[str, float], presets: list[str], where: str, path: Path) -> None:
    """Draw seconds per iteration against each axis; the dotted line grows with the pixels.

    Args:
        times: seconds by name of the measurement.
        presets: a curve each.
        where: what the machine is.
        path: file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(VALUES), figsize=(11, 3.8), sharey=True)
    for panel, (axis, values) in zip(panels, VALUES.items(), strict=True):
        for preset, marker in zip(presets, "os", strict=False):
            keys = [key_of(preset, DEFAULT | {axis: value}) for value in values]
            points = [(v, times[k]) for v, k in zip(values, keys, strict=True) if k in times]
            if not points:
                continue
            x, y = np.array(points).T
            panel.plot(x, y, marker=marker, label=preset)
            middle = times.get(key_of(preset, DEFAULT))
            power = {"size": 2, "batch": 1, "classes": 0}[axis]
            if middle and power:
                line = middle * (x / DEFAULT[axis]) ** power
                panel.plot(x, line, ":", color="grey", linewidth=1, zorder=0)
        panel.set(xscale="log", yscale="log", xlabel=TITLES[axis])
        panel.set_xticks(values, [str(value) for value in values])
        panel.minorticks_off()
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(title="preset")
    panels[0].set_ylabel("seconds per iteration")
    rest = "else 128 x 128, 6 slices, 4 classes; dotted: as the number of pixels"
    figure.suptitle(f"{where}; {rest}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure what is missing, then draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/reports/cost_growth"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--axes", nargs="+", default=list(VALUES), choices=list(VALUES))
    parser.add_argument("--presets", nargs="+", default=["reference", "default"])
    parser.add_argument("--largest", type=int, default=512, help="largest side measured")
    parser.add_argument("--only-plot", action="store_true")
    arguments = parse(parser)
    data, picture = arguments.out.with_suffix(".json"), arguments.out.with_suffix(".png")
    found = json.loads(data.read_text()) if data.is_file() else {"machine": machine(), "times": {}}
    times = found["times"]
    wanted = [
        (preset, DEFAULT | {axis: value})
        for axis in arguments.axes
        for value in VALUES[axis]
        if axis != "size" or value <= arguments.largest
        for preset in arguments.presets
    ]
    for preset, settings in wanted:
        key = key_of(preset, settings)
        if key in times or arguments.only_plot:
            continue
        times[key] = measure(preset, **settings, rounds=arguments.rounds)
        print(f"{key:24} {times[key]:8.3f} s", flush=True)
        data.write_text(json.dumps(found, indent=1) + "\n")
    plot(times, arguments.presets, found["machine"], picture)
    print(picture)


if __name__ == "__main__":
    main()
