"""Training needs hardly more memory than its networks do.

    python benchmarks/memory.py [--size 256] [--batch 3] [--presets reference default]

Prints per preset, in MB, what is kept, weights, optimisers, gradients, their sum (the need), the
peak, the ratio of peak to need, and RSS.

Need is the sum of the tensors that the forward pass of the largest update keeps for its backward
pass, the weights and buffers of all networks, the state of all optimisers, and the gradients of the
largest optimiser. What is kept is counted by autograd's hooks: every storage once, without weights.

Peak is the most bytes that PyTorch has allocated at once during an iteration. It includes scratch
memory inside PyTorch's operations, and what was there before (weights, optimisers). On a CPU it is
read from the profiler's records of the allocator, on a GPU from `torch.cuda.max_memory_allocated`.
It leaves out what libraries allocate on their own, such as oneDNN's scratch memory and the
interpreter. RSS is the largest resident set of the process after an iteration; that of a second
preset shows only if it is larger.
"""

import argparse
import gc
import resource
from collections.abc import Callable, Iterator

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from diffrect.config import TrainConfig
from diffrect.methods.base import Update
from diffrect.training.trainer import Trainer
from phantom_store import phantom_store
from side_by_side import DEVICE, machine
from step_time import make_trainer, turn

STATE = ("weights", "optimisers", "gradients")


class Kept:
    """Bytes that the forward pass of each update keeps, by the names of the updates."""

    def __init__(self, trainer: Trainer) -> None:
        self.bytes: dict[str, int] = {}
        parameters = [*trainer.method.parameters(), *trainer.method.buffers()]
        self.weights = {tensor.untyped_storage().data_ptr() for tensor in parameters}
        self.updates = trainer.method.updates
        trainer.method.updates = self.watched  # type: ignore[method-assign]

    def watched(self, *arguments: object) -> Iterator[Update]:
        """Yield the method's updates, and look at the graph of each."""
        updates = self.updates(*arguments)  # type: ignore[arg-type]
        while True:
            seen: dict[int, int] = {}

            def look(tensor: torch.Tensor, seen: dict[int, int] = seen) -> torch.Tensor:
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.weights:
                    seen[storage.data_ptr()] = storage.nbytes()
                return tensor.detach()

            with saved_tensors_hooks(look, lambda tensor: tensor):
                update = next(updates, None)
            if update is None:
                return
            self.bytes[update.name] = max(self.bytes.get(update.name, 0), sum(seen.values()))
            yield update


def storages(tensors: Iterator[torch.Tensor]) -> int:
    """Return the bytes of tensors that may share their memory."""
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(found.values())


def state_of(trainer: Trainer) -> dict[str, int]:
    """Return the bytes of what lives from one iteration to the next, and of gradients."""
    method, optimizers = trainer.method, trainer.optimizers.values()
    entries = [value for o in optimizers for state in o.state.values() for value in state.values()]
    groups = [sum(storages(iter(g["params"])) for g in o.param_groups) for o in optimizers]
    return {
        "weights": storages(iter([*method.parameters(), *method.buffers()])),
        "optimisers": storages(value for value in entries if isinstance(value, torch.Tensor)),
        "gradients": max(groups),
    }


def living() -> int:
    """Return the bytes of all tensors that exist on the device."""
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Parameter)  # and no stand-in without memory
    everything = (one for one in gc.get_objects() if type(one) in kinds)
    return storages(one for one in everything if one.device.type == DEVICE.type)


def peak_of(run: Callable[[], object]) -> int:
    """Return the most bytes that are allocated at once during a call."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated()
    before = living()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    result = recorded.profiler.kineto_results  # type: ignore[union-attr]
    changes = [(e.start_ns(), e.nbytes()) for e in result.events() if e.name() == "[memory]"]
    now = highest = before
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        now += change
        highest = max(highest, now)
    return highest


def peak_of_training(trainer: Trainer) -> int:
    """Return the peak of two turns; the second begins with the gradients of the first."""
    for optimizer in trainer.optimizers.values():  # what is freed has to be seen to be allocated
        optimizer.zero_grad(set_to_none=True)
    run = turn(trainer)
    return peak_of(lambda: (run(), run()))


def main() -> None:
    """Print the memory of each preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=3, help="labelled and unlabelled slices each")
    parser.add_argument("--presets", nargs="+", default=["reference", "default"])
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()
    size, batch = arguments.size, arguments.batch
    print(f"{machine()}; {size} x {size}, batch {batch} + {batch}, {arguments.precision}; MB")
    print(" ".join(f"{word:>10}" for word in ("", "kept", *STATE, "need", "peak", "ratio", "RSS")))
    with phantom_store() as store:
        for preset in arguments.presets:
            config = TrainConfig(
                labelled="1",
                preset=preset,
                size=size,
                batch_labelled=batch,
                batch_unlabelled=batch,
                precision=arguments.precision,
            )
            report(make_trainer(store, store.path.parent, config))
            gc.collect()


def report(trainer: Trainer) -> None:
    """Measure a training and print its row."""
    turn(trainer)()  # optimisers make their state
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    peak = peak_of_training(trainer)
    kept = Kept(trainer)
    turn(trainer)()
    state = state_of(trainer)
    largest = max(kept.bytes.values())
    need = largest + sum(state.values())
    row = " ".join(f"{n / 1e6:10.1f}" for n in (largest, *state.values(), need, peak))
    print(f"{trainer.config.preset:>10} {row} {peak / need:10.3f} {resident:10.0f}")
    updates = (f"{update} {count / 1e6:.1f}" for update, count in kept.bytes.items())
    print(f"{'':>10} kept by update: {', '.join(updates)}")


if __name__ == "__main__":
    main()
