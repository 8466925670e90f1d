"""Whether a store holds what a run was trained to segment."""

from pathlib import Path

from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.errors import InputError

_OF_PREPARE = ("intensity", "axis")  # parts of a task that are options of prepare


def check_fits(store: Store, task: Task, run: Path) -> None:
    """Check that a store is of the task that a run was trained for.

    Args:
        store: the store.
        task: what the run's model segments.
        run: its folder, for the message.

    Raises:
        InputError: it has other classes or channels, or is normalised or cut in another way.
    """
    name = task.difference(store.task)
    if name is not None:
        wanted, found = (getattr(each, name) for each in (task, store.task))
        hint = f"prepare it with --{name} {wanted}" if name in _OF_PREPARE else None
        raise InputError(store.path, f"the {name} of {run}, {wanted}", got=found, hint=hint)
