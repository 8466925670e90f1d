"""MS-CMRSeg 2019: late-enhancement MR of the heart, one scan per patient.

    subjectN_DE.nii.gz, patientN_LGE.nii.gz                  the scan
    ..._manual.nii.gz                                        its label, in raw codes or 1, 2, 3
    ..._scribble.nii.gz                                      scribbles; 4: not annotated

The files may lie in any folders below the one given, because they have been published in several
arrangements. The other sequences of the challenge (C0, T2) are not read. A case with both kinds of
labels is read with the full one. Folders named train, val and test make a split.
"""

import re
from collections import defaultdict
from pathlib import Path

from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.acdc import ACDC_CLASSES, ACDC_SYMMETRIES
from diffrect.data.sources.base import NO_OPTIONS, OnProblem, Source, SourceListing, refuse
from diffrect.data.sources.files import FileCase, passed_over, walk_files
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED

_NAME = re.compile(
    r"(?P<scan>(?P<patient>(?:subject|patient)_?\d+)_(?:DE|LGE))"
    r"(?:_(?P<kind>manual|gt|scribble))?\.nii(?:\.gz)?$"
)
_OF_SCAN = re.compile(r"(?:subject|patient)_?\d+_(?:DE|LGE)")
_PARTS = ("train", "val", "test")
# Right ventricle, myocardium and left ventricle, as published and renumbered as in ACDC.
_MANUAL = {0: 0, 600: 1, 200: 2, 500: 3, 1: 1, 2: 2, 3: 3}
_SCRIBBLE = {**_MANUAL, 4: IGNORED}


class Mscmr19:
    """Late-enhancement scans and their labels, wherever they lie."""

    name = "mscmr19"
    recognised_by = "MS-CMRSeg (subjectN_DE.nii.gz)"
    accepted: frozenset[str] = frozenset()

    def detect(self, path: Path) -> bool:
        """Return whether there is a scan with a name of this layout."""
        matches = (_NAME.match(file.name) for file in walk_files(path))
        return any(match and not match["kind"] for match in matches)

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, on_problem: OnProblem = refuse
    ) -> SourceListing:
        """List the scans in the order of their ids."""
        found: dict[str, dict[str, Path]] = defaultdict(dict)
        patients: dict[str, str] = {}
        others: list[Path] = []
        for file in walk_files(path):
            match = _NAME.match(file.name)
            if match is None and _OF_SCAN.match(file.name):
                others.append(file)
            if match:
                kind = {None: "image", "gt": "manual"}.get(match["kind"], match["kind"])
                patients[match["scan"]] = match["patient"]
                other = found[match["scan"]].setdefault(kind, file)
                if other != file:
                    expected = "one such file for each case"
                    on_problem(InputError(file, expected, found=f"{other} too"))
        cases = []
        for scan, files in found.items():
            if "image" in files:
                cases.append(_case(scan, patients[scan], files))
            else:
                label = next(iter(files.values()))
                expected = f"its image {scan}.nii.gz"
                on_problem(InputError(label, expected, found=f"none in {path}"))
        if not cases:
            raise InputError(path, "scans named subjectN_DE.nii.gz", found="none")
        return SourceListing(
            references=sorted(cases, key=lambda case: (len(case.id), case.id)),
            classes=ACDC_CLASSES,
            channels=1,
            axis="auto",
            official_split=_split(path, cases),
            symmetries=ACDC_SYMMETRIES,
            remarks=passed_over(path, others),
        )


def _case(scan: str, patient: str, files: dict[str, Path]) -> FileCase:
    label = files.get("manual", files.get("scribble"))
    codes = _MANUAL if "manual" in files else _SCRIBBLE
    return FileCase(scan, patient, (files["image"],), label, codes=codes)


def _split(path: Path, cases: list[FileCase]) -> Split | None:
    """Return the patients below train, val and test.

    None if a case lies outside them, or if there is no case for train or for val.
    """
    parts: dict[str, list[str]] = {name: [] for name in _PARTS}
    for case in cases:
        first = case.images[0].relative_to(path).parts[0].lower()
        if first not in parts:
            return None
        parts[first].append(case.patient)
    return Split.from_dict(parts) if parts["train"] and parts["val"] else None


SOURCE: Source = Mscmr19()
