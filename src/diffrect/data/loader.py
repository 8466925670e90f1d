"""Two-stream batches: labelled slices first, then unlabelled ones, resumable at any step.

The slices of an iteration depend only on (seed, step, rank): each stream is an endless row of
shuffled passes over its slices, and iteration `step` of rank r takes the next few of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from diffrect.config import TrainConfig
from diffrect.data.batch import RawBatch
from diffrect.data.record import SliceIndex
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.distributed.signals import end_with_parent, held
from diffrect.errors import InputError


@lru_cache(maxsize=8)
def shuffled(slices: int, seed: int, stream: int, epoch: int) -> np.ndarray:
    """Return the order of one pass over some slices.

    Args:
        slices: number of slices of the stream.
        seed: seed of the training.
        stream: 0 for labelled slices, 1 for unlabelled ones.
        epoch: number of the pass.
    """
    return np.random.default_rng((seed, stream, epoch)).permutation(slices)


class Batches(Dataset[RawBatch]):
    """Item `step` is the batch of that iteration on one rank.

    Args:
        store: the prepared data set.
        labelled: the slices whose labels are used.
        unlabelled: the other training slices.
        sizes: number of labelled and of unlabelled slices per batch and rank.
        seed: draws the order of the slices.
        rank: number of this process.
        world: number of processes.
        spacing: millimetres per pixel of the network's input; None resizes slices to fit.
    """

    def __init__(
        self,
        store: Store,
        labelled: Sequence[SliceIndex],
        unlabelled: Sequence[SliceIndex],
        sizes: tuple[int, int],
        seed: int,
        rank: int = 0,
        world: int = 1,
        spacing: float | None = None,
    ) -> None:
        self.store, self.spacing = store, spacing
        self.streams = (list(labelled), list(unlabelled))
        self.sizes, self.seed, self.rank, self.world = sizes, seed, rank, world

    def __getitem__(self, step: int) -> RawBatch:
        labelled, unlabelled = (self._take(stream, step) for stream in (0, 1))
        images = [self.store.image(s.case, s.position) for s in [*labelled, *unlabelled]]
        labels = [self.store.label(s.case, s.position) for s in labelled]
        shapes = [image.shape[-2:] for image in images]
        largest = tuple(max(side) for side in zip(*shapes, strict=True))
        return RawBatch(
            torch.from_numpy(np.stack([_pad(image, largest) for image in images])),
            torch.from_numpy(np.stack([_pad(label, largest) for label in labels])),
            torch.tensor(shapes),
            tuple(s.case for s in [*labelled, *unlabelled]),
            self._zooms([*labelled, *unlabelled]),
            tuple(s.position for s in [*labelled, *unlabelled]),
        )

    def _zooms(self, slices: list[SliceIndex]) -> torch.Tensor | None:
        zooms = [self.store.zoom(s.case, self.spacing) for s in slices]
        return None if self.spacing is None else torch.tensor(zooms)

    def _take(self, stream: int, step: int) -> list[SliceIndex]:
        slices, size = self.streams[stream], self.sizes[stream]
        first = (step * self.world + self.rank) * size
        taken = []
        for position in range(first, first + size):
            epoch, place = divmod(position, len(slices))
            taken.append(slices[shuffled(len(slices), self.seed, stream, epoch)[place]])
        return taken


def training_batches(
    store: Store, split: Split, config: TrainConfig, unlabelled: bool, rank: int, world: int
) -> Batches:
    """Return the batches of a configuration.

    Args:
        store: the prepared data set.
        split: patients of each part.
        config: batch sizes, seed and spacing.
        unlabelled: whether the method learns from unlabelled slices; otherwise all rows of a batch
            are labelled.
        rank: number of this process.
        world: number of processes.

    Raises:
        InputError: a semi-supervised method has no unlabelled patients to learn from.
    """
    sizes = (config.batch_labelled, config.batch_unlabelled)
    labelled_slices, other_slices = store.training_slices(split)
    if not unlabelled:
        sizes = (sum(sizes), 0)
    elif not sizes[1]:
        got = f"0 for --method {config.method}"
        raise InputError("--batch-unlabelled", "at least 1", got=got, setting="batch_unlabelled")
    elif not other_slices:
        raise InputError(
            f"--method {config.method}",
            "unlabelled training patients",
            found=f"labels of all {len(split.train)}",
            hint="train on them with --method supervised, or use the labels of N with --labelled N",
            setting="method",
        )
    return Batches(
        store, labelled_slices, other_slices, sizes, config.seed, rank, world, config.spacing
    )


def iterate(batches: Batches, start: int, stop: int, workers: int) -> Iterator[RawBatch]:
    """Yield the batches of iterations `start` to `stop` - 1.

    Args:
        batches: the batches of all iterations.
        start: first iteration.
        stop: iteration after the last.
        workers: number of processes that read ahead; 0 reads in this one.

    Raises:
        InputError: a file of the store is damaged.
    """
    loader: DataLoader[RawBatch | InputError] = DataLoader(
        _ErrorsAsItems(batches),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        persistent_workers=False,
        worker_init_fn=_start_reader,
        multiprocessing_context="spawn" if workers else None,
    )
    # The readers end with the training, which needs them until it has saved.
    with held() if workers else nullcontext():
        batches_ahead = iter(loader)
    try:
        for item in batches_ahead:
            if isinstance(item, InputError):
                raise item
            yield item
    finally:
        del batches_ahead  # ends the readers, even while a traceback keeps this frame


def _start_reader(number: int) -> None:
    """Have a process that reads end with its training, even one that was killed before this.

    torch's own watch takes the process that has adopted the reader for its parent then.
    """
    end_with_parent()


class _ErrorsAsItems(Dataset[RawBatch | InputError]):
    """The same batches, but an InputError is an item: torch would raise the text of its traceback.

    An item crosses from the process that reads to the one that trains with all its parts.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> RawBatch | InputError:
        try:
            return self.batches[step]
        except InputError as error:
            return error


@contextmanager
def workers_explained(workers: int) -> Iterator[None]:
    """Raise an InputError if a reading process died; torch says so from a signal handler."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"--workers {workers}",
            "processes that last, one was killed, perhaps for lack of (shared) memory",
            hint="try fewer, or 0, which --resume takes too",
            setting="workers",
        ) from None


def _pad(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pad (..., H, W) with zeros at the bottom and right to `shape`."""
    height, width = array.shape[-2:]
    if (height, width) == tuple(shape):
        return array
    margins = [(0, 0)] * (array.ndim - 2) + [(0, shape[0] - height), (0, shape[1] - width)]
    return np.pad(array, margins)
