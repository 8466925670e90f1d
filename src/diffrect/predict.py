"""Image files in, label files out on the input's own grid; needs a RUN folder and nothing else."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from diffrect.atomic import remove_unfinished
from diffrect.data.case import Case, check_case, grid_labels, image_slices
from diffrect.data.volume import read_image, write_label
from diffrect.errors import InputError
from diffrect.model import Model
from diffrect.ranks import together
from diffrect.report import progress_bar

SUFFIXES = (".nii.gz", ".nii")


class PredictionError(InputError):
    """Some of several inputs could not be predicted; the others were.

    Attributes:
        written: the label files that were written.
        failures: what is wrong with each of the other inputs, one line each.
    """

    def __init__(self, written: list[Path], failures: dict[Path, str]) -> None:
        total = len(written) + len(failures)
        super().__init__(
            f"{len(failures)} of {total} inputs failed: {'; '.join(failures.values())}"
        )
        self.written = written
        self.failures = failures


def predict(
    run: Path | str,
    out: Path | str,
    inputs: Sequence[Path | str],
    *,
    checkpoint: Literal["best", "last"] = "best",
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Segment NIfTI images with a trained model; returns the label files written.

    `inputs` are files, or folders of which every NIfTI file directly inside is taken. Labels of
    `images/scan.nii.gz` or `images/scan.nii` go to `out/scan.nii.gz`, uint8 class numbers with the
    image's shape and geometry. `checkpoint` is "best" or "last", `device` such as "cpu" or "cuda".
    Processes started by torchrun or srun share the files; all of them return the same.

    Raises:
        InputError: nothing was started (no such run or input, outputs of the same name, outputs
            that exist already without `overwrite`), or the only input is bad.
        PredictionError: of several inputs some failed; the others were written.
    """
    files = list_images([Path(path) for path in inputs])
    outputs = _name_outputs(Path(out), files, overwrite)
    model = Model.load(Path(run), checkpoint=checkpoint, device=device)
    with together() as ranks:
        mine = progress_bar(
            ranks.share(list(outputs.items())), "predicting", progress and ranks.first
        )
        faults = ranks.gather([_try(model, file, output) for file, output in mine])
    if len(files) == 1 and faults[0] is not None:
        raise InputError(faults[0])
    failures = {file: fault for file, fault in zip(outputs, faults, strict=True) if fault}
    written = [output for file, output in outputs.items() if file not in failures]
    if failures:
        raise PredictionError(written, failures)
    return written


def _try(model: Model, file: Path, output: Path) -> str | None:
    """What is wrong with a file; None if its labels were written."""
    try:
        predict_file(model, file, output)
    except InputError as error:
        return str(error)
    return None


def predict_file(model: Model, file: Path, output: Path) -> None:
    """Segment one image file (X, Y, Z) or (X, Y, Z, C) and write its labels (X, Y, Z).

    Raises:
        InputError: the file is unreadable, constant, not finite or has other channels than the
            model was trained with.
    """
    image = read_image(file)
    check_case(Case(id=file.name, patient=file.name, image=image, label=None), model.channels)
    labels = model.predict_slices(image_slices(image))  # (Z, C, H, W) -> (Z, H, W)
    output.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(output.parent, output.name)
    write_label(output, grid_labels(labels), like=file)


def list_images(inputs: Sequence[Path]) -> list[Path]:
    """The NIfTI files named, and those directly inside the folders named, each once.

    Raises:
        InputError: an input that does not exist or is not NIfTI by its name, or a folder without
            any.
    """
    if not inputs:
        raise InputError("INPUT: expected at least one image file or folder, got none")
    files: dict[Path, Path] = {}
    for path in inputs:
        for file in _images_of(path):
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _images_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = {file.name: file for file in path.iterdir() if file.is_file() and _is_image(file)}
        found = [files[name] for name in sorted(files) if not _is_label_beside(name, files)]
        if not found:
            raise InputError(f"{path}: expected NIfTI files (*.nii, *.nii.gz) in it, found none")
        return found
    if not path.is_file():
        raise InputError(f"{path}: expected an image file or a folder of them, found neither")
    if not _is_image(path):
        raise InputError(f"{path}: expected a NIfTI file (*.nii, *.nii.gz)")
    return [path]


def _is_label_beside(name: str, files: Collection[str]) -> bool:
    """Whether a file is the truth of another one in its folder, as ACDC names them."""
    return "_gt.nii" in name and name.replace("_gt.nii", ".nii") in files


def _is_image(file: Path) -> bool:
    # Hidden files are not scans: unfinished files, and macOS's "._scan.nii.gz".
    return file.name.endswith(SUFFIXES) and not file.name.startswith(".")


def _name_outputs(out: Path, files: Sequence[Path], overwrite: bool) -> dict[Path, Path]:
    """The label file of every image file, checked before anything is read or written."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder for the label files, found a file")
    outputs: dict[Path, Path] = {}
    sources: dict[Path, Path] = {}
    images = {file.resolve() for file in files}
    for file in files:
        output = out / f"{_stem(file)}.nii.gz"
        if output in sources:
            raise InputError(
                f"{file}: expected inputs of different names, {sources[output]} "
                f"would be written to {output} too"
            )
        if output.resolve() in images:
            raise InputError(f"{out}: expected another folder than that of the inputs")
        if output.exists() and not overwrite:
            raise InputError(f"{output}: exists already; --overwrite replaces it")
        outputs[file] = output
        sources[output] = file
    return outputs


def _stem(file: Path) -> str:
    suffix = next(suffix for suffix in SUFFIXES if file.name.endswith(suffix))
    return file.name.removesuffix(suffix)
