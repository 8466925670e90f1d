"""The RUN folder of a cross-validation: a run in a folder for each fold, and what belongs to all.

RUN/folds.json                      who is held out in each fold, and whether all are trained
RUN/config.yaml                     the configuration, as it was given
RUN/fold_1.json, fold_2.json ...    the split of each fold
RUN/fold_1/, fold_2/ ...            its run, see `runs.folder`
RUN/metrics_cross_validation.json   the scores of all held-out patients
"""

from collections.abc import Sequence
from pathlib import Path

from diffrect.atomic import write_atomic
from diffrect.config import TrainConfig, write_config
from diffrect.data.split import Split
from diffrect.distributed.locks import LOCK_FILE
from diffrect.errors import InputError
from diffrect.json_files import read_json, write_json
from diffrect.runs.folder import remove_run
from diffrect.runs.names import CONFIG_FILE

FOLDS_FILE = "folds.json"
SCORES_FILE = "metrics_cross_validation.json"
FORMAT_VERSION = 1


def is_cross_validation(run: Path) -> bool:
    """Return whether a folder holds the runs of a cross-validation."""
    return (run / FOLDS_FILE).is_file()


def fold_folder(run: Path, fold: int) -> Path:
    """Return the RUN folder of a fold, counted from 1."""
    return run / f"fold_{fold}"


def split_file(run: Path, fold: int) -> Path:
    """Return the split file of a fold, counted from 1."""
    return run / f"fold_{fold}.json"


def read_folds(run: Path) -> tuple[list[list[str]], bool]:
    """Return the patients whom each fold holds out, and whether all folds are trained.

    Raises:
        InputError: the file that says so is damaged, or of a later version.
    """
    file = run / FOLDS_FILE
    content = read_json(file, "the folds of a cross-validation")
    if content.get("format") != FORMAT_VERSION:
        raise InputError(file, f"folds of format {FORMAT_VERSION}", got=content.get("format"))
    folds = content.get("folds")
    named = isinstance(folds, list) and all(
        isinstance(fold, list) and all(isinstance(one, str) for one in fold) for fold in folds
    )
    if not named or not folds:
        raise InputError(file, "lists of patients under 'folds'", got=repr(folds))
    return folds, content.get("finished") is True


def trained_folds(run: Path) -> list[Path]:
    """Return the RUN folders of a cross-validation that is finished.

    Raises:
        InputError: it is not.
    """
    folds, finished = read_folds(run)
    if not finished:
        raise InputError(
            run,
            "a cross-validation of which all folds are trained",
            hint=f"finish it with: diffrect train STORE {run} --resume",
        )
    return [fold_folder(run, number) for number in range(1, len(folds) + 1)]


def start_folds(
    run: Path, config: TrainConfig, splits: Sequence[Split], *, resume: bool, overwrite: bool
) -> None:
    """Make the folder of a cross-validation, or check that it can be resumed.

    Args:
        run: the folder.
        config: the configuration, as it was given.
        splits: the split of each fold.
        resume: continue what is there.
        overwrite: remove what is there.

    Raises:
        InputError: there is something that may not be replaced, or other folds to resume.
    """
    held_out = [list(split.test) for split in splits]
    if run.exists() and not run.is_dir():
        raise InputError(run, "a folder to make", found="a file")
    found = sorted({path.name for path in run.iterdir()} - {LOCK_FILE}) if run.exists() else []
    if found and not is_cross_validation(run):
        found_there = f"one that holds {found[0]}"
        raise InputError(run, "a new folder or a cross-validation", found=found_there)
    if found and not (resume or overwrite):
        raise InputError(run, problem="exists already", hint="expected --resume or --overwrite")
    if found and overwrite:
        _remove(run)
    elif found and read_folds(run)[0] != held_out:
        problem = f"--resume expected the folds of {run / FOLDS_FILE}"
        raise InputError(run, problem=problem, hint="the options or the store name others")
    run.mkdir(parents=True, exist_ok=True)
    if not is_cross_validation(run):
        write_json(run / FOLDS_FILE, _content(held_out, finished=False))
        write_config(config, run / CONFIG_FILE)
    for number, split in enumerate(splits, start=1):
        write_atomic(split_file(run, number), split.to_json())


def finish_folds(run: Path) -> None:
    """Note that all folds are trained."""
    write_json(run / FOLDS_FILE, _content(read_folds(run)[0], finished=True))


def _content(folds: list[list[str]], *, finished: bool) -> dict[str, object]:
    return {"format": FORMAT_VERSION, "folds": folds, "finished": finished}


def _remove(run: Path) -> None:
    """Remove what a cross-validation has written; what marks it comes last."""
    for number in range(1, len(read_folds(run)[0]) + 1):
        remove_run(fold_folder(run, number))
        split_file(run, number).unlink(missing_ok=True)
    for name in (SCORES_FILE, CONFIG_FILE, FOLDS_FILE):
        (run / name).unlink(missing_ok=True)
