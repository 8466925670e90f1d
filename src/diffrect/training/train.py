"""A store in, a trained run out: start a training, or resume one."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from diffrect.config import TrainConfig, read_config
from diffrect.console import tell
from diffrect.data.choose_split import (
    check_split,
    origin_of_split,
    split_of,
)
from diffrect.data.loader import workers_explained
from diffrect.data.store import Store
from diffrect.distributed.locks import sole_command
from diffrect.distributed.ranks import is_launched
from diffrect.errors import InputError
from diffrect.methods.registry import complete, remembered
from diffrect.plugins.settings import trust_settings
from diffrect.runs.folder import (
    check_start,
    read_split,
    remember_store,
    start_run,
    take_back,
    tidy,
)
from diffrect.runs.names import CONFIG_FILE, PROFILE_FOLDER, SPLIT_FILE
from diffrect.runs.plugins import check_named_by_run, remember_plugins, warn_of_changes
from diffrect.runs.resume import check_same_training, has_state, newest_state
from diffrect.runs.saved import saved_config
from diffrect.training.checkpoints.state import restore
from diffrect.training.forecast import Forecast
from diffrect.training.header import announce
from diffrect.training.interval import with_interval
from diffrect.training.loggers.opening import check_loggers
from diffrect.training.loop import Loop
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
        config: what to train. Without it, `resume` continues the training that `run` holds, and a
            new training is DiffRect as on ACDC.
        resume: continue from the last checkpoint of `run`; with a `config`, start if there is none.
        overwrite: replace an existing `run`. One that ended before its first checkpoint is replaced
            in any case.
        progress: show a progress bar and one line per validation.
        profile: record the first iterations and print where their time and memory go.

    Returns:
        The folder `run`.

    Raises:
        InputError: something given is wrong, there is nothing to resume, or another process
            trains in `run`; nothing is left half-written.
        KeyboardInterrupt: a stop was asked for; the state is saved.
    """
    opened, run = Store(store), Path(run)
    if resume and overwrite:
        raise InputError("--overwrite and --resume", "one of them", got="both")
    check = partial(_check_run, run, config, resume=resume, overwrite=overwrite)
    with sole_command(run, check) as lock:
        check()
        if config is None:
            config = _saved_config(run) if resume else TrainConfig()
        else:
            trust_settings(config)
        check_loggers(config.logger)
        for case in opened.cases:
            opened.zoom(case, config.spacing)  # refuses a case without spacing if one is needed

        # Everything is checked and in memory before the first file is written.
        resuming = resume and has_state(run)
        make = _resumed if resuming else partial(_started, resume=resume)
        trainer = make(opened, run, config)
        trainer.saver.lock = lock

        origin = str(run / SPLIT_FILE) if resuming else origin_of_split(opened, config)
        announce(trainer, origin, progress=progress)

        # One process writes the folder, and the others wait until it is there.
        if trainer.fabric.is_global_zero:
            _write_start(trainer, config, resuming=resuming, asked=resume or overwrite)
        trainer.fabric.barrier()
        try:
            _fit(trainer, progress, profile)
        except BaseException as error:
            # Without a checkpoint there is nothing to lose, so nothing is left half-written.
            if lock is not None and lock.is_mine() and not has_state(run):
                take_back(run, remove=isinstance(error, InputError))
            raise
    return run


def _check_run(run: Path, config: TrainConfig | None, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds anything else than a run, or one that must not be replaced."""
    if resume and config is None:
        _saved_config(run)  # refuses a folder without a training to resume
    if not (resume and has_state(run)):
        check_start(run, resume=resume, overwrite=overwrite)


def _saved_config(run: Path) -> TrainConfig:
    """Return the configuration of a run, which may name code only as far as the user does."""
    config = saved_config(run)
    check_named_by_run(run, config, run / CONFIG_FILE)
    return config


def _write_start(trainer: Trainer, config: TrainConfig, *, resuming: bool, asked: bool) -> None:
    """Write what a RUN folder holds before the first iteration.

    Args:
        trainer: the training.
        config: its configuration, as it was given.
        resuming: whether there is a checkpoint to continue from.
        asked: whether --resume or --overwrite was given.
    """
    run = trainer.run
    tidy(run)
    if not resuming:
        if not asked and (run / CONFIG_FILE).is_file():
            tell(f"{run}: replaces a training that ended before its first checkpoint")
        start_run(run, config, trainer.config.options, trainer.split)
        remember_plugins(run, config)
    else:
        warn_of_changes(run)
    remember_store(run, trainer.store)


def _started(store: Store, run: Path, config: TrainConfig, *, resume: bool) -> Trainer:
    """Return a training that starts from its first iteration.

    If it resumes one that ended before its first checkpoint, it is that training again.
    """
    begun = resume and (run / CONFIG_FILE).is_file()
    if begun and (run / SPLIT_FILE).is_file():
        split = read_split(run)
        check_split(split, store, str(run / SPLIT_FILE))
    else:
        split = split_of(store, config)
    if begun:
        check_same_training(run, config, store, split)
    return Trainer(store, run, with_interval(complete(config), store, split), split)


def _resumed(store: Store, run: Path, config: TrainConfig) -> Trainer:
    """Return a training in the state of its last checkpoint."""
    state = newest_state(run, store, tell=not is_launched())
    check_split(state.split, store, str(run / SPLIT_FILE))
    check_same_training(run, config, store, state.split)
    check_named_by_run(run, state.config, state.path)
    options = remembered(state.config).options
    every = config.validate_every
    if every in (None, read_config(run / CONFIG_FILE).validate_every):  # no other is asked for
        every = state.config.validation_interval
    resumed = replace(config, options=options, validate_every=every)
    trainer = Trainer(store, run, resumed, state.split)
    restore(trainer, state)
    return trainer


def _fit(trainer: Trainer, progress: bool, profile: bool) -> None:
    """Train with everything that watches a training: its reports, signals and profiler."""
    run, config, fabric = trainer.run, trainer.config, trainer.fabric
    forecast = Forecast(config, trainer.step, fabric.device)
    monitor = Monitor(run, config, trainer.step, progress, fabric, forecast)
    with monitor, workers_explained(config.workers), StopRequest() as stop, ExitStack() as extras:
        profiler = None
        if profile and fabric.is_global_zero:
            profiler = extras.enter_context(StepProfiler(run / PROFILE_FOLDER, fabric.device))
        Loop(trainer, monitor, stop, profiler).fit()
