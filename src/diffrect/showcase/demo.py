"""The method at work without any data: synthetic hearts, two trainings, one picture, one table."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from diffrect.checks import folder_to_make
from diffrect.console import stderr_console
from diffrect.data.prepare import prepare
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.distributed.locks import LOCK_FILE, sole_writer
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.result import Evaluation
from diffrect.inference.predict import predict
from diffrect.json_files import write_json
from diffrect.phantom.write import write_phantom
from diffrect.showcase.pictures import draw_rows
from diffrect.showcase.report import print_comparison, write_report
from diffrect.showcase.settings import METHODS, DemoSettings
from diffrect.showcase.slices import median_case, rows_of_case, show_rectification
from diffrect.training.train import train

SETTINGS_FILE = "demo.json"
# All that the demo makes; SETTINGS_FILE comes first and marks the folder as the demo's.
ENTRIES = (SETTINGS_FILE, "data", "store", "split.json", *METHODS, "predictions", "demo.png")
REPORT_FILE = "demo.md"


def demo(
    folder: Path | str = "demo",
    *,
    iterations: int | None = None,
    settings: DemoSettings | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Draw synthetic hearts, train on one of them with and without DiffRect, and compare.

    Writes data, store, split, both runs, predicted label files, `demo.png` and `demo.md`.

    Example:
        >>> import diffrect
        >>> from diffrect.showcase.settings import DemoSettings
        >>> few = DemoSettings(patients=4, validation=1, test=1, size=32, iterations=2)
        >>> folder = diffrect.demo("demo", settings=few, progress=False)
        >>> sorted(file.name for file in folder.glob("demo.*"))
        ['demo.json', 'demo.md', 'demo.png']

    Args:
        folder: folder to make.
        iterations: length of both trainings, in place of the settings' (the schedule scales).
        settings: everything else; the defaults take a few minutes on two cores.
        overwrite: replace what an earlier demo left in `folder`.
        progress: report progress, and print the table at the end.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something already, or settings do not fit each other.
    """
    settings = settings or DemoSettings()
    if iterations is not None:
        settings = settings.lasting(iterations)
    folder = Path(folder)
    console = stderr_console(quiet=not progress)
    with sole_writer(folder, partial(check_folder, folder, overwrite)):
        start_folder(folder, settings, overwrite)
        try:
            store, split = make_data(folder, settings, console)
            minutes = {
                method: train_method(folder, method, settings, console, progress)
                for method in METHODS
            }
            results = evaluate_methods(folder, console, progress)
            caption = show_slices(folder, store, split, results, console, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {folder} holds an unfinished demo") from None
        write_report(folder / REPORT_FILE, results, split, settings, minutes, caption)
    if progress:
        print_comparison(folder, results)
    return folder


def check_folder(folder: Path, overwrite: bool) -> list[str]:
    """Return what an earlier demo has left in a folder.

    Raises:
        InputError: it holds something; with `overwrite`, something that is not of a demo.
    """
    folder_to_make(folder)
    known = (*ENTRIES, REPORT_FILE)
    unfinished = tuple(f".{name}." for name in known)  # files that a killed demo was writing
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    found = sorted(there - {LOCK_FILE})
    if found and not overwrite:
        raise InputError(folder, f"a new or empty folder, it holds {found[0]} already")
    strange = [name for name in found if name not in known and not name.startswith(unfinished)]
    if found and (strange or SETTINGS_FILE not in found):
        other = (strange or found)[0]
        raise InputError(folder, "nothing but an earlier demo to replace", got=other)
    return found


def start_folder(folder: Path, settings: DemoSettings, overwrite: bool) -> None:
    """Make an empty folder that remembers its settings.

    Raises:
        InputError: as of `check_folder`.
    """
    found = check_folder(folder, overwrite)
    for name in sorted(found, key=SETTINGS_FILE.__eq__):  # the mark of a demo goes last
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SETTINGS_FILE, asdict(settings))


def make_data(folder: Path, settings: DemoSettings, console: Console) -> tuple[Store, Split]:
    """Draw the patients, prepare the store and write the split.

    The first patients train, the first of all labelled; then come those that validate and test.
    Diagnoses take turns, so every part holds several.
    """
    with console.status(f"drawing {settings.patients} synthetic patients"):
        places = write_phantom(folder / "data", settings.patients, settings.phantom_seed)
        store = prepare(folder / "data", folder / "store", format="acdc", progress=False)
    patients = tuple(place.name for place in places)
    held_out = settings.validation + settings.test
    split = Split(
        train=patients[:-held_out],
        val=patients[-held_out : -settings.test],
        test=patients[-settings.test :],
        labelled=patients[:1],
    )
    (folder / "split.json").write_text(split.to_json(), "utf-8")
    console.print(
        f"{folder}: {len(patients)} synthetic patients; 1 labelled and {len(split.unlabelled)} "
        f"unlabelled to train, {len(split.val)} to validate, {len(split.test)} to test"
    )
    return store, split


def train_method(
    folder: Path, method: str, settings: DemoSettings, console: Console, progress: bool
) -> float:
    """Train one of the methods; return the minutes it took.

    Args:
        folder: folder of the demo.
        method: name of the method, which is also that of its RUN folder.
        settings: length and kind of the training.
        console: where to say which method trains.
        progress: show a progress bar.
    """
    console.print(f"training {method}, {settings.iterations} iterations")
    started = time.perf_counter()
    config = settings.train_config(method, folder / "split.json")
    train(folder / "store", folder / method, config, progress=progress)
    return (time.perf_counter() - started) / 60


def evaluate_methods(folder: Path, console: Console, progress: bool) -> dict[str, Evaluation]:
    """Return the evaluation of each method on the test patients."""
    console.print("evaluating both on the test patients")
    return {
        method: evaluate(folder / method, split="test", progress=progress) for method in METHODS
    }


def show_slices(
    folder: Path,
    store: Store,
    split: Split,
    results: Mapping[str, Evaluation],
    console: Console,
    progress: bool,
) -> str:
    """Write label files of a test patient, and the picture; return the picture's caption.

    Args:
        folder: folder of the demo.
        store: its store.
        split: its patients.
        results: the evaluation of each method.
        console: where to say what takes time.
        progress: show progress bars.
    """
    case = store.cases[median_case(results["supervised"], results["diffrect"])]
    images = sorted((folder / "data" / case.patient).glob("*_frame??.nii.gz"))
    predict(folder / "diffrect", folder / "predictions", images, progress=progress)
    with console.status("rectifying the pseudo-labels of the unlabelled slices"):
        tests = rows_of_case(store, case, {method: folder / method for method in METHODS})
        shown = show_rectification(folder / "diffrect", store, split)
    caption = (
        "Upper rows: the test scan with the median change in Dice from supervised to DiffRect. "
        "Last row: of the unlabelled training slices that show every structure, the one whose "
        "pseudo-label rectification changed most. Over all "
        f"{shown.slices} unlabelled slices that show the heart, the mean Dice of the pseudo-label "
        f"is {100 * shown.before:.1f} % before and {100 * shown.after:.1f} % after rectification. "
        "Below a panel: Dice of the slice, mean and in brackets each structure in the legend's "
        "order."
    )
    draw_rows([*tests, shown.row], store.classes, caption, folder / "demo.png")
    return caption
