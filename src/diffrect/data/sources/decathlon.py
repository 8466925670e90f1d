"""Medical Segmentation Decathlon, and nnU-Net's raw data in versions 1 and 2, which grew out of it.

A folder with dataset.json, imagesTr and labelsTr; see dataset_json.py for what the file says. An
image is one file with all channels, or one file a channel, CASE_0000 and so on. Images in imagesTr
without a label are unlabelled cases; imagesTs is not read.
"""

from dataclasses import replace
from pathlib import Path

from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import NO_OPTIONS, Report, SourceListing, refuse
from diffrect.data.sources.dataset_json import Entry, channel_names, entries, read_json, read_labels
from diffrect.data.sources.files import (
    SUFFIXES,
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
    accepted = frozenset({"modality", "patients"})

    def detect(self, path: Path) -> bool:
        """Whether there is a dataset.json."""
        return (path / "dataset.json").is_file()

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, report: Report = refuse
    ) -> SourceListing:
        """List the cases in the order of their ids."""
        file = path / "dataset.json"
        settings = read_json(file)
        names = channel_names(file, settings)
        classes, codes = read_labels(file, settings.get("labels"))
        channel = _chosen(names, options.modality)
        groups = group_channels(by_stem(_scans(path / "imagesTr", report), "image", report))
        labels = by_stem(_scans(path / "labelsTr", report), "label", report)
        listed = entries(file, settings, report)
        cases = []
        for entry in _all_entries(path, listed, groups, labels, report):
            images = _images(entry, groups.get(entry.id, {}), len(names))
            label = None if entry.label is None else _existing(entry.label)
            if not _complete(entry.id, images, label, len(names), channel, report):
                continue
            patient = choose_patient(options.patients, entry.id)
            case = FileCase(entry.id, patient, images, label, channels=len(names), codes=codes)
            cases.append(case if channel is None else _only(case, channel))
        return SourceListing(
            references=sorted(cases, key=lambda case: case.id),
            classes=classes,
            channels=len(names) if channel is None else 1,
            # Decathlon volumes lie alike; nnU-Net folders hold what users put there
            axis="auto" if "channel_names" in settings else "2",
        )


def _chosen(names: tuple[str, ...], modality: str | None) -> int | None:
    """The number of the channel of that name, whatever its capitals; None for all."""
    if modality is None:
        return None
    for same in (str, str.casefold):
        found = [number for number, name in enumerate(names) if same(name) == same(modality)]
        if len(found) == 1:
            return found[0]
    raise InputError("--modality", f"one of {', '.join(names)}", got=repr(modality))


def _only(case: FileCase, channel: int) -> FileCase:
    """The case with one of its channels: a file of its own, or to be taken from the one file."""
    if len(case.images) > 1:
        return replace(case, images=(case.images[channel],))
    return replace(case, channel=channel if case.channels > 1 else None)


def _scans(folder: Path, report: Report) -> list[Path]:
    return find_scans(folder, report) if folder.is_dir() else []


def _all_entries(
    path: Path,
    listed: list[Entry] | None,
    groups: dict[str, dict[int | None, Path]],
    labels: dict[str, Path],
    report: Report,
) -> list[Entry]:
    """The cases listed, or all by their names; and images that neither list nor label speaks of."""
    if listed is None:
        for stem in labels.keys() - groups.keys():
            expected = f"expected an image of the same name in {path / 'imagesTr'}, found none"
            report(f"{labels[stem]}: {expected}")
        return [Entry(case, None, labels.get(case)) for case in groups]
    spoken_of = {entry.id for entry in listed} | labels.keys()
    taken = {image for entry in listed for image in (entry.image, *entry.files)}
    extra = [
        Entry(case, None, None)
        for case, files in groups.items()
        if case not in spoken_of and taken.isdisjoint(files.values())
    ]
    return [*listed, *extra]


def _images(entry: Entry, group: dict[int | None, Path], channels: int) -> tuple[Path, ...]:
    """An entry's files in the order of the channels, those missing by their expected names."""
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
    count = max(channels, *(number + 1 for number in group if number is not None))
    names = (first.with_name(f"{entry.id}_{number:04d}{suffix}") for number in range(count))
    return tuple(group.get(number, name) for number, name in enumerate(names))


def _existing(file: Path) -> Path:
    """The file, or its like of another suffix: Task05 lists .nii and comes as .nii.gz."""
    if file.exists():
        return file
    others = (file.with_name(image_stem(file) + suffix) for suffix in SUFFIXES)
    return next((other for other in others if other.exists()), file)


def _complete(
    case: str,
    images: tuple[Path, ...],
    label: Path | None,
    channels: int,
    channel: int | None,
    report: Report,
) -> bool:
    """Whether all files that are needed are there; reports those that are not."""
    if len(images) not in (1, channels):
        found = f"found {images[-1].name}"
        report(f"{images[0]}: expected {channels} channel(s) of {case}, {found}")
        return False
    wanted = images if channel is None or len(images) == 1 else (images[channel],)
    missing = [file for file in (*wanted, *([label] if label else [])) if not file.exists()]
    for file in missing:
        report(f"{file}: expected the file named in dataset.json, found no such file")
    return not missing
