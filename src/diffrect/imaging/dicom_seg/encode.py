"""A label map -> the bytes of a DICOM segmentation."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import highdicom
import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from diffrect.errors import InputError
from diffrect.imaging.decode import decoding
from diffrect.imaging.dicom_seg.names import (
    PRIVATE_SCHEME,
    meaning_of,
    segment_description,
    segment_label,
)
from diffrect.imaging.dicom_seg.sources import EXPECTED, Sources
from diffrect.version import package_version

_NAME = "diffrect"
_LARGEST_SERIES_NUMBER = 2**31 - 1


def encode_segmentation(labels: np.ndarray, sources: Sources, classes: Sequence[str]) -> bytes:
    """Return a label map as a binary DICOM segmentation that refers to its series.

    Each class is a segment whose number is its code, whether any voxel has it or not. The patient
    and the study are those of the series; the segmentation is a series of its own.

    Args:
        labels: (X, Y, Z) class codes on the grid of the series.
        sources: the series, see `read_sources`.
        classes: names of the codes; the first is the background.

    Raises:
        InputError: a code without a name, or the series has something that a segmentation may not
            have.
    """
    if int(labels.max()) >= len(classes):
        expected = f"label codes 0 to {len(classes) - 1} for a DICOM segmentation"
        raise InputError(sources.path, expected, got=int(labels.max()))
    planes = np.ascontiguousarray(labels.astype(np.uint8, copy=False).T[sources.order])
    with decoding(sources.path, EXPECTED), _silent():
        segmentation = _segmentation(planes, sources, classes)
        stream = BytesIO()
        segmentation.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _segmentation(planes: np.ndarray, sources: Sources, classes: Sequence[str]) -> Segmentation:
    version = package_version()
    algorithm = highdicom.AlgorithmIdentificationSequence(
        _NAME, codes.cid7162.ArtificialIntelligence, version
    )
    number = int(sources.headers[0].get("SeriesNumber") or 0)
    segments = [_segment(code, name, algorithm) for code, name in enumerate(classes) if code]
    return Segmentation(
        source_images=sources.headers,
        pixel_array=planes,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        # Beside that of the scan, so that a list of series shows both together.
        series_number=min(max(number, 0) * 100 + 1, _LARGEST_SERIES_NUMBER),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=_NAME,
        manufacturer_model_name=_NAME,
        software_versions=version,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description="Segmentation by a model of diffrect",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        series_description="diffrect segmentation",
        coding_schemes=_schemes(segments),
    )


def _segment(code: int, name: str, algorithm: Any) -> SegmentDescription:
    meaning = meaning_of(name, code)
    label = segment_label(name, code)
    segment = SegmentDescription(
        code, label, meaning.category, meaning.kind, "AUTOMATIC", algorithm
    )
    if label != name and name.strip():
        segment.SegmentDescription = segment_description(name)
    if meaning.side is not None:
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        side = highdicom.sr.CodedConcept.from_code(meaning.side)
        kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    return segment


def _schemes(segments: Sequence[SegmentDescription]) -> list[Any] | None:
    """Return what our own coding scheme is, if a segment has a code of it."""
    used = {segment.segmented_property_type.scheme_designator for segment in segments}
    if PRIVATE_SCHEME not in used:
        return None
    name = "Names of classes in a model of diffrect"
    return [CodingSchemeIdentificationItem(PRIVATE_SCHEME, name=name)]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep highdicom from logging, which names patients."""
    logger = logging.getLogger("highdicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
