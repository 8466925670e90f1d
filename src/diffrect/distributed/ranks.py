"""Several processes that share one job: which one this is, sharing cases out, ending together.

Fabric starts the processes of a training, or torchrun or srun did before. Evaluating and predicting
take part when torchrun or srun started them. Imports no torch, so that the command line may ask.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


def is_launched() -> bool:
    """Whether this is not the first process of its machine; known before it starts any work."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def is_first() -> bool:
    """Whether this process speaks for all."""
    return not is_launched() and rank_and_world()[0] == 0


def rank_and_world() -> tuple[int, int]:
    """Number of this process and of all that torchrun or srun started; (0, 1) on its own."""
    names = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))
    for rank, world in names:
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def started_outside() -> bool:
    """Whether torchrun or srun started the processes, and ends them all when one of them dies."""
    return rank_and_world()[1] > 1


def end_with_parent() -> None:
    """From now on this process ends when the one that started it does, even if that is killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if is_launched() and not started_outside():
        threading.Thread(target=watch, daemon=True).start()


def leave_after_parent(seconds: float = 10) -> None:
    """Waits for the first process to end, so that it is not killed while it tidies up.

    Fabric kills all processes some seconds after one of them has failed.
    """
    if is_launched() and not started_outside():
        parent, deadline = os.getppid(), time.monotonic() + seconds
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.05)


@dataclass(frozen=True)
class Ranks:
    """This process among all that evaluate or predict together."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part of the items: every `world`th."""
        return list(items[self.rank :: self.world])

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """What all processes made of their shares, in the order of the items that were shared."""
        if self.world == 1:
            return list(mine)
        import torch.distributed

        parts: list[list[Item]] = [[] for _ in range(self.world)]
        torch.distributed.all_gather_object(parts, list(mine))
        longest = max(map(len, parts))
        return [part[i] for i in range(longest) for part in parts if i < len(part)]


@contextmanager
def together() -> Iterator[Ranks]:
    """Joins the processes that torchrun or srun started, for as long as the block takes."""
    rank, world = rank_and_world()
    if world == 1:
        yield Ranks()
        return
    import torch.distributed
    from lightning_fabric.plugins.environments import SLURMEnvironment

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
