"""Medical Segmentation Decathlon, and nnU-Net's raw data in versions 1 and 2, which grew out of it.

Both are a folder with dataset.json, imagesTr and labelsTr; dataset_json.py describes the file. An
image is one file with all channels, or one file per channel, CASE_0000 and so on. Images in
imagesTr without a label are unlabelled cases. imagesTs is not read.
"""

from dataclasses import replace
from pathlib import Path

from diffrect.console import count
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import NO_OPTIONS, OnProblem, Source, SourceListing, refuse
from diffrect.data.sources.dataset_json import Entry, channel_names, entries, read_json, read_labels
from diffrect.data.sources.files import (
    SCAN_SUFFIXES,
    FileCase,
    by_stem,
    choose_patient,
    find_scans,
    image_stem,
)
from diffrect.errors import InputError
from diffrect.imaging.channels import group_channels


class Decathlon:
    """Both layouts, with any number of channels."""

    name = "decathlon"
    recognised_by = "Decathlon (dataset.json)"
    accepted = frozenset({"modality", "patients"})

    def detect(self, path: Path) -> bool:
        """Return whether there is a dataset.json."""
        return (path / "dataset.json").is_file()

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, on_problem: OnProblem = refuse
    ) -> SourceListing:
        """List the cases in the order of their ids."""
        file = path / "dataset.json"
        settings = read_json(file)
        names = channel_names(file, settings)
        classes, codes = read_labels(file, settings.get("labels"))
        channel = _chosen(names, options.modality)
        groups = group_channels(by_stem(_scans(path / "imagesTr", on_problem), "image", on_problem))
        labels = by_stem(_scans(path / "labelsTr", on_problem), "label", on_problem)
        listed = entries(file, settings, on_problem)
        cases = []
        for entry in _all_entries(path, listed, groups, labels, on_problem):
            images = _images(entry, groups.get(entry.id, {}), len(names))
            label = None if entry.label is None else _existing(entry.label)
            if not _complete(entry.id, images, label, len(names), channel, on_problem):
                continue
            patient = choose_patient(options.patients, entry.id)
            case = FileCase(entry.id, patient, images, label, channels=len(names), codes=codes)
            cases.append(case if channel is None else _only(case, channel))
        return SourceListing(
            references=sorted(cases, key=lambda case: case.id),
            classes=classes,
            channels=len(names) if channel is None else 1,
            # Volumes of the Decathlon lie alike; nnU-Net folders hold whatever users put there.
            axis="auto" if "channel_names" in settings else "2",
        )


def _chosen(names: tuple[str, ...], modality: str | None) -> int | None:
    """Return the number of the channel of that name, whatever its capitals; None for all."""
    if modality is None:
        return None
    for same in (str, str.casefold):
        found = [number for number, name in enumerate(names) if same(name) == same(modality)]
        if len(found) == 1:
            return found[0]
    raise InputError("--modality", f"one of {', '.join(names)}", got=repr(modality))


def _only(case: FileCase, channel: int) -> FileCase:
    """Return the case with only one of its channels, which may be a file or a part of one."""
    if len(case.images) > 1:
        return replace(case, images=(case.images[channel],))
    return replace(case, channel=channel if case.channels > 1 else None)


def _scans(folder: Path, on_problem: OnProblem) -> list[Path]:
    return find_scans(folder, on_problem) if folder.is_dir() else []


def _all_entries(
    path: Path,
    listed: list[Entry] | None,
    groups: dict[str, dict[int | None, Path]],
    labels: dict[str, Path],
    on_problem: OnProblem,
) -> list[Entry]:
    """Return the cases of the list, or of the folders if there is none, and unlabelled images.

    Args:
        path: folder of the data set.
        listed: the cases of dataset.json; None if it leaves them to the folders.
        groups: the images of each case in imagesTr, see `group_channels`.
        labels: the files of labelsTr by case.
        on_problem: called with each label that has no image.
    """
    if listed is None:
        for stem in labels.keys() - groups.keys():
            expected = f"an image of the same name in {path / 'imagesTr'}"
            on_problem(InputError(labels[stem], expected, found="none"))
        return [Entry(case, None, labels.get(case)) for case in groups]
    mentioned = {entry.id for entry in listed} | labels.keys()
    taken = {image for entry in listed for image in (entry.image, *entry.files)}
    extra = [
        Entry(case, None, None)
        for case, files in groups.items()
        if case not in mentioned and taken.isdisjoint(files.values())
    ]
    return [*listed, *extra]


def _images(entry: Entry, group: dict[int | None, Path], channels: int) -> tuple[Path, ...]:
    """Return an entry's files in the order of the channels, missing ones by the expected names."""
    if entry.files:
        return entry.files
    if entry.image is not None and _existing(entry.image).exists():
        return (_existing(entry.image),)
    if None in group:
        return (group[None],)
    if entry.image is not None and not group:
        return (entry.image,)
    first = group[0]
    suffix = first.name[len(image_stem(first)) :]
    total = max(channels, *(number + 1 for number in group if number is not None))
    names = (first.with_name(f"{entry.id}_{number:04d}{suffix}") for number in range(total))
    return tuple(group.get(number, name) for number, name in enumerate(names))


def _existing(file: Path) -> Path:
    """Return the file, or its twin of another suffix: Task05 lists .nii and has .nii.gz."""
    if file.exists():
        return file
    others = (file.with_name(image_stem(file) + suffix) for suffix in SCAN_SUFFIXES)
    return next((other for other in others if other.exists()), file)


def _complete(
    case: str,
    images: tuple[Path, ...],
    label: Path | None,
    channels: int,
    channel: int | None,
    on_problem: OnProblem,
) -> bool:
    """Return whether all files that are needed are there.

    Args:
        case: the case's id.
        images: its files, one with all channels or one per channel.
        label: its label; None for an unlabelled case.
        channels: number of channels of the data set.
        channel: the only channel that is needed; None for all.
        on_problem: called with each file that is missing or too many.
    """
    if len(images) not in (1, channels):
        expected = f"{count(channels, 'channel')} of {case}"
        on_problem(InputError(images[0], expected, found=images[-1].name))
        return False
    wanted = images if channel is None or len(images) == 1 else (images[channel],)
    missing = [file for file in (*wanted, *([label] if label else [])) if not file.exists()]
    for file in missing:
        on_problem(InputError(file, "the file named in dataset.json", found="no such file"))
    return not missing


SOURCE: Source = Decathlon()
