"""Names of classes as labels and codes of segments.

A segment has a label to be read and a code to be understood by programs. The code is SNOMED's
where the name of the class is one of the structures, tissues and lesions that DICOM lists for
segmentations (PS3.16, CID 7192, 7166 and 7159); otherwise it is one of a private scheme, which
says no more than that two segments have the same name.
"""

import hashlib
from functools import cache
from typing import NamedTuple

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99DIFFRECT"
"""Designator of our coding scheme; those of private schemes begin with 99."""

# Characters of VR LO and ST. Many programs count bytes, so that is what is limited here.
_LONGEST_LABEL = 64
_LONGEST_TEXT = 1024
_SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
_OTHER_NAMES = {"tumor": "neoplasm", "tumour": "neoplasm", "oedema": "edema"}
_NO_STRUCTURES = ("background", "normal")  # CID 7159 has them, too


class Meaning(NamedTuple):
    """What a segment is, in codes.

    Attributes:
        category: such as anatomical structure.
        kind: such as liver.
        side: left or right, where the name says so and the code of the kind does not.
    """

    category: Code
    kind: Code
    side: Code | None = None


def segment_label(name: str, number: int) -> str:
    """Return the name of a class as a segment's label: at most 64 bytes, no backslash.

    Args:
        name: of the class.
        number: of the segment, which is the label of a name of nothing but spaces.
    """
    text = " ".join(name.replace("\\", "/").split()) or f"segment {number}"
    return _cut(text, _LONGEST_LABEL)


def segment_description(name: str) -> str:
    """Return the name of a class as a segment's description, which may be longer than a label."""
    return _cut(name, _LONGEST_TEXT)


def _cut(text: str, longest: int) -> str:
    """Return a text of at most so many bytes in UTF-8, whose end shows that something is missing.

    Half of a surrogate pair, which UTF-8 does not have, becomes a question mark.
    """
    content = text.encode("utf-8", "replace")
    if len(content) <= longest:
        return content.decode("utf-8")
    end = "…".encode()
    return content[: longest - len(end)].decode("utf-8", "ignore").rstrip() + end.decode()


def meaning_of(name: str, number: int) -> Meaning:
    """Return the codes of a class.

    Args:
        name: of the class.
        number: of its segment.
    """
    words = name.casefold().replace("_", " ").replace("-", " ").split()
    known = _known()
    if found := known.get(" ".join(words)):
        return found
    for side, rest in ((words[:1], words[1:]), (words[-1:], words[:-1])):
        found = known.get(" ".join(rest))
        if found and side[0] in _SIDES:
            return found._replace(side=_SIDES[side[0]])
    code = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Meaning(codes.cid7150.Tissue, Code(code, PRIVATE_SCHEME, segment_label(name, number)))


@cache
def _known() -> dict[str, Meaning]:
    """Return what DICOM lists for segments, by name in small letters."""
    found: dict[str, Meaning] = {}
    for collection, category in (
        (codes.cid7159, codes.cid7150.MorphologicallyAbnormalStructure),
        (codes.cid7166, codes.cid7150.Tissue),
        (codes.cid7192, codes.cid7150.AnatomicalStructure),
    ):
        for code in collection.concepts.values():
            found[code.meaning.casefold()] = Meaning(category, code)
    for name in _NO_STRUCTURES:
        found.pop(name, None)
    # DICOM lists the myocardium by its regions only.
    myocardium = Code("74281007", "SCT", "Myocardium")
    found["myocardium"] = Meaning(codes.cid7150.AnatomicalStructure, myocardium)
    return found | {other: found[name] for other, name in _OTHER_NAMES.items()}
