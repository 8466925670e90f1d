"""What a command refuses before it loads PyTorch, which takes seconds; its work checks the rest."""

from collections.abc import Sequence
from pathlib import Path

from diffrect.comparison.cells import plan_cells
from diffrect.comparison.matrix import MatrixArguments
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.inference.inputs import list_scans
from diffrect.methods.registry import find_method
from diffrect.runs.recognise import check_has_model, check_is_store
from diffrect.training.loggers.names import check_packages, parse_loggers


def look_at_store(store: Path) -> None:
    """Refuse a folder that is no store.

    Raises:
        InputError: see `Store`.
    """
    check_is_store(store)
    Store(store)


def look_before_training(store: Path, config: TrainConfig) -> None:
    """Refuse a store, a method or a logger that there is not.

    Raises:
        InputError: naming it.
    """
    check_packages(parse_loggers(config.logger))
    look_at_store(store)
    find_method(config.method)


def look_before_comparing(store: Path, matrix: MatrixArguments) -> None:
    """Refuse a matrix that cannot be, or a store or a logger that there is not.

    Raises:
        InputError: naming it.
    """
    plan_cells(**matrix)
    check_packages(parse_loggers((matrix.get("config") or TrainConfig()).logger))
    look_at_store(store)


def look_before_predicting(runs: Sequence[Path], checkpoint: str, inputs: Sequence[Path]) -> None:
    """Refuse images or models that are not there.

    Raises:
        InputError: naming it.
    """
    list_scans(inputs, 1)
    for run in runs:
        check_has_model(run, checkpoint)
