"""RUN/report_SPLIT/index.html: what a run is worth on a split, to look at."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffrect.console import count
from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.metrics import METRICS
from diffrect.evaluation.result import CaseScores, Evaluation
from diffrect.imaging.label_codes import IGNORED
from diffrect.reporting.agreement_charts import volume_panels
from diffrect.reporting.cases import (
    case_table,
    class_table,
    mean_score,
    shown_metrics,
    telling_cases,
)
from diffrect.reporting.charts import Strip, colour_class, strips
from diffrect.reporting.curves import read_curves
from diffrect.reporting.page import PAGE_FILE, write_page
from diffrect.reporting.panels import Panel, PictureRow
from diffrect.reporting.slices import DrawnPanel, SliceDrawer
from diffrect.runs.names import CONFIG_FILE, report_folder

MOST_NAMED = 40  # patients that a page lists by name


class ShownSlice(NamedTuple):
    """A slice of a case: which one, why, and its panels."""

    words: str
    panels: list[DrawnPanel]


class ShownCase(NamedTuple):
    """A case that is shown: what it is an example of, its scores, its slices."""

    kind: str
    name: str
    words: str
    slices: list[ShownSlice]


def write_report(run: Path | str, scores: Evaluation) -> Path:
    """Write RUN/report_SPLIT/index.html, one page that needs no other file and no network.

    It shows the course of the training, every case in a table that sorts, the distribution of the
    scores, the worst, the median and the best case, volumes against the truth, and what was trained
    on.

    Example:
        >>> import diffrect
        >>> scores = diffrect.evaluate("run", keep_predictions=True, progress=False)
        >>> diffrect.write_report("run", scores).as_posix()
        'run/report_val/index.html'

    Args:
        run: folder made by `train`.
        scores: what `evaluate` returned for it, with `keep_predictions`.

    Returns:
        The page.

    Raises:
        InputError: the scores come without predictions, or the store that was scored is not there
            any more.
    """
    run = Path(run)
    if not scores.predictions:
        raise InputError(
            "scores", "the predictions too", hint="evaluate with keep_predictions=True"
        )
    store = Store(scores.store)
    drawer = SliceDrawer()
    path = run / report_folder(scores.split) / PAGE_FILE
    write_page(
        path,
        "run.html",
        title=run.resolve().name,
        scores=scores,
        patients=len(scores.patients),
        curves=read_curves(run, list(scores.classes)),
        styles={name: colour_class(code) for code, name in enumerate(scores.classes, start=1)},
        class_table=class_table(scores),
        case_table=case_table(scores),
        distributions=_distributions(scores),
        shown=[
            _shown_case(kind, case, scores, store, drawer)
            for kind, case in telling_cases(scores.cases)
        ],
        volumes=volume_panels(scores, store),
        unlabelled=_unlabelled(scores, store),
        left_out=bool(scores.blocks),
        partial=sum(bool(case.ignored_voxels) for case in scores.cases),
        facts=_facts(scores),
        options=_plain(scores.protocol.get("options")),
        settings=_plain({k: v for k, v in scores.protocol.items() if k not in _SHOWN}),
        commands=_commands(scores),
    )
    return path


def _distributions(scores: Evaluation) -> list[Any]:
    """Return a chart per metric with a row per class."""
    charts = []
    names = [case.id for case in scores.cases]
    for metric in shown_metrics(scores):
        rows = [
            Strip(
                name,
                colour_class(code),
                [metric.scale * case.classes[name][metric.name] for case in scores.cases],
                names,
            )
            for code, name in enumerate(scores.classes, start=1)
        ]
        ends = (0.0, 100.0) if metric.percent else None
        charts.append(strips(f"{metric.title} of every case by class", rows, metric.label, ends))
    return charts


def _shown_case(
    kind: str, case: CaseScores, scores: Evaluation, store: Store, drawer: SliceDrawer
) -> ShownCase:
    """Return the slices of a case with the most truth and with the most errors."""
    record, truth = store.cases[case.id], _scored_truth(scores, store, case.id)
    prediction = scores.predictions[case.id].unpack()
    dice = METRICS["dice"]
    value = dice.text(mean_score(case.classes, dice.name), decimals=1)
    words = f"patient {case.patient}; mean {dice.title} {value} {dice.shown_unit}"
    slices = []
    for index, reason in telling_slices(prediction, truth).items():
        row = _row(store, record, index, truth[index], prediction[index])
        panels = drawer.draw(row, store.classes, millimetres=record.spacing is not None)
        slices.append(ShownSlice(f"slice {index + 1} of {record.slices}, {reason}", panels))
    return ShownCase(kind, case.id, words, slices)


def _scored_truth(scores: Evaluation, store: Store, case: str) -> np.ndarray:
    """Return the labels (Z, H, W) of a case; those of slices that are not scored as `IGNORED`."""
    truth = store.label(case)
    for block in scores.blocks:
        if block.case == case:
            scored = np.full_like(truth, IGNORED)
            scored[block.part] = truth[block.part]
            return scored
    return truth


def telling_slices(prediction: np.ndarray, truth: np.ndarray) -> dict[int, str]:
    """Return which slices of (Z, H, W) to look at, and why."""
    known = truth != IGNORED
    size = ((truth > 0) & known).sum(axis=(1, 2))
    wrong = ((prediction != truth) & known).sum(axis=(1, 2))
    if not size.any():
        return {int(wrong.argmax()): "the most errors"}
    most, worst = int(size.argmax()), int(wrong.argmax())
    if not wrong.any():
        return {most: "the largest"}
    if most == worst:
        return {most: "the largest and with the most errors"}
    return {most: "the largest", worst: "the most errors"}


def _row(
    store: Store, record: CaseRecord, index: int, truth: np.ndarray, prediction: np.ndarray
) -> PictureRow:
    spacing = (1.0, 1.0) if record.spacing is None else record.spacing[1:]
    panels = [Panel("image"), Panel("truth", truth), Panel("prediction", prediction)]
    image = store.image(record.id, index)[0]
    return PictureRow(f"{record.id}, slice {index + 1}", image, truth, spacing, panels)


def _unlabelled(scores: Evaluation, store: Store) -> int:
    """Return how many cases of the scored patients have no truth, so that nobody can score them."""
    patients = {*scores.patients, *scores.missing_patients}
    return sum(not case.labelled and case.patient in patients for case in store.cases.values())


_SHOWN = ("method", "preset", "options", "labelled_patients", "unlabelled_patients", "seed", "size")


def _facts(scores: Evaluation) -> dict[str, str]:
    """Return what was trained and scored, by name."""
    protocol = scores.protocol
    labelled = [str(patient) for patient in protocol.get("labelled_patients", ())]
    named = ", ".join(labelled[:MOST_NAMED])
    if len(labelled) > MOST_NAMED:
        named += f" and {len(labelled) - MOST_NAMED} more"
    return {
        "method": f"{protocol.get('method')}, preset {protocol.get('preset')}",
        "trained on": f"{count(len(labelled), 'labelled patient')} ({named}) and "
        f"{protocol.get('unlabelled_patients')} unlabelled",
        "scored": f"{scores.split} split: {count(len(scores.cases), 'case')} of "
        f"{count(len(scores.patients), 'patient')}",
        "checkpoint": f"{scores.checkpoint}, iteration {scores.step} of "
        f"{protocol.get('iterations')}",
        "size": f"{protocol.get('size')} pixels",
        "seed": str(protocol.get("seed")),
        "store": scores.store,
        "run": scores.run,
        "class missing from a case": scores.empty,
    }


def _commands(scores: Evaluation) -> dict[str, str]:
    """Return the commands that repeat the training and this page."""
    place, store = scores.run, scores.store
    config = str(Path(place) / CONFIG_FILE)
    evaluate = ["diffrect", "evaluate", place, "--split", scores.split]
    evaluate += ["--checkpoint", scores.checkpoint, "--empty", scores.empty, "--store", store]
    return {
        "train": shlex.join(["diffrect", "train", store, f"{place}-again", "--config", config]),
        "evaluate": shlex.join(evaluate),
    }


def _plain(values: object) -> dict[str, str]:
    """Return settings as text by name; none if they are no mapping."""
    if not isinstance(values, Mapping):
        return {}
    return {str(name): "–" if value is None else str(value) for name, value in values.items()}
