"""OUT/ranking.csv, OUT/slices.csv and OUT/index.html: what to annotate next, and why."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from diffrect.atomic import remove_unfinished, write_atomic
from diffrect.console import count
from diffrect.distributed.locks import sole_writer
from diffrect.inference.ranking.result import (
    RankedPatient,
    RankedSlicePicture,
    Ranking,
    in_words,
)
from diffrect.reporting.cases import Cell, Table
from diffrect.reporting.charts import colour_class
from diffrect.reporting.page import write_page
from diffrect.reporting.panels import Panel, PictureRow
from diffrect.reporting.slices import DrawnPanel, SliceDrawer
from diffrect.runs.rankings import (
    FILES,
    PAGE_FILE,
    PATIENTS_FILE,
    SLICES_FILE,
    check_no_ranking,
    ranking_folder,
)
from diffrect.text_files import csv_text

MOST_SLICES = 200  # rows of the page's table of slices; the CSV has all


class ShownPatient(NamedTuple):
    """A patient as the page shows one."""

    name: str
    words: str
    where: str
    panels: list[DrawnPanel]


def write_ranking(
    ranking: Ranking, out: Path | str | None = None, *, overwrite: bool = False
) -> Path:
    """Write an order of patients as two tables and a page that needs no other file.

    Example:
        >>> import diffrect
        >>> ranking = diffrect.rank("run", "store", progress=False)
        >>> diffrect.write_ranking(ranking, "next").as_posix()
        'next/index.html'

    Args:
        ranking: what `rank` returned.
        out: folder for `ranking.csv`, `slices.csv` and `index.html`; None takes RUN/ranking.
        overwrite: replace these files if they exist already.

    Returns:
        The page.

    Raises:
        InputError: one of them exists already, or another command writes into the folder.
    """
    folder = ranking_folder(Path(ranking.run), out)
    with sole_writer(folder, lambda: check_no_ranking(folder, overwrite=overwrite)):
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder, *FILES)
        write_atomic(folder / PATIENTS_FILE, _patients_csv(ranking))
        write_atomic(folder / SLICES_FILE, _slices_csv(ranking))
        _write_page(folder / PAGE_FILE, ranking)
    return folder / PAGE_FILE


def _patients_csv(ranking: Ranking) -> str:
    names = ranking.measures
    heading = ["rank", "patient", "score", *names, "uncertainty", "diversity", "nearer"]
    heading += ["scans", "slices", "reason"]
    rows = [
        (
            *(p.rank, p.patient, _rounded(p.score), *map(_rounded, p.measures.values())),
            *(_rounded(p.uncertainty), _rounded(p.diversity), p.nearer),
            *(len(p.cases), p.slices, p.reason),
        )
        for p in ranking.patients
    ]
    return csv_text(heading, rows)


def _slices_csv(ranking: Ranking) -> str:
    heading = ["rank", "case", "patient", "patient rank", "slice", "score", *ranking.measures]
    rows = [
        (
            *(s.rank, s.case, s.patient, s.patient_rank, s.slice, _rounded(s.score)),
            *map(_rounded, s.measures.values()),
        )
        for s in ranking.slices
    ]
    return csv_text(heading, rows)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _write_page(path: Path, ranking: Ranking) -> None:
    drawer = SliceDrawer()
    write_page(
        path,
        "ranking.html",
        title="What to annotate next",
        ranking=ranking,
        table=_table(ranking),
        slices=_slice_table(ranking),
        more_slices=max(0, len(ranking.slices) - MOST_SLICES),
        styles={n: colour_class(code) for code, n in enumerate(ranking.classes) if code},
        shown=[
            _shown(patient, patient.picture, ranking, drawer)
            for patient in ranking.patients
            if patient.picture is not None
        ],
        facts=_facts(ranking),
    )


def _table(ranking: Ranking) -> Table:
    words = in_words(ranking.patients[0].measures, ranking.opinions)
    heading = ["patient", "reason", "rank", "score", *words.values(), "distance", "scans", "slices"]
    rows = []
    for p in ranking.patients:
        row = [
            Cell(p.patient),
            Cell(p.reason, long=True),
            Cell(str(p.rank), p.rank),
            _cell(p.score),
        ]
        row += [*map(_cell, p.measures.values()), _cell(p.diversity)]
        row += [Cell(str(number), number) for number in (len(p.cases), p.slices)]
        rows.append(row)
    return Table(heading, rows, names=2)


def _slice_table(ranking: Ranking) -> Table:
    words = in_words(ranking.patients[0].measures, ranking.opinions)
    heading = ["case", "slice", "rank", "rank of the patient", "score", *words.values()]
    rows = []
    for s in ranking.slices[:MOST_SLICES]:
        numbers = [Cell(str(number), number) for number in (s.slice, s.rank, s.patient_rank)]
        rows.append([Cell(s.case), *numbers, *map(_cell, (s.score, *s.measures.values()))])
    return Table(heading, rows)


def _cell(value: float) -> Cell:
    return Cell(f"{value:.3f}", value)


def _shown(
    patient: RankedPatient, picture: RankedSlicePicture, ranking: Ranking, drawer: SliceDrawer
) -> ShownPatient:
    panels = [
        Panel("image"),
        Panel("prediction", picture.labels),
        Panel("entropy", heat=picture.entropy),
    ]
    spacing = (1.0, 1.0) if picture.spacing is None else picture.spacing
    name = f"{picture.case}, slice {picture.index + 1}"
    row = PictureRow(name, picture.image, picture.labels, spacing, panels)
    drawn = drawer.draw(row, ranking.classes, millimetres=picture.spacing is not None)
    where = f"{picture.case}, slice {picture.index + 1} of {picture.slices}: the one of most doubt"
    return ShownPatient(f"{patient.rank}. {patient.patient}", patient.reason, where, drawn)


def _facts(ranking: Ranking) -> dict[str, str]:
    command = ["diffrect", "rank", ranking.run, ranking.store, "--by", ranking.by]
    return {
        "ordered by": ranking.by,
        "candidates": count(ranking.candidates, "patient"),
        "labelled": count(ranking.labelled, "patient"),
        "disagreement": ranking.opinions or "nobody beside the model has an opinion",
        "views": ranking.views or "the model was trained on none",
        "run": ranking.run,
        "store": ranking.store,
        "command": shlex.join(command),
    }


def first_lines(ranking: Ranking, most: int = 5) -> Iterable[str]:
    """Return the first patients with their reasons, a line for each, for the screen."""
    return (f"{p.rank}. {p.patient}: {p.reason}" for p in ranking.patients[:most])
