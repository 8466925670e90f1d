"""A store in, a trained run out: start a training, or resume one."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from diffrect.config import TrainConfig, read_config
from diffrect.data.choose_split import (
    check_split,
    origin_of_split,
    split_of,
)
from diffrect.data.loader import workers_explained
from diffrect.data.store import Store
from diffrect.distributed.ranks import is_launched
from diffrect.errors import InputError
from diffrect.methods.registry import complete, remembered
from diffrect.runs.folder import check_start, remember_store, start_run, take_back, tidy
from diffrect.runs.names import CONFIG_FILE, PROFILE_FOLDER, SPLIT_FILE
from diffrect.runs.resume import check_same_training, has_state, newest_state
from diffrect.training.forecast import Forecast
from diffrect.training.header import announce
from diffrect.training.interval import with_interval
from diffrect.training.monitor import Monitor
from diffrect.training.profiling import StepProfiler
from diffrect.training.stop import StopRequest
from diffrect.training.trainer import Trainer


def train(
    store: Path | str,
    run: Path | str,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    profile: bool = False,
) -> Path:
    """Train a method on a prepared store and write everything into the folder `run`.

    Example:
        >>> import diffrect
        >>> config = diffrect.TrainConfig(method="supervised", size=32, iterations=2)
        >>> run = diffrect.train("store", "new-run", config, progress=False)
        >>> (run / "checkpoints" / "best.pt").is_file()
        True

    Args:
        store: folder made by `prepare`.
        run: folder to write: configuration, split, log, checkpoints.
        config: what to train; the defaults train DiffRect as on ACDC.
        resume: continue from the last checkpoint of `run`, or start if there is none.
        overwrite: replace an existing `run`.
        progress: show a progress bar and one line per validation.
        profile: record the first iterations and print where their time and memory go.

    Returns:
        The folder `run`.

    Raises:
        InputError: something given is wrong; nothing is left half-written.
        KeyboardInterrupt: a stop was asked for; the state is saved.
    """
    opened, run, config = Store(store), Path(run), config or TrainConfig()
    if resume and overwrite:
        raise InputError("--overwrite and --resume", "one of them", got="both")
    for case in opened.cases:
        opened.zoom(case, config.spacing)  # refuses a case without spacing if one is needed

    # Everything is checked and in memory before the first file is written.
    resuming = resume and has_state(run)
    if resuming:
        trainer = _resumed(opened, run, config)
    else:
        trainer = _started(opened, run, config, resume=resume, overwrite=overwrite)

    origin = str(run / SPLIT_FILE) if resuming else origin_of_split(opened, config)
    announce(trainer, origin, progress=progress)

    # One process writes the folder, and the others wait until it is there.
    if trainer.fabric.is_global_zero:
        tidy(run)
        if not resuming:
            start_run(run, config, trainer.config.options, trainer.split)
        remember_store(run, opened)
    trainer.fabric.barrier()
    try:
        _fit(trainer, progress, profile)
    except BaseException as error:
        # Without a checkpoint there is nothing to resume from, so nothing is left half-written.
        gone = isinstance(error, FileNotFoundError) and not (run / CONFIG_FILE).is_file()
        if trainer.fabric.is_global_zero and (gone or not has_state(run)):
            take_back(run, remove=gone or isinstance(error, InputError))
        if gone:
            raise InputError(run, problem="was removed while it trained") from None
        raise
    return run


def _started(
    store: Store, run: Path, config: TrainConfig, *, resume: bool, overwrite: bool
) -> Trainer:
    """Return a training that starts from its first iteration, if the folder `run` allows it."""
    full = complete(config)
    split = split_of(store, config)
    check_start(run, resume=resume, overwrite=overwrite)
    return Trainer(store, run, with_interval(full, store, split), split)


def _resumed(store: Store, run: Path, config: TrainConfig) -> Trainer:
    """Return a training in the state of its last checkpoint."""
    state = newest_state(run, store, tell=not is_launched())
    check_split(state.split, store, str(run / SPLIT_FILE))
    check_same_training(run, config, store, state.split)
    options = remembered(state.config).options
    every = config.validate_every
    if every in (None, read_config(run / CONFIG_FILE).validate_every):  # no other is asked for
        every = state.config.validation_interval
    resumed = replace(config, options=options, validate_every=every)
    trainer = Trainer(store, run, resumed, state.split)
    trainer.load(state)
    return trainer


def _fit(trainer: Trainer, progress: bool, profile: bool) -> None:
    """Train with everything that watches a training: its reports, signals and profiler."""
    run, config, fabric = trainer.run, trainer.config, trainer.fabric
    forecast = Forecast(config, trainer.step, fabric.device)
    monitor = Monitor(run, config.iterations, trainer.step, progress, fabric, forecast)
    with monitor, workers_explained(config.workers), StopRequest() as stop, ExitStack() as extras:
        if profile and fabric.is_global_zero:
            profiler = StepProfiler(run / PROFILE_FOLDER, fabric.device)
            trainer.profiler = extras.enter_context(profiler)
        trainer.fit(monitor, stop)
