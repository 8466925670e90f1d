"""The interface of a layout of files: what it lists, and how a listed case is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from diffrect.console import count
from diffrect.data.case import Case, turn_label
from diffrect.data.source_options import SourceOptions
from diffrect.data.split import Split
from diffrect.data.task import Symmetries
from diffrect.errors import InputError

NO_OPTIONS = SourceOptions()

OnProblem = Callable[[InputError], None]
"""Called with the problem of one case. Return to leave the case out, raise to stop."""


def refuse(problem: InputError) -> None:
    """Stop at the first problem: the `OnProblem` of callers that need all cases."""
    raise problem


class Reference(Protocol):
    """Where one case lies; small and picklable, so that workers can load cases in parallel."""

    @property
    def id(self) -> str:
        """The case's id."""

    @property
    def patient(self) -> str:
        """The patient's id."""

    def load(self) -> Case:
        """Read the case's files.

        Raises:
            InputError: a file is missing, unreadable or does not hold what it should.
        """


@dataclass(frozen=True)
class OnImageGrid:
    """A case whose label is taken to lie on the image's grid, whatever its own header says.

    Only a label whose header says that it lies there, stored another way round, is turned.
    """

    reference: Reference

    @property
    def id(self) -> str:
        """The case's id."""
        return self.reference.id

    @property
    def patient(self) -> str:
        """The patient's id."""
        return self.reference.patient

    def load(self) -> Case:
        """Read the case; the label gets the image's spacing and affine."""
        case = turn_label(self.reference.load())
        if case.label is None:
            return case
        label = replace(case.label, spacing=case.image.spacing, affine=case.image.affine)
        return replace(case, label=label)


@dataclass(frozen=True)
class SourceListing:
    """The contents of a source, found by reading as little as possible.

    Attributes:
        references: the cases, in the order in which they are stored.
        classes: names of the label codes 0..C-1; the first is "background".
        channels: image channels of every case.
        official_split: the data set's own split, restricted to the patients that are there; None if
            it has none.
        missing_patients: patients of the official lists that are not there.
        axis: how volumes are cut unless the user says otherwise, see `choose_slicing`; "auto" suits
            layouts of any geometry, "2" is the third axis of every file as it is.
        symmetries: what may be done to slices, see `Symmetries`; None if the layout does not tell.
        remarks: what is unusual about the folder, such as files that are passed over, one line per
            remark.
    """

    references: Sequence[Reference]
    classes: tuple[str, ...]
    channels: int
    official_split: Split | None = None
    missing_patients: list[str] = field(default_factory=list)
    axis: str = "2"
    symmetries: Symmetries | None = None
    remarks: tuple[str, ...] = ()

    def describe_missing(self) -> str | None:
        """Return one line that names the missing patients, None if there are none."""
        if not self.missing_patients:
            return None
        number, names = len(self.missing_patients), ", ".join(self.missing_patients)
        are = "is" if number == 1 else "are"
        return f"{count(number, 'patient')} of the official lists {are} missing: {names}"


class Source(Protocol):
    """A layout of files.

    Attributes:
        name: the value of --format that selects it.
        recognised_by: what a folder of this layout is or has, for the message about a folder that
            no layout recognises.
        accepted: the fields of `SourceOptions` that it takes.
    """

    name: str
    recognised_by: str
    accepted: frozenset[str]

    def detect(self, path: Path) -> bool:
        """Return whether the folder looks like this layout."""

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, on_problem: OnProblem = refuse
    ) -> SourceListing:
        """List the folder's cases.

        Args:
            path: folder of the data set.
            options: what the user says about the layout.
            on_problem: called with the problem of each case that cannot be listed.

        Raises:
            InputError: the folder does not hold what the layout asks for.
        """
