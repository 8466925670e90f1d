"""ACDC as published: patientXXX/ with Info.cfg, patientXXX_frameYY.nii.gz and their _gt.nii.gz.

Each patient has two cases, named as the SSL4MIS benchmark names them: _frame01 is end-diastole (ED)
and _frame02 end-systole (ES). Info.cfg says which frames of the film these are; ED is not always
frame 01 of the film.
"""

import re
from pathlib import Path

from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import NO_OPTIONS, OnProblem, Source, SourceListing, refuse
from diffrect.data.sources.files import SCAN_SUFFIXES, FileCase, image_stem, passed_over
from diffrect.data.split import acdc_split, restrict_to
from diffrect.data.task import Symmetries
from diffrect.errors import InputError
from diffrect.imaging.kinds import visible
from diffrect.text_files import read_text

ACDC_CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")
# A short-axis slice shows its ventricles by their shapes, however it is turned or mirrored.
ACDC_SYMMETRIES: Symmetries = "turns"

_PHASES = (("ED", "frame01"), ("ES", "frame02"))


class Acdc:
    """The published layout: patient folders, either directly or under training/ and testing/.

    The download has both under database/.
    """

    name = "acdc"
    recognised_by = "ACDC (patient folders)"
    accepted: frozenset[str] = frozenset()

    def detect(self, path: Path) -> bool:
        """Return whether there is a patient folder with an Info.cfg."""
        return any((folder / "Info.cfg").is_file() for folder in _patient_folders(path))

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, on_problem: OnProblem = refuse
    ) -> SourceListing:
        """List ED and ES of every patient, in the order of their ids."""
        cases = []
        remarks: list[str] = []
        for folder in _patient_folders(path):
            try:
                found = _cases(folder)
                cases += found
                remarks += passed_over(folder, _beside(folder, found))
            except InputError as error:
                on_problem(error)
        if not cases:
            raise InputError(path, "patient folders with an Info.cfg", found="none")
        split, missing = restrict_to(acdc_split(), {case.patient for case in cases})
        return SourceListing(
            references=sorted(cases, key=lambda case: case.id),
            classes=ACDC_CLASSES,
            channels=1,
            official_split=split,
            missing_patients=missing,
            symmetries=ACDC_SYMMETRIES,
            remarks=tuple(remarks),
        )


def _beside(folder: Path, cases: list[FileCase]) -> list[Path]:
    """Return the files that are called as the frames or their labels, and are not read."""
    read = {file for case in cases for file in (*case.images, case.label)}
    stems = tuple(image_stem(case.images[0]) for case in cases)
    return [file for file in visible(folder) if file.name.startswith(stems) and file not in read]


def _patient_folders(path: Path) -> list[Path]:
    roots = (path, path / "database")
    parts = [root / name for root in roots for name in ("", "training", "testing")]
    folders = [folder for part in parts if part.is_dir() for folder in sorted(part.iterdir())]
    return [folder for folder in folders if _is_patient(folder)]


def _is_patient(folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return folder.name.startswith("patient") or (folder / "Info.cfg").is_file()


def _cases(folder: Path) -> list[FileCase]:
    frames = _frames(folder / "Info.cfg")
    patient = folder.name
    cases = []
    for phase, name in _PHASES:
        stem = f"{patient}_frame{frames[phase]:02d}"
        image = _find(folder, stem)
        if image is None:
            raise InputError(f"{folder / stem}.nii.gz", f"the {phase} frame", found="no such file")
        cases.append(FileCase(f"{patient}_{name}", patient, (image,), _find(folder, f"{stem}_gt")))
    return cases


def _find(folder: Path, stem: str) -> Path | None:
    paths = (folder / f"{stem}{suffix}" for suffix in SCAN_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _frames(file: Path) -> dict[str, int]:
    """Return the frame numbers of ED and ES."""
    lines = read_text(file, "the patient's Info.cfg", errors="replace").splitlines()
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in entries.items()}
    for phase, _ in _PHASES:
        if not re.fullmatch(r"\d{1,9}", values.get(phase, "")):
            found = values.get(phase, "none")
            raise InputError(file, f"a frame number '{phase}: N'", found=found)
    if int(values["ED"]) == int(values["ES"]):
        raise InputError(file, "ED and ES in two frames", found=f"both in {values['ED']}")
    return {phase: int(values[phase]) for phase, _ in _PHASES}


SOURCE: Source = Acdc()
