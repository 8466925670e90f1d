"""The command `rectify`; like all commands it imports its work when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from diffrect.checks import check_device
from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Device, Flag
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import count, say
from diffrect.distributed.ranks import is_first
from diffrect.errors import InputError


@dataclass(frozen=True)
class Rectify:
    """Correct labels that you have, of any tool, with the rectifier of a training of diffrect."""

    run: Place[Path]
    """Folder made by train; needs no store, but knows by its store which classes are one part."""
    out: Place[Path]
    """Folder for the corrected labels, for maps of what changed, and for a page to look at."""
    inputs: Annotated[Place[tuple[Path, ...]], Shown("SCAN LABEL...")]
    """Scans, each with its label; or a folder of scans and one of labels with the same names."""
    guidance: Annotated[str, Shown("auto|0..1")] = "auto"
    """How far the labels are off: auto measures it, 0 changes what is sure, 1 believes little."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    device: Device = "auto"
    """What computes; auto takes a GPU if there is one, cuda:1 the second of several."""
    format: Literal["nifti", "dicom-seg"] = "nifti"
    """Write NIfTI label files, or DICOM segmentations that refer to the scans' series."""
    overwrite: Flag = False
    """Replace files that exist already."""
    quiet: Flag = False
    """Show no progress."""

    def __post_init__(self) -> None:
        check_device("--device", self.device)
        parse_guidance(self.guidance)

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_before_rectifying

        look_before_rectifying(self.run, self.checkpoint, self.inputs)

    def __call__(self) -> None:
        from diffrect.inference.rectifying.rectify import rectify
        from diffrect.reporting.rectify_report import write_rectify_report

        cases = rectify(
            self.run,
            self.out,
            self.inputs,
            guidance=parse_guidance(self.guidance),
            checkpoint=self.checkpoint,
            device=self.device,
            format=self.format,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )
        if is_first():
            classes = ["background", *cases[0].volumes]
            page = write_rectify_report(self.out, self.run, cases, classes)
            if not self.quiet:
                changed = sum(case.changed > 0 for case in cases)
                say(f"{self.out}: {count(len(cases), 'label file')}, {changed} of them changed")
                say_next("look at what changed, in a browser:", page)


def parse_guidance(text: str) -> float | Literal["auto"]:
    """Return the guidance that an argument spells.

    Raises:
        InputError: neither auto nor a number from 0 to 1.
    """
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError("--guidance", "auto or a number from 0 to 1", got=text)
    return value
