"""The command `predict`; like all commands it imports its work when it is called."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from diffrect.checks import check_device
from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Device, Flag, Plugins
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import count, say
from diffrect.distributed.ranks import is_first
from diffrect.errors import InputError

Precision = Literal["32-true", "bf16"]
Tta = Literal["off", "auto", "rotations", "flips", "turns"]
Axis = Literal["model", "auto", "0", "1", "2", "axial", "coronal", "sagittal"]
_OF_INPUTS = (
    *("also", "precision", "tta", "format", "axis", "channel", "probabilities", "uncertainty"),
    *("statistics", "largest_component"),
)
"""Options of predictions that pseudo-labels do not have."""


@dataclass(frozen=True)
class Predict:
    """Segment images of any format and size; each label file lies on its image's own grid."""

    run: Place[Path]
    """Folder made by train, or a file made by export; needs no store."""
    out: Place[Path]
    """Folder for the label files, each named like its image."""
    inputs: Annotated[Place[tuple[Path, ...]], Shown("INPUT...")] = ()
    """Image files, folders of them or of a DICOM series, or patterns such as 'scans/*.nrrd'."""
    store: Path | None = None
    """In place of INPUT: write pseudo-labels of a store's cases, before and after correction."""
    patients: Annotated[str, Shown("WHO", default="unlabelled, of --store")] = ""
    """Whose: unlabelled, labelled, train, val, test, all, ids with commas, or a file of ids."""
    also: Annotated[tuple[Path, ...], Shown("RUN")] = ()
    """Another model, such as of another seed, to average with RUN."""
    checkpoint: Checkpoint = "best"
    """Best by validation, the last, or after train --average the best student or average."""
    device: Device = "auto"
    """What computes; auto takes a GPU if there is one, cuda:1 the second of several."""
    precision: Precision = "32-true"
    """Number type of the network: bf16 is quicker where the device computes with it."""
    tta: Tta = "off"
    """Average views of each slice: auto, those that the model was trained on, or those named."""
    format: Literal["nifti", "same", "dicom-seg"] = "nifti"
    """Write NIfTI label files, each in its image's format, or DICOM segmentations of series."""
    axis: Axis = "model"
    """How volumes are cut, if not as the scans that the model was trained on."""
    channel: Annotated[int | None, Shown("N")] = None
    """Read only this channel, counted from 0, of images with several."""
    probabilities: Flag = False
    """Write NAME_probabilities.nii.gz beside each label file: float32, one volume per class."""
    uncertainty: Flag = False
    """Write NAME_entropy.nii.gz beside each label file: float32, 0 certain to 1."""
    statistics: Flag = False
    """Write OUT/statistics.csv: voxels, volume in ml and confidence of each class in each scan."""
    largest_component: Flag = False
    """Keep only the largest connected part of each class."""
    overwrite: Flag = False
    """Replace label files that exist already."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    quiet: Flag = False
    """Show no progress."""

    def __post_init__(self) -> None:
        check_device("--device", self.device)
        if self.store is None and self.patients:
            raise InputError("--patients", "--store beside it", got="none")
        if self.store is not None and self.inputs:
            raise InputError("--store", "no INPUT beside it", got=self.inputs[0])
        for name in _OF_INPUTS if self.store is not None else ():
            if getattr(self, name) != getattr(Predict, name):
                option = f"--{name.replace('_', '-')}"
                raise InputError(option, "no --store beside it", got=self.store)

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_at_run_and_store, look_before_predicting

        if self.store is not None:
            look_at_run_and_store(self.run, self.checkpoint, self.store, self.plugin)
            return
        runs = (self.run, *self.also)
        look_before_predicting(runs, self.checkpoint, self.inputs, self.plugin)

    def __call__(self) -> None:
        if self.store is not None:
            self.do_store(self.store)
            return
        from diffrect.inference.predict import predict

        written = predict(
            (self.run, *self.also),
            self.out,
            self.inputs,
            checkpoint=self.checkpoint,
            device=self.device,
            precision=self.precision,
            tta=self.tta,
            format=self.format,
            axis=None if self.axis == "model" else self.axis,
            channel=self.channel,
            probabilities=self.probabilities,
            uncertainty=self.uncertainty,
            statistics=self.statistics,
            largest_component=self.largest_component,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )
        if not self.quiet and is_first():
            table = " and statistics.csv" if self.statistics else ""
            say(f"{self.out}: {count(len(written), 'label file')}{table}")
            say_next("diffrect view IMAGES", self.out)

    def do_store(self, store: Path) -> None:
        """Write the pseudo-labels of cases of a store."""
        from diffrect.inference.pseudo_labels.predict_store import pseudo_labels

        rows = pseudo_labels(
            self.run,
            self.out,
            store=store,
            patients=self.patients or "unlabelled",
            checkpoint=self.checkpoint,
            device=self.device,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )
        if not self.quiet and is_first():
            kinds = ", ".join(f"CASE_{kind}.nii.gz" for kind in rows[0].files)
            say(f"{self.out}: {count(len(rows), 'case')}, {kinds} and pseudo_labels.csv")
            who = self.patients or "unlabelled"
            parts = ("--store", store, "--patients", shlex.quote(who))
            say_next("diffrect view", self.run, self.out, *parts)
