"""Training configuration: frozen dataclasses that check themselves, and YAML in and out.

The command line prints the docstrings of fields as its help, so they are short. This module does
not import torch, so that the help appears at once.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from diffrect.atomic import write_atomic
from diffrect.checks import at_least, check_device, update_dataclass, within
from diffrect.earlier_formats import earlier_options
from diffrect.errors import InputError, brief
from diffrect.text_files import parse_yaml, read_yaml


class Role(Enum):
    """What a field of `TrainConfig` decides; what may differ in a resumed run follows from it.

    The same roles say what may differ between a cell of a comparison and what is asked of it, and
    what has to be equal in a table of results.
    """

    COMPARED = "changes the result, and is what the cells of a comparison differ in"
    RESULT = "changes the result"
    CHOICE = "says which states compete to be the best, and may differ in a resumed run"
    MACHINE = "says only where and how the work is done"
    PATIENTS = "names patients, whose lists are remembered and compared themselves"


@dataclass(frozen=True)
class Shown:
    """How the command line shows a field, as an annotation beside its type.

    Attributes:
        metavar: what stands for the value in the help; None: its kind.
        default: what the help says of the default; None: the default itself, "": nothing.
        formerly: names that the option had in earlier versions; they are still understood.
        hidden: whether it is no option.
    """

    metavar: str | None = None
    default: str | None = None
    formerly: tuple[str, ...] = ()
    hidden: bool = False


COMPARED, RESULT = {"role": Role.COMPARED}, {"role": Role.RESULT}
MACHINE, PATIENTS = {"role": Role.MACHINE}, {"role": Role.PATIENTS}
CHOICE = {"role": Role.CHOICE}

Preset = Literal["default", "reference"]
Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]

_LARGEST_SIDE = 2**14
_MOST_SLICES = 2**16
_MOST_SHOWN = 64
_NO_MEMORY = "more fits into no memory"
_LARGEST_RATE = 1e6  # from there on, one step leaves no weight that is a number

CONFIG_FORMAT = 5
"""Version of the files that `write_config` writes; files of version 1 hold no number."""
# A configuration that was written by hand names only some of these; what it asks for is today's.
_FIELDS_OF_FORMAT_1 = {
    *("method", "preset", "labelled", "split_file", "size", "iterations", "batch_labelled"),
    *("batch_unlabelled", "seed", "validate_every", "learning_rate", "devices"),
    *("precision", "workers", "options"),
}


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training; each field carries its `Role`.

    Example:
        >>> import diffrect
        >>> config = diffrect.TrainConfig(labelled=3, iterations=3000)
        >>> config.labelled, config.validation_interval
        ('3', 20)
    """

    method: Annotated[str, Shown("NAME")] = field(default="diffrect", metadata=COMPARED)
    """diffrect, supervised (labelled slices only), mean_teacher, uamt, fixmatch, ict, cps, mcnet,
    incl, unimatch, bcp, ad_mt, crossmatch, unimatch_v2, abd, beta_fft, or your own as
    MODULE:CLASS."""
    preset: Preset = field(default="default", metadata=COMPARED)
    """Our form of the method, or the authors' code bug for bug; every option starts from it."""
    network: Annotated[str, Shown("NAME")] = field(default="unet", metadata=COMPARED)
    """unet, or another network in its place: MODULE:CLASS or 'MODULE:CLASS(NAME=VALUE, ...)'."""
    labelled: Annotated[
        str | None,
        Shown("all|N|N%|FILE", default="the split file's, else all; 1 of a published set"),
    ] = field(default=None, metadata=PATIENTS)
    """Patients whose labels train: all, a count, a share, or a file with one id per line."""
    split_file: Annotated[
        Path | None,
        Shown("FILE.json", default="the official split, else drawn"),
    ] = field(default=None, metadata=PATIENTS)
    """JSON with the patients of train, maybe val, test and labelled; or nnU-Net's FILE:FOLD."""
    val_patients: Annotated[int | None, Shown("N", default="10 %, none of fewer than 3")] = field(
        default=None, metadata=PATIENTS
    )
    """Patients with labels that a drawn split keeps to choose a checkpoint by."""
    test_patients: Annotated[int | None, Shown("N", default="20 %, none of fewer than 4")] = field(
        default=None, metadata=PATIENTS
    )
    """Patients with labels that a drawn split keeps to report a result on."""
    validate_slices: Annotated[float | None, Shown("SHARE", default="none")] = field(
        default=None, metadata=PATIENTS
    )
    """With too few labelled patients to spare one: the share of each labelled scan, in one block,
    that is left out of the training to choose a checkpoint by."""
    size: int = field(default=256, metadata=RESULT)
    """Slices are resized to this many pixels in height and width; any number will do."""
    spacing: Annotated[float | None, Shown("MM", default="resize to --size")] = field(
        default=None, metadata=RESULT
    )
    """Instead of --size: resample slices to pixels of this many millimetres, and --crop."""
    crop: Annotated[int | None, Shown("PIXELS")] = field(default=None, metadata=RESULT)
    """Pixels kept in height and width around the centre, with --spacing; zeros beyond a slice."""
    iterations: int = field(default=30000, metadata=RESULT)
    """Length of the training; every schedule scales with it."""
    batch_labelled: int = field(default=3, metadata=RESULT)
    """Labelled slices per batch and device."""
    batch_unlabelled: int = field(default=3, metadata=RESULT)
    """Unlabelled slices per batch and device; supervised takes labelled slices in their place."""
    seed: int = field(default=1337, metadata=COMPARED)
    """Seed of everything random."""
    validate_every: Annotated[
        int | None,
        Shown("INT", default="1/150 of all, or what a tenth of time pays"),
    ] = field(default=None, metadata=CHOICE)
    """Iterations between validations, by which the best checkpoint is chosen."""
    learning_rate: float = field(default=0.01, metadata=COMPARED)
    """Initial learning rate of SGD (momentum 0.9, weight decay 1e-4, polynomial decay)."""
    device: Annotated[str, Shown("auto|cpu|cuda|cuda:N|mps", formerly=("accelerator",))] = field(
        default="auto", metadata=MACHINE
    )
    """What computes; auto takes a GPU if there is one, cuda:1 the second of several."""
    devices: int = field(default=1, metadata=MACHINE)
    """Number of GPUs, or of processes on a CPU."""
    nodes: int = field(default=1, metadata=MACHINE)
    """Number of machines, each with as many devices as --devices says."""
    sync_batchnorm: bool = field(default=False, metadata=RESULT)
    """Batch norm and losses see the batches of all processes as one."""
    precise_statistics: bool = field(default=False, metadata=RESULT)
    """Before it predicts, count batch norm's statistics anew over plain training slices."""
    average: float = field(default=0.0, metadata=RESULT)
    """Decay of a moving average kept and validated beside the network, such as 0.99; 0 = none."""
    deterministic: bool = field(default=False, metadata=RESULT)
    """Get the same weights every time on a GPU too, where this is slower."""
    precision: Precision = field(default="32-true", metadata=RESULT)
    """Floating-point precision, as Lightning Fabric names it."""
    nonfinite: Literal["stop", "skip"] = field(default="stop", metadata=MACHINE)
    """If a loss or gradient is not finite: stop, or skip the iteration and count it."""
    workers: int = field(default=0, metadata=MACHINE)
    """Processes that read slices ahead; 0 reads in the training process."""
    threads: Annotated[int | None, Shown("N", default="one for each core")] = field(
        default=None, metadata=MACHINE
    )
    """Threads that compute in each process."""
    logger: Annotated[str, Shown("NAME,...")] = field(default="tensorboard", metadata=MACHINE)
    """Loggers besides metrics.jsonl: tensorboard, csv, png (pictures only), mlflow, wandb, none,
    or your own as package.module:Class(...)."""
    log_images: int = field(default=4, metadata=MACHINE)
    """Slices in the pictures of each validation; 0 draws none."""
    options: Annotated[Mapping[str, Any], Shown(hidden=True)] = field(
        default_factory=dict, metadata=COMPARED
    )
    """Options of the method and of the views that differ from the preset, by name."""

    def __post_init__(self) -> None:
        # In Python it is natural to write labelled=3, split_file="split.json".
        if self.labelled is not None:
            object.__setattr__(self, "labelled", str(self.labelled))
        if self.split_file is not None:
            object.__setattr__(self, "split_file", Path(self.split_file))
        at_least("iterations", self.iterations, 1)
        at_least("batch_labelled", self.batch_labelled, 1, _MOST_SLICES, why=_NO_MEMORY)
        at_least("batch_unlabelled", self.batch_unlabelled, 0, _MOST_SLICES, why=_NO_MEMORY)
        at_least("size", self.size, 2, _LARGEST_SIDE, why=_NO_MEMORY)
        self._check_crop()
        for name, least, most in (("devices", 1, 4096), ("nodes", 1, 65536), ("workers", 0, 512)):
            at_least(name, getattr(self, name), least, most, why="no machine has as many")
        within("seed", self.seed, 0, 2**63 - 1)
        within("average", self.average, 0, 1)
        for name in ("val_patients", "test_patients"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 0)
        share = self.validate_slices
        if share is not None and not 0 < share <= 0.5:
            expected = "a share above 0, up to 0.5"
            raise InputError("validate_slices", expected, got=share, setting="validate_slices")
        if self.validate_every is not None:
            at_least("validate_every", self.validate_every, 1)
        if self.threads is not None:
            at_least("threads", self.threads, 1, 4096, why="no machine has as many")
        within("log_images", self.log_images, 0, _MOST_SHOWN)
        rate = self.learning_rate
        if not 0 < rate <= _LARGEST_RATE:
            expected = f"a positive number up to {_LARGEST_RATE:g}"
            raise InputError("learning_rate", expected, got=rate, setting="learning_rate")

        self._check_device()

    def _check_device(self) -> None:
        check_device("device", self.device)
        if ":" in self.device and self.devices > 1:
            expected = f"cuda with --devices {self.devices}"
            raise InputError("device", expected, got=self.device, setting="device")

    def _check_crop(self) -> None:
        if (self.spacing is None) != (self.crop is None):
            given, absent = ("crop", "spacing") if self.spacing is None else ("spacing", "crop")
            raise InputError(given, f"--{absent} with it", got="none", setting=given)
        if self.spacing is not None:
            if not 0 < self.spacing < float("inf"):
                expected = "millimetres above 0"
                raise InputError("spacing", expected, got=self.spacing, setting="spacing")
            within("spacing", self.spacing, 1e-6, 1e6)
        at_least("crop", self.side, 2, _LARGEST_SIDE, why=_NO_MEMORY)

    @property
    def side(self) -> int:
        """Pixels in height and width of what networks see."""
        return self.size if self.crop is None else self.crop

    @property
    def validation_interval(self) -> int:
        """Iterations between validations."""
        return validation_interval(self.iterations, self.validate_every)


def validation_interval(iterations: int, validate_every: int | None) -> int:
    """Return the iterations between validations, 200 of 30,000 unless given.

    Trainings say how often they validate, see `training.interval`; those of earlier versions did
    not, and then it was this.
    """
    return validate_every or max(1, round(iterations / 150))


def names_with(*roles: Role) -> tuple[str, ...]:
    """Return the names of the fields of `TrainConfig` that have one of these roles."""
    return tuple(f.name for f in dataclasses.fields(TrainConfig) if f.metadata["role"] in roles)


def read_config(
    path: Path, base: TrainConfig | None = None, *, as_written: bool = False
) -> TrainConfig:
    """Return the configuration in a YAML file; fields it leaves out keep the values of `base`.

    A configuration that an earlier version wrote gets the options that keep its preset what it was
    then.

    Args:
        path: the file.
        base: values of fields that the file leaves out.
        as_written: leave out the options that an earlier file gets.

    Raises:
        InputError: no such file, not YAML, or a field that does not exist or has the wrong type.
    """
    content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise InputError(path, "a mapping of options", got=type(content).__name__)
    found = content.pop("format", None)
    if found is not None and found not in range(2, CONFIG_FORMAT + 1):
        raise InputError(path, f"configuration format {CONFIG_FORMAT}", got=found)
    if found != CONFIG_FORMAT and not as_written:
        content = _with_earlier_options(content, found or 1)
    base = base or TrainConfig()
    return update_dataclass(
        base, _with_moved_settings(content, base.options, f"{path}: "), str(path)
    )


def write_config(config: TrainConfig, path: Path) -> None:
    """Write every field as YAML."""
    write_atomic(path, config_text(config))


def config_text(config: TrainConfig, *, ascii: bool = False) -> str:
    """Return every field as YAML, which `read_config` reads.

    Args:
        config: the configuration.
        ascii: write other characters as escapes, for a terminal.
    """
    values = {"format": CONFIG_FORMAT, **config_to_dict(config)}
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=not ascii))


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    """Return every field as a plain value, as YAML and checkpoints hold them."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    values["split_file"] = None if config.split_file is None else str(config.split_file)
    values["options"] = dict(config.options)
    return values


def config_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration that `config_to_dict` turned into plain values.

    Raises:
        InputError: a field does not exist or has the wrong type.
    """
    return update_dataclass(TrainConfig(), _with_moved_settings(values, {}), "config")


def _with_earlier_options(content: dict[str, Any], version: int) -> dict[str, Any]:
    """Return the fields of an earlier file with what keeps its preset as it was.

    Args:
        content: the fields.
        version: the file's format; those that are written by hand seem to be of format 1, too.
    """
    options = content.get("options")
    if not content.keys() >= _FIELDS_OF_FORMAT_1 or not isinstance(options, Mapping):
        return content
    earlier = earlier_options(str(content["method"]), str(content["preset"]), version)
    return {**content, "options": {**earlier, **options}}


def _with_moved_settings(
    values: Mapping[str, Any], options: Mapping[str, Any], where: str = ""
) -> dict[str, Any]:
    """Return the fields of a configuration with settings of older files moved to where they are.

    `rectify_from` was a field of every training and is an option of the methods that read it;
    `device` was called `accelerator`.

    Args:
        values: fields as a file or a checkpoint holds them.
        options: the options that hold where `values` names none.
        where: what to put before the name of a wrong setting.
    """
    moved = dict(values.items())
    if "accelerator" in moved:
        earlier = moved.pop("accelerator")
        moved.setdefault("device", earlier)
    start = moved.pop("rectify_from", None)
    if isinstance(start, int) and start < 0:
        raise InputError(f"{where}rectify_from", "at least 0", got=start, setting="rectify_from")
    kept = moved.get("options", options)
    if start is not None and isinstance(kept, Mapping):  # else the type of options is refused
        moved["options"] = {**kept, "rectify_from": start}
    return moved


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Return what NAME=VALUE strings say, values read as YAML reads them (true, 0.5, null, text).

    Raises:
        InputError: a string has no '=', or its value is not plain.
    """
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--option {brief(pair)}", "NAME=VALUE")
        try:
            options[name.strip().replace("-", "_")] = parse_yaml(value)
        except ValueError as error:
            expected = "a plain value after '='"
            raise InputError(f"--option {brief(pair)}", expected, reason=brief(error)) from None
    return options
