"""An iteration costs a few U, and nearly all of it is the work of the networks.

    python benchmarks/step_time.py [--size 256] [--rounds 5] [--batch 3] [--precision 32-true]

Prints, for U and each preset, the seconds, their number of U, the counted number of U, GFLOP/s and
the share outside the networks.

U is one forward and backward pass of the plain segmenter on as many slices as a batch has, in
PyTorch's default layout and float32. U and the iterations, which include loading and augmentation,
take turns; medians are compared. If the rectifier learns only every k-th iteration, a turn is k of
them and their mean counts. "Counted" is the floating point work of one iteration over that of U.
"Outside" is the share of an iteration that is neither a network's forward or backward pass nor an
optimiser's step: loading, augmentation, colouring, losses, pseudo-labels. It is measured in turns
of its own, because there a GPU is waited for wherever such a part begins or ends. Labelling and
correcting all volumes, which `default` does now and then, is measured by itself, per slice. The
data are synthetic hearts, slices of up to 256 x 256.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from diffrect.config import TrainConfig
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.methods.diffrect.volume_transports import VolumeTransports
from diffrect.methods.losses import cross_entropy_dice
from diffrect.methods.registry import complete
from diffrect.networks.unet import ConvBlock, UNet
from diffrect.training.train import Trainer
from phantom_store import phantom_store
from side_by_side import DEVICE, machine, now, parse, seconds, take_turns, typical

STEP = 20_100  # of 30,000: all updates are on, and no volumes are due to be labelled again


class Clock:
    """The seconds that are spent in the networks' own parts of an iteration."""

    def __init__(self, trainer: Trainer) -> None:
        self.inside, self.depth = 0.0, 0
        method = trainer.method
        networks = [method.segmenter, getattr(method, "teacher", None)]
        if hasattr(method, "rectifier"):
            networks += method.rectifier.children()
        for network in networks:
            if network is not None:
                network.register_forward_pre_hook(lambda *_: self.enter())
                network.register_forward_hook(lambda *_: self.leave())
        trainer.fabric.backward = self.timed(trainer.fabric.backward)  # type: ignore[method-assign]
        for optimizer in trainer.optimizers.values():
            optimizer.step = self.timed(optimizer.step)  # type: ignore[method-assign]

    def enter(self) -> None:
        """Start the clock, unless it runs already."""
        if self.depth == 0:
            self.started = now()
        self.depth += 1

    def leave(self) -> None:
        """Stop the clock when the outermost part ends."""
        self.depth -= 1
        if self.depth == 0:
            self.inside += now() - self.started

    def timed(self, function: Callable) -> Callable:
        """Return a function whose calls the clock measures."""

        def call(*arguments: object, **options: object) -> object:
            with self.measured():
                return function(*arguments, **options)

        return call

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Run the clock while the context lasts."""
        self.enter()
        try:
            yield
        finally:
            self.leave()


def unit(size: int, rows: int, channels: int, classes: int) -> Callable[[], object]:
    """Return a forward and backward pass of the plain segmenter, by PyTorch's own operations.

    Args:
        size: side of the slices in pixels.
        rows: number of slices.
        channels: image channels.
        classes: number of classes, background included.
    """
    network = UNet(channels, classes).to(DEVICE)
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.dropout = nn.Dropout(module.dropout.p)
    images = torch.rand(rows, channels, size, size, device=DEVICE)
    labels = torch.randint(classes, (rows, size, size), device=DEVICE)

    def run() -> None:
        network.zero_grad()
        cross_entropy_dice(network(images), labels).backward()

    return run


def make_trainer(store: Store, folder: Path, config: TrainConfig) -> Trainer:
    """Return a training in the middle of its schedule."""
    patients = store.patients
    split = Split(train=patients[:-1], val=patients[-1:], labelled=patients[:1])
    trainer = Trainer(store, folder, complete(config), split)
    trainer.step = STEP
    return trainer


def period(trainer: Trainer) -> int:
    """Return the number of iterations after which the kinds of updates come again."""
    return int(getattr(trainer.method.options, "rectifier_interval", 1))


def turn(trainer: Trainer) -> Callable[[], None]:
    """Return a call that does the next `period` iterations, from reading their slices on."""

    def run() -> None:
        for _ in range(period(trainer)):
            trainer.iteration(trainer.batches[trainer.step])

    return run


def counted(run: Callable[[], object]) -> int:
    """Return the floating point operations of one call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def outside(trainer: Trainer, run: Callable[[], object], rounds: int) -> float:
    """Return the share of a training's turns that is spent outside its networks."""
    clock = Clock(trainer)
    taken = sum(seconds(run) for _ in range(rounds))
    return 1 - clock.inside / taken


def relabelling(trainer: Trainer, rounds: int) -> float | None:
    """Return the seconds per slice of labelling and correcting all volumes; None if none are."""
    transports = getattr(trainer.method, "transports", None)
    if not isinstance(transports, VolumeTransports):
        return None
    slices = len(transports.labels.slices.case)
    return typical(lambda: transports.relabel(), rounds) / slices


def main() -> None:
    """Build the data, take turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=3, help="labelled and unlabelled slices each")
    parser.add_argument("--presets", nargs="+", default=["reference", "default"])
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--option", nargs="*", default=[], help="NAME=VALUE, for all presets")
    arguments = parse(parser)
    options = {name: yaml.safe_load(v) for name, v in (o.split("=") for o in arguments.option)}
    size, batch = arguments.size, arguments.batch
    with phantom_store() as store:
        rows, classes = 2 * batch, len(store.classes)
        runs = {"U": unit(size, rows, store.channels, classes)}
        trainers = {}
        for preset in arguments.presets:
            config = TrainConfig(
                labelled="1",
                preset=preset,
                size=size,
                batch_labelled=batch,
                batch_unlabelled=batch,
                precision=arguments.precision,
                options=options,
            )
            trainers[preset] = make_trainer(store, store.path.parent, config)
            runs[preset] = turn(trainers[preset])
        periods = {"U": 1} | {preset: period(trainer) for preset, trainer in trainers.items()}
        for preset in trainers:
            runs[preset]()  # labels all volumes, where the rectifier needs them
        work = {what: counted(run) / periods[what] for what, run in runs.items()}
        times = take_turns(runs, arguments.rounds)
        again = {
            preset: relabelling(trainer, arguments.rounds) for preset, trainer in trainers.items()
        }
        others = {
            preset: outside(trainer, runs[preset], arguments.rounds)
            for preset, trainer in trainers.items()
        }
    print(f"{machine()}; {size} x {size}, batch {batch} + {batch}, {arguments.precision}")
    print(f"{'':12} {'seconds':>9} {'U':>6} {'counted U':>10} {'GFLOP/s':>8} {'outside':>8}")
    for what, taken in times.items():
        one = taken / periods[what]
        line = f"{what:12} {one:9.5f} {one / times['U']:6.2f} {work[what] / work['U']:10.2f} "
        line += f"{work[what] / one / 1e9:8.0f}"
        if what in others:
            line += f" {100 * others[what]:7.1f}%"
        print(line)
    for preset, taken in again.items():
        if taken is not None:
            part = f"{taken / times['U']:.3f} U per slice"
            print(f"{preset}: labelling and correcting all volumes again takes {part}")


if __name__ == "__main__":
    main()
