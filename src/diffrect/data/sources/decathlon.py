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
from diffrect.data.sources.dataset_json import (
    Entry,
    channel_names,
    entries,
    held_out_entries,
    read_json,
    read_labels,
)
from diffrect.data.sources.files import (
    SCAN_SUFFIXES,
    FileCase,
    as_spelt,
    by_stem,
    choose_patient,
    find_scans,
    image_stem,
)
from diffrect.data.split import Split
from diffrect.data.task import Symmetries
from diffrect.errors import InputError
from diffrect.imaging.channels import group_channels, holds_channels

# The hippocampus has an anterior and a posterior class, which a mirror would exchange.
_SYMMETRIES: dict[str, Symmetries] = {"hippocampus": "none"}


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
        images, beside_images = _scans(path / "imagesTr", "image", on_problem)
        labels, beside_labels = _scans(path / "labelsTr", "label", on_problem)
        listed = entries(file, settings, on_problem)
        held_out = held_out_entries(file, settings, on_problem)
        known = {entry.id for entry in (*(listed or ()), *held_out)} | labels.keys()
        numbered = "channel_names" in settings
        groups = group_channels(images, len(names), known, numbered=numbered)
        everything, remarks = _all_entries(path, listed, held_out, groups, labels, on_problem)
        parts: dict[str, str] = {}
        cases = []
        for entry in everything:
            files = _images(entry, groups.get(entry.id, {}), len(names))
            label = None if entry.label is None else _existing(entry.label)
            if not _complete(entry.id, files, label, len(names), channel, on_problem):
                continue
            patient = choose_patient(options.patients, entry.id)
            case = FileCase(entry.id, patient, files, label, channels=len(names), codes=codes)
            if parts.setdefault(patient, entry.part) != entry.part:
                got = f"{entry.part} after {parts[patient]}"
                on_problem(InputError(file, f"patient {patient} in one list", got=got))
            cases.append(case if channel is None else _only(case, channel))
        return SourceListing(
            references=sorted(cases, key=lambda case: case.id),
            classes=classes,
            channels=len(names) if channel is None else 1,
            official_split=_split(parts),
            # Volumes of the Decathlon lie alike; nnU-Net folders hold whatever users put there.
            axis="auto" if numbered else "2",
            symmetries=_SYMMETRIES.get(str(settings.get("name", "")).casefold()),
            remarks=(*beside_images, *beside_labels, *remarks),
        )


def _split(parts: dict[str, str]) -> Split | None:
    """Return the split of the lists; None if there is none for validation."""
    lists = {
        part: sorted(p for p in parts if parts[p] == part) for part in ("train", "val", "test")
    }
    return Split.from_dict(lists) if lists["val"] else None


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


def _scans(
    folder: Path, kind: str, on_problem: OnProblem
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the images or labels in a folder by their stems, and what is passed over there."""
    if not folder.is_dir():
        return {}, ()
    files, others = find_scans(folder, on_problem)
    return by_stem(files, kind, on_problem), others


def _all_entries(
    path: Path,
    listed: list[Entry] | None,
    held_out: list[Entry],
    groups: dict[str, dict[int | None, Path]],
    labels: dict[str, Path],
    on_problem: OnProblem,
) -> tuple[list[Entry], tuple[str, ...]]:
    """Return the cases of the lists, or of the folders if there are none, and unlabelled images.

    Args:
        path: folder of the data set.
        listed: the training cases of dataset.json; None if it leaves them to the folders.
        held_out: its cases for validation and for testing.
        groups: the images of each case in imagesTr, see `group_channels`.
        labels: the files of labelsTr by case.
        on_problem: called with each label that has no image.

    Returns:
        The cases, and a line about each kind of case that is left out.
    """
    of_lists = [*(listed or ()), *held_out]
    ids = {entry.id for entry in of_lists}
    taken = {file for entry in of_lists for file in (entry.image, entry.label, *entry.files)}
    others = {
        case: files
        for case, files in groups.items()
        if case not in ids and taken.isdisjoint(files.values())
    }
    if listed is None:
        for stem in sorted(labels.keys() - groups.keys() - ids):
            if labels[stem] not in taken:
                expected = f"an image of the same name in {path / 'imagesTr'}"
                on_problem(InputError(labels[stem], expected, found="none"))
        extra, left_out = [Entry(case, None, labels.get(case)) for case in others], []
    else:
        extra = [Entry(case, None, None) for case in others if case not in labels]
        left_out = [case for case in others if case in labels]
    # Test images come without labels, and without validation cases nothing is held out.
    validated = any(entry.part == "val" for entry in held_out)
    kept = [one for one in held_out if one.part == "val" or (validated and one.label)]
    unread = [entry.id for entry in held_out if entry not in kept]
    file = path / "dataset.json"
    return [*(listed or ()), *kept, *extra], (
        *_left_out(file, left_out, "labelled but not listed"),
        *_left_out(file, unread, "listed for testing" + (" without a label" if validated else "")),
    )


def _left_out(file: Path, cases: list[str], what: str) -> tuple[str, ...]:
    """Say which cases are left out, naming the first ones."""
    if not cases:
        return ()
    names = ", ".join(cases[:5]) + (" ..." if len(cases) > 5 else "")
    are = "is" if len(cases) == 1 else "are"
    return (f"{file}: {count(len(cases), 'case')} {are} {what}, and left out: {names}",)


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
    present = {number: file for number, file in group.items() if number is not None}
    if present.keys() == {0} and channels > 1 and holds_channels(present[0], channels):
        return (present[0],)  # as the RGB pictures of nnU-Net
    first = present[min(present)]
    suffix = first.name[len(image_stem(first)) :]
    total = max(channels, max(present) + 1)
    names = (first.with_name(f"{entry.id}_{number:04d}{suffix}") for number in range(total))
    return tuple(present.get(number, name) for number, name in enumerate(names))


def _existing(file: Path) -> Path:
    """Return the file, or its twin of another suffix: Task05 lists .nii and has .nii.gz."""
    if file.exists():
        return file
    others = (as_spelt(file.with_name(image_stem(file) + suffix)) for suffix in SCAN_SUFFIXES)
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
