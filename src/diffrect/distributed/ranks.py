"""Several processes that do one job: who speaks, who does which part, how they end together.

Lightning Fabric starts the processes of a training, unless torchrun or srun have done so.
Evaluation and prediction are shared out if torchrun or srun started them. This module does not
import torch, so that the command line can ask it without delay.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from diffrect.processes import local_rank, rank_and_world

Item = TypeVar("Item")


def is_launched() -> bool:
    """Return whether this is not the first process of its machine; known before any work starts."""
    return local_rank() != 0


def is_first() -> bool:
    """Return whether this process speaks for all."""
    return not is_launched() and rank_and_world()[0] == 0


def started_outside() -> bool:
    """Return whether torchrun or srun started the processes, and ends all when one dies."""
    return rank_and_world()[1] > 1


def started_by_fabric() -> bool:
    """Return whether the first process of a training started this one, by Lightning Fabric."""
    return is_launched() and not started_outside()


def leave_after_parent(seconds: float = 10) -> None:
    """Wait for the first process to end, so that it is not killed while it tidies up.

    Fabric kills all processes some seconds after one of them has failed.
    """
    if started_by_fabric():
        parent, deadline = os.getppid(), time.monotonic() + seconds
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.05)


@dataclass(frozen=True)
class Ranks:
    """This process among all that evaluate or predict together, numbered from 0."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's part of the items: every `world`th."""
        return list(items[self.rank :: self.world])

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """Return what all processes made of their shares, in the order of the items shared."""
        if self.world == 1:
            return list(mine)
        import torch.distributed

        parts: list[list[Item]] = [[] for _ in range(self.world)]
        torch.distributed.all_gather_object(parts, list(mine))
        longest = max(map(len, parts))
        return [part[i] for i in range(longest) for part in parts if i < len(part)]


def joined() -> Ranks:
    """Return this process among those of a training that runs, or that `together` has joined."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Ranks()


@contextmanager
def together() -> Iterator[Ranks]:
    """Join the processes that torchrun or srun started while the context lasts."""
    rank, world = rank_and_world()
    if world == 1:
        yield Ranks()
        return
    import torch.distributed
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    if "MASTER_ADDR" not in os.environ:  # srun
        os.environ["MASTER_ADDR"] = SLURMEnvironment(auto_requeue=False).main_address
        os.environ["MASTER_PORT"] = str(SLURMEnvironment(auto_requeue=False).main_port)
    # the results are small and on the CPU, whatever computed them
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    try:
        yield Ranks(rank, world)
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()
