"""Save the state of a training: on one process, whole or not at all, and never with a NaN in it.

A thread writes while the training continues. It has a copy of the state, and the next one waits for
it. The last checkpoint comes before the best ones: a training that is killed between them has its
whole state, and writes its best checkpoints when it is resumed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from diffrect.distributed.averages import any_process
from diffrect.distributed.locks import Lock
from diffrect.errors import InputError
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from diffrect.runs.folder import forget_replaced, make_room
from diffrect.runs.model_state import ModelState
from diffrect.runs.names import LAST, PREVIOUS
from diffrect.runs.resume import TrainingState
from diffrect.training.finite import check_state


class Saver:
    """Writes the checkpoints of a training in the background.

    Args:
        fabric: the processes; all of them have to call `save` and `wait`.
        run: the RUN folder.

    Attributes:
        lock: the lock of the RUN folder, on the first process, which has to be held to write.
    """

    def __init__(self, fabric: Fabric, run: Path) -> None:
        self.fabric, self.run = fabric, run
        self.lock: Lock | None = None
        self.thread: Thread | None = None
        self.failure: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether something could not be written, on this process; `wait` says what."""
        return self.failure is not None

    def save(self, state: TrainingState, models: Mapping[str, ModelState] | None = None) -> None:
        """Write the last checkpoint and then the best ones that are given, after those before them.

        Args:
            state: the state of the training; each process checks its own.
            models: by the names of their checkpoints, the best models so far, parts of that state.

        Raises:
            InputError: a number in the state is not finite; or see `wait`, about those before.
            OSError: see `wait`.
        """
        self.wait()
        # Weights that are not finite are never saved.
        where = f"{checkpoint_path(self.run, LAST)} after iteration {state.step}"
        numbers = ("method", "optimizers", "statistics", "average")
        check_state({name: getattr(state, name) for name in numbers}, where)
        if not self.fabric.is_global_zero:
            return
        last = copied(state.to_dict())
        best = {name: copied(model.to_dict()) for name, model in (models or {}).items()}
        self.thread = Thread(target=self._try, args=(self._write, last, best), name="checkpoint")
        self.thread.start()

    def save_missing(self, name: str, model: ModelState) -> None:
        """Write a best checkpoint if a kill has kept it from being written.

        Args:
            name: of the checkpoint.
            model: the model of the present state, which it has to hold.

        Raises:
            OSError: it could not be written.
        """
        path = checkpoint_path(self.run, name)
        if not self.fabric.is_global_zero or (path.is_file() and _step_of(path) == model.step):
            return
        save_checkpoint(model.to_dict(), path)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            InputError: the RUN folder was removed or taken over by another machine, or the first
                process could not write.
            OSError: this is the first process, and it could not write.
        """
        self.close()
        # If the first process failed, all of them stop.
        failed = any_process(self.fabric, self.failed)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        if failed:
            path = checkpoint_path(self.run, LAST)
            raise InputError(path, problem="the first process could not write it")

    def close(self) -> None:
        """Wait until nothing is being written, whatever becomes of it."""
        interrupt: KeyboardInterrupt | None = None
        while self.thread is not None and self.thread.is_alive():
            try:
                self.thread.join()
            except KeyboardInterrupt as error:  # the folder is not left while it is written
                interrupt = error
        self.thread = None
        if interrupt is not None:
            raise interrupt

    def _try(self, write: Callable[..., None], *content: Any) -> None:
        try:
            write(*content)
        except BaseException as error:  # whatever it is, the training has to hear of it
            self.failure = error

    def _write(self, last: dict[str, Any], best: dict[str, dict[str, Any]]) -> None:
        """Write the last checkpoint and the best ones; this runs in the thread."""
        run = self.run
        if self.lock is not None:
            self.lock.check()
        # The last checkpoint keeps the one before it, in case its file is damaged later.
        save_checkpoint(last, checkpoint_path(run, LAST), checkpoint_path(run, PREVIOUS))
        forget_replaced(run)
        for name, model in best.items():
            save_checkpoint(model, checkpoint_path(run, name))
        make_room(run)


def copied(value: Any) -> Any:
    """Return plain values and tensors, nested in dicts and lists, with the tensors on the host.

    The training does not change the copy.
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    if isinstance(value, list):
        return [copied(one) for one in value]
    if isinstance(value, tuple):
        return tuple(copied(one) for one in value)
    return value


def _step_of(path: Path) -> int | None:
    """Return the iterations that a checkpoint has seen; None if it cannot be read."""
    try:
        return int(load_checkpoint(path)["step"])
    except InputError:
        return None
