"""Save the state of a training: on one process, whole or not at all, and never with a NaN in it."""

from pathlib import Path

from lightning_fabric import Fabric

from diffrect.distributed.averages import any_process
from diffrect.distributed.locks import Lock
from diffrect.errors import InputError
from diffrect.runs.checkpoint import checkpoint_path, save_checkpoint
from diffrect.runs.folder import forget_replaced
from diffrect.runs.names import LAST, PREVIOUS
from diffrect.runs.resume import TrainingState
from diffrect.training.finite import check_state


def save_state(
    fabric: Fabric, state: TrainingState, run: Path, name: str, lock: Lock | None = None
) -> None:
    """Write a checkpoint on the first process; the others wait for it.

    Args:
        fabric: the processes, all of which have to call this.
        state: what to save; each process checks its own.
        run: the RUN folder.
        name: "best" or "last".
        lock: the lock of the RUN folder, on the first process.

    Raises:
        InputError: a number in it is not finite, the first process could not write it, or the RUN
            folder was removed or taken over by another machine.
        OSError: this is the first process, and it could not write it.
    """
    # Weights that are not finite are never saved.
    path = checkpoint_path(run, name)
    where = f"{path} after iteration {state.step}"
    numbers = ("method", "optimizers", "statistics")
    check_state({name: getattr(state, name) for name in numbers}, where)

    # The last checkpoint keeps the one before it, in case its file is damaged later.
    failure: OSError | InputError | None = None
    if fabric.is_global_zero:
        before = checkpoint_path(run, PREVIOUS) if name == LAST else None
        try:
            if lock is not None:
                lock.check()
            save_checkpoint(state.to_dict(), path, before)
        except (OSError, InputError) as error:
            failure = error

    # If the first process failed, all of them stop.
    failed = any_process(fabric, failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise InputError(path, problem="the first process could not write it")
    if name == LAST and fabric.is_global_zero:
        forget_replaced(run)
