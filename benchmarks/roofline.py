"""The segmenter's convolutions run about as fast as the machine can.

    python benchmarks/roofline.py [--size 256] [--batch 3] [--parts bandwidth shapes presets]

Prints one block per part:

bandwidth  bytes per second of a copy and of c = a + b on arrays far larger than the caches.
shapes     floating point operations per second of the segmenter's 3 x 3 convolutions, forward and
           backward (gradients of input and weights), in PyTorch's default layout and channels-last,
           float32 and bfloat16. The sum of each column is the time that the convolutions of one
           forward and backward pass of the segmenter take.
presets    counted operations of an iteration, the least time at the throughput that "shapes" found
           for the whole segmenter in channels-last, the time taken, and the share of each kind of
           operation in it, from a profile.

On a GPU, one measurement of the first two parts is many calls in a row, so that it shows the work
of a call and not its start; the time in which no operation runs is among the shares.
"""

import argparse
from collections.abc import Callable, Iterable

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from diffrect.config import TrainConfig
from diffrect.networks.unet import WIDTHS
from diffrect.training.profiling import operations
from phantom_store import phantom_store
from side_by_side import DEVICE, machine, parse, typical
from step_time import counted, make_trainer, period, turn

CALLS = 20 if DEVICE.type == "cuda" else 1
COLUMNS = [
    (layout, dtype, way)
    for dtype in (torch.float32, torch.bfloat16)
    for layout in (torch.contiguous_format, torch.channels_last)
    for way in ("forward", "backward")
]
KINDS = {  # of operations: what their names contain; the first that fits counts
    "convolutions": ("conv",),
    "batch norm": ("batch_norm",),
    "activation": ("leaky_relu", "silu", "sigmoid", "relu"),
    "dropout": ("dropout", "_Drop", "bernoulli", "random_"),
    "upsampling": ("upsample",),
    "pooling": ("max_pool", "avg_pool"),
    "concatenation": ("cat", "_Concatenate"),
    "copies and layout": ("copy_", "contiguous", "clone", "fill_", "zero_"),
    "matrix products": ("mm", "linear"),
    # optimisers on a CPU and averages of weights among them
    "additions, products": ("_foreach", "_fused", "add", "mul", "div", "sub", "lerp"),
    "softmax, losses": ("softmax", "nll", "sum", "mean", "cross_entropy"),
}


def shapes(channels: int, classes: int) -> list[tuple[int, int, int]]:
    """Return (in, out, halvings) of the segmenter's 3 x 3 convolutions."""
    found = []
    before = channels
    for level, width in enumerate(WIDTHS):
        found += [(before, width, level), (width, width, level)]
        before = width
    for level in reversed(range(len(WIDTHS) - 1)):
        width = WIDTHS[level]
        found += [(2 * width, width, level), (width, width, level)]
    return [*found, (WIDTHS[0], classes, 0)]


def of_one(run: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of one of the calls in a row."""

    def calls() -> None:
        for _ in range(CALLS):
            run()

    return typical(calls, rounds) / CALLS


def bandwidth(rounds: int) -> None:
    """Print what the memory delivers."""
    a, b = (torch.rand(1 << 26, device=DEVICE) for _ in range(2))
    c = torch.empty_like(a)
    for what, run, passes in (
        ("copy", lambda: c.copy_(a), 2),
        ("c = a + b", lambda: torch.add(a, b, out=c), 3),
    ):
        rate = passes * a.nbytes / of_one(run, rounds)
        print(f"{what:10} {rate / 1e9:6.1f} GB/s")


def convolution(
    shape: tuple[int, int, int, int, int], layout: torch.memory_format, dtype: torch.dtype, way: str
) -> Callable[[], object]:
    """Return one convolution ready to run; backward skips what nobody needs.

    Args:
        shape: rows, channels in and out, side, and whether it is the first, whose images need no
            gradient.
        layout: memory layout of images and weights.
        dtype: their number type.
        way: "forward" or "backward".
    """
    rows, inputs, outputs, side, first = shape
    x = torch.rand(rows, inputs, side, side, device=DEVICE, dtype=dtype).to(memory_format=layout)
    w = torch.rand(outputs, inputs, 3, 3, device=DEVICE, dtype=dtype).to(memory_format=layout)
    if way == "forward":
        return lambda: F.conv2d(x, w, padding=1)
    y = F.conv2d(x, w, padding=1)
    mask = (not first, True, False)
    return lambda: torch.ops.aten.convolution_backward(
        y, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
    )


def throughput(size: int, rows: int, channels: int, classes: int, rounds: int) -> float:
    """Print a row for each shape; return operations per second both ways, channels-last.

    Args:
        size: side of the slices in pixels.
        rows: number of slices.
        channels: image channels.
        classes: number of classes, background included.
        rounds: number of turns.
    """
    names = [
        f"{'last' if layout == torch.channels_last else 'default'} {str(dtype)[6:]} {way}"
        for layout, dtype, way in COLUMNS
    ]
    print("GFLOP/s of: " + "; ".join(f"{i} {name}" for i, name in enumerate(names)))
    print(f"{'in':>4} {'out':>4} {'side':>4} " + " ".join(f"{i:>6}" for i in range(len(names))))
    work, taken = [0.0] * len(COLUMNS), [0.0] * len(COLUMNS)
    for number, (inputs, outputs, level) in enumerate(shapes(channels, classes)):
        side, line = size >> level, ""
        for index, (layout, dtype, way) in enumerate(COLUMNS):
            first = number == 0
            passes = 1 if way == "forward" or first else 2
            operations = passes * 2 * 9 * inputs * outputs * side**2 * rows
            run = convolution((rows, inputs, outputs, side, first), layout, dtype, way)
            time = of_one(run, rounds)
            work[index] += operations
            taken[index] += time
            line += f" {operations / time / 1e9:6.0f}"
        print(f"{inputs:4} {outputs:4} {side:4}{line}")
    rates = [w / t for w, t in zip(work, taken, strict=True)]
    print(f"{'all':14}" + "".join(f" {rate / 1e9:6.0f}" for rate in rates))
    print(f"{'ms':14}" + "".join(f" {1e3 * t:6.4g}" for t in taken))
    both = [i for i, (layout, dtype, _) in enumerate(COLUMNS) if dtype == torch.float32]
    best = [i for i in both if COLUMNS[i][0] == torch.channels_last]
    return sum(work[i] for i in best) / sum(taken[i] for i in best)


def kind_of(name: str) -> str:
    """Return the kind of an operation by its name."""
    fits = (kind for kind, words in KINDS.items() if any(word in name for word in words))
    return next(fits, "the rest")


def shares(events: Iterable, taken: float) -> dict[str, float]:
    """Return the share of each kind in a profile's time; on a GPU, in the seconds taken."""
    where = "self_device_time_total" if DEVICE.type == "cuda" else "self_cpu_time_total"
    times: dict[str, float] = {}
    for event in operations(events):
        kind = kind_of(event.key)
        times[kind] = times.get(kind, 0.0) + getattr(event, where)
    if DEVICE.type == "cuda":
        times["idle"] = max(0.0, 1e6 * taken - sum(times.values()))
    total = sum(times.values()) or 1.0
    return {kind: time / total for kind, time in sorted(times.items(), key=lambda e: -e[1])}


def presets(size: int, batch: int, names: list[str], rounds: int, rate: float | None) -> None:
    """Print work, time and shares of an iteration of each preset.

    Args:
        size: side of the slices in pixels.
        batch: labelled and unlabelled slices each.
        names: the presets.
        rounds: number of turns.
        rate: operations per second to compare with, or None.
    """
    activities = [ProfilerActivity.CPU]
    if DEVICE.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with phantom_store() as store:
        for preset in names:
            config = TrainConfig(
                labelled="1", preset=preset, size=size, batch_labelled=batch, batch_unlabelled=batch
            )
            trainer = make_trainer(store, store.path.parent, config)
            run, count = turn(trainer), period(trainer)
            work = counted(run) / count
            time = typical(run, rounds) / count
            with profile(activities=activities) as recorded:
                run()
            line = f"{preset}: {work / 1e9:.0f} GFLOP counted, {time:.4g} s taken"
            if rate is not None:
                line += f", {work / rate:.4g} s at {rate / 1e9:.0f} GFLOP/s"
                line += f" ({100 * work / rate / time:.0f} % of the time taken)"
            print(line)
            for kind, share in shares(recorded.key_averages(), time * count).items():
                print(f"  {kind:20} {100 * share:5.1f} % {time * share:8.4f} s")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=3, help="labelled and unlabelled slices each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--presets", nargs="+", default=["reference", "default"])
    parser.add_argument("--parts", nargs="+", default=["bandwidth", "shapes", "presets"])
    arguments = parse(parser)
    size, batch, rounds = arguments.size, arguments.batch, arguments.rounds
    print(f"{machine()}; {size} x {size}, batch {batch} + {batch}")
    if DEVICE.type == "cuda":
        print(f"float32 convolutions in TF32: {torch.backends.cudnn.allow_tf32}")
    if "bandwidth" in arguments.parts:
        bandwidth(rounds)
    rate = throughput(size, 2 * batch, 1, 4, rounds) if "shapes" in arguments.parts else None
    if "presets" in arguments.parts:
        presets(size, batch, arguments.presets, max(1, rounds // 2), rate)


if __name__ == "__main__":
    main()
