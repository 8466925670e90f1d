"""Preparing a case and starting a training cost about the same, however many volumes there are.

    python benchmarks/load.py --volumes 200 2000 --folder load --figure docs/reports/load.png

Prints a row per number of volumes: time per case and peak memory of prepare, time to open the
store, and time and peak memory of a training's start. Draws them as a figure.

The volumes are synthetic, 20 slices of 128 x 128. Each measurement runs in a process of its own;
its processor time says what the work costs on a machine that others use too.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import nibabel as nib
import numpy as np
import torch

from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.training import trainer
from diffrect.training.train import train

SHAPE = (128, 128, 20)


def write_source(folder: Path, volumes: int) -> Path:
    """Write a Decathlon folder; keep the scans of earlier calls."""
    (folder / "imagesTr").mkdir(parents=True, exist_ok=True)
    (folder / "labelsTr").mkdir(exist_ok=True)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    ids = [f"volume_{number:05d}" for number in range(volumes)]
    for number, name in enumerate(ids):
        if not (folder / "labelsTr" / f"{name}.nii").exists():
            generator = np.random.default_rng(number)
            radius = np.hypot(x - generator.uniform(-0.3, 0.3), y) + 0.2 * z**2
            label = ((radius < 0.6).astype(np.uint8) + (radius < 0.3)).astype(np.uint8)
            image = 300 * label.astype(np.int16) + generator.integers(0, 200, SHAPE)
            for kind, array in (("imagesTr", image.astype(np.int16)), ("labelsTr", label)):
                nib.save(nib.Nifti1Image(array, np.eye(4)), folder / kind / f"{name}.nii")
    entries = [{"image": f"imagesTr/{n}.nii", "label": f"labelsTr/{n}.nii"} for n in ids]
    settings = {
        "modality": {"0": "MR"},
        "labels": {"0": "background", "1": "wall", "2": "cavity"},
        "training": entries,
    }
    (folder / "dataset.json").write_text(json.dumps(settings))
    split = {"train": ids[:-2], "val": ids[-2:], "labelled": ids[: len(ids) // 10]}
    (folder / "split.json").write_text(json.dumps(split))
    return folder


def measured(work: Callable[[], dict[str, float]], file: Path) -> dict[str, float]:
    """Return what `work` returns in a child of this process, with the child's own costs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            started, spent = time.perf_counter(), time.process_time()
            found = work()
            found |= {
                "seconds": time.perf_counter() - started,
                "processor_seconds": time.process_time() - spent,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
            file.write_text(json.dumps(found))
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        sys.exit("a measurement failed")
    return dict(json.loads(file.read_text()))


def first_step(store: Path, run: Path, split: Path) -> dict[str, float]:
    """Return the seconds from the call of `train` to its first iteration."""
    started, spent = time.perf_counter(), time.process_time()
    times: dict[str, float] = {}
    iteration = trainer.Trainer.iteration

    def timed(self: Any, raw: Any) -> Any:
        times["start"] = time.perf_counter() - started
        times["processor_start"] = time.process_time() - spent
        return iteration(self, raw)

    trainer.Trainer.iteration = timed  # type: ignore[method-assign]
    config = TrainConfig(size=128, iterations=1, split_file=split, options={"rectify_from": 0})
    train(store, run, config, progress=False)
    return times


def measure(folder: Path, volumes: int) -> dict[str, float]:
    """Return the costs of preparing so many volumes, opening their store and training."""
    source = write_source(folder / f"source_{volumes}", volumes)
    store, run, answer = folder / f"store_{volumes}", folder / f"run_{volumes}", folder / "a.json"

    def convert() -> dict[str, float]:
        return {"cases": len(prepare(source, store, progress=False).cases)}

    prepared = measured(convert, answer)
    opened = measured(lambda: {"cases": len(Store(store).cases)}, answer)
    trained = measured(lambda: first_step(store, run, source / "split.json"), answer)
    for path in (source, store, run):
        shutil.rmtree(path)
    return {
        "volumes": volumes,
        "prepare_ms_per_case": 1000 * prepared["seconds"] / volumes,
        "prepare_processor_ms_per_case": 1000 * prepared["processor_seconds"] / volumes,
        "prepare_peak_mib": prepared["peak_mib"],
        "open_ms": 1000 * opened["seconds"],
        "start_s": trained["start"],
        "start_processor_s": trained["processor_start"],
        "train_peak_mib": trained["peak_mib"],
    }


def draw(rows: list[dict[str, float]], file: Path) -> None:
    """Draw processor time per case, peak memory and start against the number of volumes."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
    volumes = [row["volumes"] for row in rows]
    curves = {
        "processor time of prepare, ms a case": {"prepare": "prepare_processor_ms_per_case"},
        "peak memory, MiB": {"prepare": "prepare_peak_mib", "one training step": "train_peak_mib"},
        "start of a training, s": {"elapsed": "start_s", "processor": "start_processor_s"},
    }
    for axis, (title, names) in zip(axes, curves.items(), strict=True):
        for label, name in names.items():
            axis.plot(volumes, [row[name] for row in rows], "o-", label=label)
        axis.set(title=title, xlabel="volumes", xscale="log")
        axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
        axis.set_xticks(volumes, [f"{number:,.0f}" for number in volumes])
        axis.minorticks_off()
        axis.title.set_fontsize(9)
        axis.legend(fontsize=7, frameon=False, loc="upper left")
    figure.savefig(file, dpi=120)


def main() -> None:
    """Measure each number of volumes, and print its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--folder", type=Path, required=True, help="where to work")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for volumes in given.volumes:
        rows.append(measure(given.folder, volumes))
        if len(rows) == 1:
            print("| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|")
        print("| " + " | ".join(f"{v:.4g}" for v in rows[-1].values()) + " |", flush=True)
    if given.figure:
        draw(rows, given.figure)


if __name__ == "__main__":
    main()
