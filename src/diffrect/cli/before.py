"""What a command refuses before it loads PyTorch, which takes seconds; its work checks the rest."""

from collections.abc import Sequence
from pathlib import Path

from diffrect.comparison.cells import plan_cells
from diffrect.comparison.matrix import MatrixArguments
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.inference.inputs import list_scans
from diffrect.inference.rectifying.pairs import list_pairs
from diffrect.methods.registry import check_name, check_network_name, find_method
from diffrect.plugins.files import load_plugins
from diffrect.plugins.settings import check_settings
from diffrect.runs.names import Checkpoint
from diffrect.runs.plugins import check_named_by_run
from diffrect.runs.rankings import check_no_ranking, ranking_folder
from diffrect.runs.recognise import check_has_model, check_is_run, check_is_store
from diffrect.training.loggers.names import check_packages, parse_loggers
from diffrect.viewing.gather import check_source
from diffrect.viewing.niivue import check_niivue


def look_at_store(store: Path) -> None:
    """Refuse a folder that is no store.

    Raises:
        InputError: see `Store`.
    """
    check_is_store(store)
    Store(store)


def look_before_training(
    store: Path, settings: TrainConfig, plugins: Sequence[str], file: Path | None
) -> None:
    """Refuse a store, a method or a network that there is not, and load plug-ins.

    Args:
        store: the store.
        settings: the settings of the training.
        plugins: see `load_plugins`.
        file: the file that some of the settings come from, which may not name any code.

    Raises:
        InputError: naming it.
    """
    check_packages(parse_loggers(settings.logger))
    look_at_store(store)
    check_name(settings.method)
    check_network_name(settings)
    look_at_code(settings, plugins, file)
    find_method(settings.method)


def look_at_code(settings: TrainConfig, plugins: Sequence[str], file: Path | None) -> None:
    """Load plug-ins, and refuse code that only a file names.

    Args:
        settings: the settings of the training.
        plugins: see `load_plugins`.
        file: the file that some of the settings come from.

    Raises:
        InputError: naming it.
    """
    load_plugins(plugins)
    if file is not None:
        check_named_by_run(file.parent, settings, file)


def look_before_comparing(
    store: Path, matrix: MatrixArguments, plugins: Sequence[str], file: Path | None
) -> None:
    """Refuse a matrix that cannot be, or a store that there is not, and load plug-ins.

    Args:
        store: the store.
        matrix: the arguments that describe the matrix.
        plugins: see `load_plugins`.
        file: the file that some of the settings come from, which may not name any code.

    Raises:
        InputError: naming it.
    """
    config = matrix["config"]
    if not plugins:
        _check_matrix(matrix, config, file)
    look_at_store(store)
    if plugins:
        load_plugins(plugins)
        _check_matrix(matrix, config, file)


def _check_matrix(matrix: MatrixArguments, config: TrainConfig | None, file: Path | None) -> None:
    if file is not None and config is not None:
        check_settings(config, file)
    plan_cells(**matrix)
    check_packages(parse_loggers((matrix.get("config") or TrainConfig()).logger))


def look_before_rectifying(run: Path, checkpoint: str, inputs: Sequence[Path]) -> None:
    """Refuse scans, labels or a model that are not there.

    Raises:
        InputError: naming it.
    """
    list_pairs(inputs, 1)
    check_has_model(run, checkpoint)


def look_before_ranking(
    run: Path,
    store: Path,
    out: Path | None,
    checkpoint: str,
    plugins: Sequence[str],
    overwrite: bool,
) -> None:
    """Refuse a run, a store or a folder that cannot be, and load plug-ins.

    Args:
        run: the run.
        store: the store.
        out: folder to write; None stands for one in the run.
        checkpoint: the checkpoint of the run.
        plugins: see `load_plugins`.
        overwrite: whether a ranking may be replaced.

    Raises:
        InputError: naming it.
    """
    check_is_run(run, "rank needs the patients of the training")
    check_has_model(run, checkpoint)
    look_at_store(store)
    check_no_ranking(ranking_folder(run, out), overwrite=overwrite)
    load_plugins(plugins)


def look_before_predicting(
    runs: Sequence[Path], checkpoint: str, inputs: Sequence[Path], plugins: Sequence[str]
) -> None:
    """Refuse images or models that are not there, and load plug-ins.

    Raises:
        InputError: naming it.
    """
    list_scans(inputs, 1)
    for run in runs:
        check_has_model(run, checkpoint)
    load_plugins(plugins)


def look_at_run_and_store(run: Path, checkpoint: str, store: Path, plugins: Sequence[str]) -> None:
    """Refuse a model or a store that is not there, and load plug-ins.

    Raises:
        InputError: naming it.
    """
    check_has_model(run, checkpoint)
    look_at_store(store)
    load_plugins(plugins)


def look_before_viewing(
    source: Path, store: Path | None, patients: str, checkpoint: Checkpoint, plugins: Sequence[str]
) -> None:
    """Refuse a source or a store that is not there, or a missing viewer, and load plug-ins.

    Raises:
        InputError: naming it.
    """
    check_niivue()
    check_source(source, store=store, patients=patients, checkpoint=checkpoint)
    if store is not None:
        look_at_store(store)
    load_plugins(plugins)
