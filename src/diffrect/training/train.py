"""A store in, a trained run out: starts a training or goes on with one."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from diffrect.config import TrainConfig
from diffrect.data.choose_split import check_split, resolve_split
from diffrect.data.loader import workers_explained
from diffrect.data.store import Store
from diffrect.distributed.ranks import is_launched
from diffrect.errors import InputError
from diffrect.methods.registry import complete
from diffrect.runs.folder import check_start, remember_store, start_run, take_back, tidy
from diffrect.runs.names import PROFILE_FOLDER, SPLIT_FILE
from diffrect.runs.resume import check_same_training, has_state, newest_state
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
    """Trains a method on a prepared store and writes everything into the folder `run`.

    Args:
        store: folder made by `prepare`.
        run: folder to write: configuration, split, metrics, checkpoints.
        config: what to train; the defaults train DiffRect as on ACDC.
        resume: go on from the last checkpoint of `run` (start where there is none).
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
        raise InputError("--overwrite and --resume: expected one of them, got both")
    for case in opened.cases:
        opened.zoom(case, config.spacing)  # refuses a case without spacing, if one is needed
    resuming = resume and has_state(run)
    if resuming:
        state = newest_state(run, opened, tell=not is_launched())
        split = state.split
        check_split(split, opened, str(run / SPLIT_FILE))
        check_same_training(run, config, opened, split)
        full = replace(config, options=state.config.options)
    else:
        full = complete(config)
        split = resolve_split(
            opened, split_file=config.split_file, labelled=config.labelled, seed=config.seed
        )
        check_start(run, resume=resume, overwrite=overwrite)
    trainer = Trainer(opened, run, full, split)
    if resuming:
        trainer.load(state)
    if trainer.fabric.is_global_zero:
        tidy(run)
        if not resuming:
            start_run(run, config, full.options, split)
        remember_store(run, opened)
    trainer.fabric.barrier()
    try:
        monitor = Monitor(run, config.iterations, trainer.step, progress, trainer.fabric)
        with (
            monitor,
            workers_explained(config.workers),
            StopRequest() as stop,
            ExitStack() as extras,
        ):
            if profile and trainer.fabric.is_global_zero:
                profiler = StepProfiler(run / PROFILE_FOLDER, trainer.fabric.device)
                trainer.profiler = extras.enter_context(profiler)
            trainer.fit(monitor, stop)
    except BaseException as error:
        # Without a checkpoint there is nothing to go on from: nothing is left half-written.
        if trainer.fabric.is_global_zero and not has_state(run):
            take_back(run, remove=isinstance(error, InputError))
        raise
    return run
