"""Train K times, each time without another part of the labelled patients, and score these parts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffrect.atomic import remove_unfinished
from diffrect.config import TrainConfig, config_to_dict
from diffrect.console import tell
from diffrect.data.choose_split import resolve_split
from diffrect.data.split import Split
from diffrect.data.splits.drawn import HeldOut
from diffrect.data.splits.folds import make_folds
from diffrect.data.splits.labelled import ALL
from diffrect.data.store import Store
from diffrect.distributed.devices import find_device
from diffrect.distributed.locks import sole_writer
from diffrect.distributed.ranks import started_outside
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.result import Evaluation
from diffrect.evaluation.scores_file import write_scores
from diffrect.evaluation.summary import summarise
from diffrect.methods.registry import complete
from diffrect.plugins.settings import plugin_options
from diffrect.runs.folds import (
    SCORES_FILE,
    finish_folds,
    fold_folder,
    is_cross_validation,
    read_folds,
    split_file,
    start_folds,
)
from diffrect.training.loggers.opening import check_loggers
from diffrect.training.train import train

POOLED = "cross_validation"
"""What takes the place of the split's name in the scores of all held-out patients."""


def cross_validate(
    store: Path | str,
    run: Path | str,
    config: TrainConfig | None = None,
    *,
    folds: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Train a method once per fold, and write the scores of all held-out patients.

    Each labelled patient is held out in one fold and scored by its last checkpoint, which nothing
    chose. `diffrect.predict` and `Model.load` average the probabilities of all folds.

    Args:
        store: folder made by `prepare`.
        run: folder to write: a run per fold, and RUN/metrics_cross_validation.json.
        config: what to train.
        folds: how many; None takes those of a cross-validation that is resumed.
        resume: continue from the last checkpoint of the fold under way.
        overwrite: replace a cross-validation.
        progress: show progress, as `train`.

    Returns:
        The scores of all held-out patients together.

    Raises:
        InputError: something given is wrong.
        KeyboardInterrupt: a stop was asked for; the state is saved.
    """
    opened, run, config = Store(store), Path(run), config or TrainConfig()
    if resume and overwrite:
        raise InputError("--overwrite and --resume", "one of them", got="both")
    if config.devices * config.nodes > 1 or started_outside():
        raise InputError("--cross-validate", "one process", got="several", setting="devices")
    find_device(config.device)
    if folds is None:
        if not is_cross_validation(run):
            raise InputError("--cross-validate", "the number of folds", got="none")
        folds = len(read_folds(run)[0])
    whole = _without_folds(opened, config)
    splits = make_folds(whole, folds, config.seed)
    complete(config)
    check_loggers(config.logger)
    with sole_writer(run):
        start_folds(run, config, splits, resume=resume, overwrite=overwrite)
        results = []
        for number, split in enumerate(splits, start=1):
            if progress:
                tell(f"fold {number} of {folds}: without {', '.join(split.test)}")
            results.append(_do_fold(opened, run, config, number, progress=progress))
        pooled = _pool(results, run, config, whole)
        remove_unfinished(run, SCORES_FILE)
        write_scores(pooled, run / SCORES_FILE)
        finish_folds(run)
    return pooled


def _without_folds(store: Store, config: TrainConfig) -> Split:
    """Return the split of which folds are made: all labels train, nobody validates by himself."""
    if config.val_patients:
        got = f"{config.val_patients} to choose checkpoints by"
        raise InputError("--val-patients", "none with --cross-validate", got=got)
    if config.validate_slices is not None:
        got = f"{config.validate_slices:g} of each scan"
        raise InputError("--validate-slices", "none with --cross-validate", got=got)
    drawn = config.split_file is None and store.official_split is None
    return resolve_split(
        store,
        split_file=config.split_file,
        labelled=config.labelled or (None if config.split_file else ALL),
        seed=config.seed,
        held_out=HeldOut(0, config.test_patients or 0)
        if drawn
        else HeldOut(config.val_patients, config.test_patients),
    )


def _do_fold(
    store: Store, run: Path, config: TrainConfig, number: int, *, progress: bool
) -> Evaluation:
    """Train a fold, or what is left of it, and score the patients whom it holds out."""
    own = replace(
        config,
        split_file=split_file(run, number),
        labelled=None,
        val_patients=None,
        test_patients=None,
    )
    folder = fold_folder(run, number)
    try:
        train(store.path, folder, own, resume=True, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped in {folder.name}; resume with: diffrect train {store.path} {run} --resume"
            f"{plugin_options(config)}"
        ) from None
    return evaluate(
        folder,
        split="test",
        checkpoint="last",
        store=store.path,
        device=config.device,
        progress=progress,
    )


def _pool(
    results: Sequence[Evaluation], run: Path, config: TrainConfig, whole: Split
) -> Evaluation:
    """Return the scores of all folds as one evaluation."""
    cases = [case for result in results for case in result.cases]
    summary = summarise(case.classes for case in cases)
    return replace(
        results[0],
        split=POOLED,
        run=str(run.resolve()),
        protocol={
            **results[0].protocol,
            **{n: config_to_dict(config)[n] for n in ("split_file", "labelled", "test_patients")},
            "folds": len(results),
            "labelled_patients": [*whole.labelled, *whole.val],
            "unlabelled_patients": len(whole.unlabelled),
        },
        missing_patients=[p for result in results for p in result.missing_patients],
        mean=summary.mean,
        classes=summary.classes,
        undefined=summary.undefined,
        cases=cases,
    )
