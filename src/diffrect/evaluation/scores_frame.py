"""The scores of every case of a run, a report or a comparison, as a DataFrame of pandas."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrect.data.fields import Fields, is_number
from diffrect.errors import InputError
from diffrect.evaluation.metrics import METRICS
from diffrect.evaluation.scores_file import read_scores
from diffrect.json_files import read_json
from diffrect.runs.folds import SCORES_FILE
from diffrect.runs.names import CELL_FILE, SPLITS, metrics_file, report_folder

if TYPE_CHECKING:
    from pandas import DataFrame

_FACTS = ("run", "name", "seed", "labelled", "split", "checkpoint", "step")
_COLUMNS = (*_FACTS, "case", "patient", "class", *METRICS)
_FILES = (*map(metrics_file, SPLITS), SCORES_FILE)


def scores(folder: Path | str) -> "DataFrame":
    """Return the scores of every case and class in a folder, a row for each.

    It needs pandas, which the extra `notebook` names.

    Example:
        >>> import diffrect
        >>> _ = diffrect.evaluate("run", split="val", progress=False)
        >>> table = diffrect.scores("run")
        >>> table.groupby("class")["dice"].mean().index.tolist()
        ['left ventricle', 'myocardium', 'right ventricle']
        >>> sorted(diffrect.scores("cells")["name"].unique())
        ['diffrect', 'supervised']

    Args:
        folder: a RUN folder that `evaluate` has scored, the FOLDER of a comparison, or a
            `report_SPLIT` in either, which stands for that split alone.

    Returns:
        Columns `run` (name of the folder), `name` (of the variant in a comparison, else the
        method), `seed`, `labelled` (number of labelled patients), `split`, `checkpoint`, `step`,
        `case`, `patient`, `class`, and a column for each of `METRICS`, in its unit and NaN where it
        is undefined.

    Raises:
        InputError: pandas is not installed, no scores are there, or a file of them cannot be read
            or has changed since it was written.
    """
    try:
        import pandas as pd
    except ImportError:
        hint = "pip install pandas (extra: notebook)"
        raise InputError("scores", "the package pandas, it is not installed", hint=hint) from None
    files = _files(Path(folder))
    rows = [row for file in files for row in _rows(file)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _files(folder: Path) -> list[Path]:
    """Return the files with the scores of a folder.

    Raises:
        InputError: there are none.
    """
    names, place = _FILES, folder
    split = next((one for one in SPLITS if folder.name == report_folder(one)), None)
    if split is not None:
        names, place = (metrics_file(split),), folder.parent
    found = [place / name for name in names if (place / name).is_file()]
    if not found:
        found = [file for name in names for file in sorted(place.glob(f"*/{name}"))]
    if not found:
        missing = "no such folder" if not folder.is_dir() else f"no {' or '.join(names)}"
        hint = "diffrect evaluate RUN writes them"
        raise InputError(folder, "scores of a run or a comparison", found=missing, hint=hint)
    return found


def _rows(file: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a file of scores."""
    content = Fields(read_scores(file), file)
    settings = content.fields("protocol")
    cell = file.with_name(CELL_FILE)
    named = Fields(read_json(cell) if cell.is_file() else {}, cell)
    facts = (
        file.parent.resolve().name,
        named.text("name", settings.text("method")),
        settings.whole("seed", 0, 2**63 - 1),
        len(settings.texts("labelled_patients")),
        *(content.text("split"), content.text("checkpoint"), content.whole("step", 0)),
    )
    for case in content.each("cases"):
        classes = case.fields("classes")
        for name in classes.values:
            found = classes.fields(name)
            values = [_value(found, metric) for metric in METRICS]
            yield (*facts, case.text("id"), case.text("patient"), name, *values)


def _value(found: Fields, metric: str) -> float:
    value = found.get(metric, None)
    if value is None:
        return math.nan
    if not is_number(value):
        raise found.refuse(metric, "a number or null")
    return float(value)
