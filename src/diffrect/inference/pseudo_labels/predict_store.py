"""Cases of a store in, their pseudo-labels out: label files, entropy maps and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from diffrect.atomic import remove_unfinished
from diffrect.checks import folder_to_make
from diffrect.console import progress_bar, tell
from diffrect.data.record import CASES_FOLDER, CaseRecord
from diffrect.data.split import Split
from diffrect.data.splits.chosen import choose_cases, part_of
from diffrect.data.store import Store
from diffrect.distributed.devices import find_device
from diffrect.distributed.locks import sole_command
from diffrect.distributed.ranks import together
from diffrect.errors import InputError
from diffrect.imaging.write import write_confidence, write_labels
from diffrect.inference.attempts import attempt, refuse_failures
from diffrect.inference.load import load_method
from diffrect.inference.pseudo_labels.facts import (
    KINDS,
    TABLE_FILE,
    PseudoLabelFacts,
    facts_of,
    write_table,
)
from diffrect.inference.pseudo_labels.labeller import PseudoLabeller
from diffrect.runs.folder import read_split
from diffrect.runs.folds import is_cross_validation
from diffrect.runs.names import Checkpoint
from diffrect.runs.recognise import check_is_run
from diffrect.runs.store_of_run import open_store

Outputs = Mapping[str, dict[str, Path]]
"""By case and kind, the files to write, see `KINDS`."""


def pseudo_labels(
    run: Path | str,
    out: Path | str,
    *,
    store: Path | str | None = None,
    patients: str = "unlabelled",
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> list[PseudoLabelFacts]:
    """Label cases of a store as a training labels its unlabelled ones, and write all there is.

    `out` gets for each case, on the grid of its scan, CASE_pseudo_label.nii.gz: the label by the
    network that predicts, which is the teacher of a method that has one; CASE_rectified.nii.gz, the
    same corrected as in the training, if the method has a rectifier; CASE_entropy.nii.gz, float32
    from 0 to 1, see `diffrect.inference.measures.entropy`; and `pseudo_labels.csv`, a row for each
    case.

    Example:
        >>> import diffrect
        >>> config = diffrect.TrainConfig(size=32, iterations=2, batch_labelled=2)
        >>> run = diffrect.train("store", "labelling", config, progress=False)
        >>> facts = diffrect.pseudo_labels(run, "pseudo", progress=False)
        >>> sorted(path.name for path in facts[0].files.values())[1]
        'patient038_frame01_pseudo_label.nii.gz'
        >>> 0 <= facts[0].changed <= 1
        True

    Args:
        run: folder made by `train`.
        out: folder for the files.
        store: store to read in place of the one that the run was trained on.
        patients: `unlabelled`, `labelled`, `train`, `val`, `test` or `all`, as the run's split
            names them; patients with commas between them; or a text file with one per line.
        checkpoint: `best` by validation, `last`, or of a training with `average` the best `student`
            or `average`.
        device: such as `cpu` or `cuda:1`; `auto` takes a GPU if there is one.
        overwrite: replace files that exist already.
        progress: show a progress bar on stderr, and a line about what a method does not have.

    Returns:
        A row of the table for each case.

    Raises:
        InputError: nothing was started, or the only case is bad.
        PartialFailure: some of several cases are bad; the others were written.
    """
    out = Path(out)
    work = _Work.load(Path(run), store, patients, checkpoint, device)
    kinds = KINDS if work.labeller.rectifier is not None else (KINDS[0], KINDS[2])
    name = partial(_name_outputs, out, work.cases, kinds, overwrite=overwrite)
    with sole_command(out, name):
        return work.done(out, name(), progress)


@dataclass(frozen=True)
class _Work:
    """Cases to label.

    Attributes:
        labeller: what labels them.
        store: where they are.
        split: the patients of the training.
        cases: the cases.
        remarks: what the training does not have.
    """

    labeller: PseudoLabeller
    store: Store
    split: Split
    cases: Sequence[CaseRecord]
    remarks: Sequence[str]

    @classmethod
    def load(
        cls,
        run: Path,
        store: Path | str | None,
        patients: str,
        checkpoint: Checkpoint,
        device: str,
    ) -> "_Work":
        """Read a training, see `pseudo_labels`."""
        check_is_run(run)
        if is_cross_validation(run):
            hint = "each of its folds is a run"
            raise InputError(run, "a run", found="a cross-validation", hint=hint)
        loaded = load_method(run, checkpoint)
        opened = open_store(run, loaded.task, None if store is None else Path(store))
        split = read_split(run)
        cases = choose_cases(patients, opened.cases, split)
        labeller = PseudoLabeller(loaded, run, find_device(device), opened)
        return cls(labeller, opened, split, cases, labeller.remarks(run, loaded.config.method))

    def done(self, out: Path, files: Outputs, progress: bool) -> list[PseudoLabelFacts]:
        """Label the cases, write the table and the files of each; return the rows.

        Args:
            out: folder for the table.
            files: the files to write of each case.
            progress: show a progress bar, and the remarks.
        """
        with together() as ranks:
            told = progress and ranks.first
            for line in self.remarks if told else ():
                tell(line)
            mine = progress_bar(ranks.share(self.cases), "labelling", told)
            done = ranks.gather(
                [
                    attempt(self._folder(case), out, partial(self._one, case, files[case.id]))
                    for case in mine
                ]
            )
            rows = [row for row in done if isinstance(row, PseudoLabelFacts)]
            if rows and ranks.first:
                write_table(out / TABLE_FILE, rows)
        faults = {
            self._folder(case): fault
            for case, fault in zip(self.cases, done, strict=True)
            if isinstance(fault, InputError)
        }
        written = [path for row in rows for path in row.files.values()]
        refuse_failures(faults, written, len(self.cases), "cases")
        return rows

    def _folder(self, case: CaseRecord) -> Path:
        return self.store.path / CASES_FOLDER / case.id

    def _one(self, case: CaseRecord, files: dict[str, Path]) -> PseudoLabelFacts:
        """Return the row of a case, and write its files."""
        zoom = self.labeller.segmenter.zoom(case.spacing, f"{self.store.path}: case {case.id}")
        found = self.labeller.label(self.store.image(case.id), case.shape, zoom)
        grid = self.store.grid(case.id)
        volume = grid.volume(found.labels)
        files["pseudo_label"].parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(files["pseudo_label"].parent, *(file.name for file in files.values()))
        write_confidence(files["entropy"], grid.volume(found.entropy).array, volume)
        if found.rectified is not None:
            write_labels(files["rectified"], grid.volume(found.rectified).array, volume)
        write_labels(files["pseudo_label"], volume.array, volume)
        part = part_of(case, self.split)
        return replace(facts_of(found, case, part, self.store.classes, volume), files=files)


def _name_outputs(
    out: Path, cases: Sequence[CaseRecord], kinds: Sequence[str], *, overwrite: bool
) -> Outputs:
    """Return the files to write of each case.

    Raises:
        InputError: one exists already.
    """
    folder_to_make(out, "a folder for the label files")
    named = {case.id: {kind: out / f"{case.id}_{kind}.nii.gz" for kind in kinds} for case in cases}
    every = [file for files in named.values() for file in files.values()]
    for file in (*every, out / TABLE_FILE):
        if file.exists() and not overwrite:
            raise InputError(file, problem="exists already", hint="--overwrite replaces it")
    return named
