"""Blosc2 reads and writes a prepared store faster than Zarr 3 does, in smaller files.

    python benchmarks/store_formats.py [--rounds 5] [--reads 300]

Prints a table per kind of volume: time to write a case, its size, and time to read a slice, each
with its ratio to Blosc2's; above 1 means slower or larger.

Each library writes the same synthetic volumes, one chunk per slice, compressed with Zstandard level
1 after a byte shuffle, on one thread. Then random single slices are read: once opening the array
each time, as the store does, and once from arrays that stay open. Rounds alternate between the
libraries (A B C A B C ...), and the median counts. Zarr is measured with a file per slice and with
all slices of a case sharded into one file.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import zarr
from rich.console import Console
from rich.table import Table
from zarr.codecs import BloscCodec, BloscShuffle

# Cases of (Z, C, H, W) like ACDC's and like those of the Decathlon's hippocampus.
SHAPES = {"heart": (12, (10, 1, 256, 216)), "hippocampus": (40, (36, 1, 50, 35))}
QUANTITIES = {
    "write": "write, ms a case",
    "size": "size, KiB a case",
    "read": "open and read, us a slice",
    "reread": "read when open, us a slice",
}


def synthetic_case(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return a smooth field with noise in 12-bit steps, in [0, 1] like a prepared image."""
    generator = np.random.default_rng(seed)
    axes = [np.linspace(0, 3 * np.pi, size) for size in shape]
    z, _, y, x = np.meshgrid(*axes, indexing="ij")
    field = 600 + 200 * np.sin(y + z) * np.cos(x) + generator.gamma(2, 20, shape)
    # Air around the body, a third of the picture, has little signal.
    field[..., : shape[3] // 3] /= 20
    steps = np.rint(field)
    return ((steps - steps.min()) / (steps.max() - steps.min())).astype(np.float32)


def write_blosc2(path: Path, array: np.ndarray) -> None:
    """Write one file per case."""
    one = (1, *array.shape[1:])
    settings = blosc2.CParams(
        codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1
    )
    blosc2.asarray(array, chunks=one, blocks=one, urlpath=str(path), mode="w", cparams=settings)


def open_blosc2(path: Path) -> Any:
    """Return the array, unread."""
    return blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1))


def write_zarr(path: Path, array: np.ndarray, *, sharded: bool) -> None:
    """Write one file per slice, or one file per case if sharded."""
    codec = BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.shuffle)
    target = zarr.create_array(
        path,
        shape=array.shape,
        dtype=array.dtype,
        chunks=(1, *array.shape[1:]),
        shards=array.shape if sharded else None,
        compressors=codec,
    )
    target[:] = array


def open_zarr(path: Path) -> Any:
    """Return the array, unread."""
    return zarr.open_array(path, mode="r")


Writer = Callable[[Path, np.ndarray], None]
Opener = Callable[[Path], Any]
LIBRARIES: dict[str, tuple[Writer, Opener]] = {
    "Blosc2": (write_blosc2, open_blosc2),
    "Zarr, file a slice": (lambda p, a: write_zarr(p, a, sharded=False), open_zarr),
    "Zarr, sharded": (lambda p, a: write_zarr(p, a, sharded=True), open_zarr),
}


def measure(cases: list[np.ndarray], library: str, reads: int, seed: int) -> dict[str, float]:
    """Do one round: write all cases, add up their size, read random slices.

    Args:
        cases: the volumes.
        library: a name of `LIBRARIES`.
        reads: number of slices to read.
        seed: seed of the choice of slices.
    """
    write, open_array = LIBRARIES[library]
    generator = np.random.default_rng(seed)
    picks = generator.integers((len(cases), cases[0].shape[0]), size=(reads, 2)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.array" for number in range(len(cases))]
        start = time.perf_counter()
        for path, case in zip(paths, cases, strict=True):
            write(path, case)
        written = time.perf_counter()
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        opened = [open_array(path) for path in paths]
        begin = time.perf_counter()
        slices = [open_array(paths[case])[index] for case, index in picks]
        read = time.perf_counter()
        again = [opened[case][index] for case, index in picks]
        end = time.perf_counter()
    for (case, index), first, second in zip(picks, slices, again, strict=True):
        assert np.array_equal(first, cases[case][index])
        assert np.array_equal(second, cases[case][index])
    return {
        "write": 1e3 * (written - start) / len(cases),
        "size": size / 1024 / len(cases),
        "read": 1e6 * (read - begin) / reads,
        "reread": 1e6 * (end - read) / reads,
    }


def compare(name: str, rounds: int, reads: int) -> Table:
    """Return the table for volumes of one kind."""
    count, shape = SHAPES[name]
    cases = [synthetic_case(shape, seed) for seed in range(count)]
    results: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    for number in range(rounds + 1):
        for library in LIBRARIES:
            result = measure(cases, library, reads, seed=number)
            if number:  # the first round warms up
                results[library].append(result)
    table = Table(
        "library", *QUANTITIES.values(), title=f"{name}: {count} cases of {shape} float32"
    )
    medians = {
        library: {key: statistics.median(found[key] for found in measured) for key in QUANTITIES}
        for library, measured in results.items()
    }
    for library, values in medians.items():
        ratios = {key: values[key] / medians["Blosc2"][key] for key in QUANTITIES}
        table.add_row(library, *(f"{values[key]:.1f} (x{ratios[key]:.2f})" for key in QUANTITIES))
    return table


def main() -> None:
    """Measure each kind of volume and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=300)
    options = parser.parse_args()
    console = Console()
    console.print(f"blosc2 {blosc2.__version__}, zarr {zarr.__version__}, {options.rounds} rounds")
    for name in SHAPES:
        console.print(compare(name, options.rounds, options.reads))


if __name__ == "__main__":
    main()
