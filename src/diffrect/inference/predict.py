"""Image files in, label files out on the input's own grid; needs only a RUN folder."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from diffrect.checks import one_of
from diffrect.console import progress_bar, tell
from diffrect.distributed.locks import sole_command
from diffrect.distributed.ranks import together
from diffrect.errors import InputError
from diffrect.inference.attempts import attempt, refuse_failures
from diffrect.inference.ensemble import Ensemble
from diffrect.inference.inputs import list_scans
from diffrect.inference.measures import write_statistics
from diffrect.inference.model import Model
from diffrect.inference.outputs import STATISTICS_FILE, Format, check_format, name_outputs
from diffrect.inference.predict_file import Predicted, PredictOptions, predict_file
from diffrect.inference.views import Tta, choose_views, describe_untrained
from diffrect.networks.half import PRECISIONS, Precision, has_quick_bf16
from diffrect.runs.names import Checkpoint


def predict(
    run: Path | str | Sequence[Path | str],
    out: Path | str,
    inputs: Sequence[Path | str],
    *,
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    precision: Precision = "32-true",
    tta: Tta = "off",
    format: Format = "nifti",
    axis: str | None = None,
    channel: int | None = None,
    probabilities: bool = False,
    uncertainty: bool = False,
    statistics: bool = False,
    largest_component: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Segment images with a trained model, and write a label file for each.

    Labels of `images/scan.nrrd` go to `out/scan.nii.gz`: uint8 class numbers with the image's shape
    and geometry. Processes started by torchrun or srun share the files; all of them return the
    same.

    Example:
        >>> import diffrect
        >>> [file] = diffrect.predict("run", "labels", ["scan.nii.gz"], progress=False)
        >>> file.as_posix()
        'labels/scan.nii.gz'

    Args:
        run: folder made by `train`, or file made by `export`; of several, the probabilities are
            averaged, see `Ensemble`.
        out: folder for the label files.
        inputs: image files of any format, folders of a DICOM series, folders of which every image
            directly inside is taken, or patterns of these. For a model of several channels,
            `CASE_0000`, `CASE_0001` and so on are one scan, `CASE`.
        checkpoint: `best` by validation, `last`, or of a training with `average` the best `student`
            or `average`.
        device: such as `cpu` or `cuda:1`; `auto` takes a GPU if there is one.
        precision: `32-true`, or `bf16` for a network that computes in bfloat16, see
            `Model.in_half_precision`.
        tta: average several views of each slice: `rotations`, `flips` or `turns`, see
            `Model.averaging_views`, or `auto` for those that the model was trained on and its task
            allows.
        format: `nifti`; `same` to write labels in the format of their image; or `dicom-seg` for
            `out/scan.dcm`, a DICOM segmentation that refers to the series `scan` (needs highdicom,
            `pip install highdicom`).
        axis: cut volumes in another way than the model's, see `choose_slicing`.
        channel: read only this channel, from 0, of images with several.
        probabilities: add `out/scan_probabilities.nii.gz`, float32 (X, Y, Z, classes).
        uncertainty: add `out/scan_entropy.nii.gz`, float32 (X, Y, Z) from 0 to 1, see
            `diffrect.inference.measures.entropy`.
        statistics: write `out/statistics.csv`, a row for each scan and class: voxels, volume in
            millilitres, mean probability, and with `uncertainty` mean entropy.
        largest_component: keep only the largest connected part of each class.
        overwrite: replace label files that exist already.
        progress: show a progress bar, and remarks about the images, on stderr.

    Returns:
        The label files written.

    Raises:
        InputError: nothing was started (no such run or input, outputs of the same name, outputs
            that exist already without `overwrite`, another command that writes into `out`), or the
            only input is bad.
        PartialFailure: of several inputs some failed; the others were written.
    """
    check_format(format)
    options = PredictOptions(axis, largest_component, channel, statistics)
    paths = [Path(path) for path in inputs]
    list_scans(paths, 1)  # Refuse inputs that do not exist before a model is loaded.
    runs = [run] if isinstance(run, Path | str) else list(run)
    model, doubts = _load(runs, checkpoint, device, precision, tta)
    scans = list_scans(paths, model.channels)
    name = partial(
        name_outputs,
        Path(out),
        scans,
        format,
        probabilities=probabilities,
        uncertainty=uncertainty,
        statistics=statistics,
        overwrite=overwrite,
    )
    with sole_command(Path(out), name), together() as ranks:
        outputs = name()
        told = progress and ranks.first
        for line in doubts if told else ():
            tell(line)
        mine = progress_bar(ranks.share(list(outputs.items())), "predicting", told)
        results = ranks.gather(
            [
                attempt(scan[0], output.labels, partial(predict_file, model, scan, output, options))
                for scan, output in mine
            ]
        )
        named = list(zip(outputs.items(), results, strict=True))
        done = [(output, one) for (_, output), one in named if isinstance(one, Predicted)]
        rows = [row for _, predicted in done for row in predicted.statistics]
        if statistics and rows and ranks.first:
            write_statistics(Path(out) / STATISTICS_FILE, rows)
    faults = {scan[0]: one for (scan, _), one in named if isinstance(one, InputError)}
    written = [output.labels for output, _ in done]
    for line in (line for _, predicted in done for line in predicted.remarks if told):
        tell(line)
    refuse_failures(faults, written, len(outputs))
    return written


def _load(
    runs: Sequence[Path | str],
    checkpoint: Checkpoint,
    device: str,
    precision: Precision,
    tta: Tta,
) -> tuple[Ensemble, list[str]]:
    """Return the models, as they are to predict, and remarks about them."""
    one_of("--precision", precision, PRECISIONS)
    models, remarks = [], []
    for run in runs:
        model = Model.load(run, checkpoint, device)
        views = choose_views(tta, model.task, model.config, run)
        doubt = describe_untrained(views, model.task, model.config)
        if doubt is not None:
            remarks.append(f"{run}: --tta {tta}: {doubt}")
        if precision == "bf16":
            model = model.in_half_precision()
        models.append(model if views is None else model.averaging_views(views))
    if precision == "bf16" and not has_quick_bf16(models[0].segmenter.device):
        slow = "this device is not known to compute with it, and may take longer than with 32-true"
        remarks.append(f"--precision bf16: {slow}")
    return Ensemble(models, runs), remarks
