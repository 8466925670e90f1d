"""Number the classes of labels whose codes a file names, or of which nothing is known."""

from collections.abc import Mapping
from pathlib import Path

from diffrect.data.sources.class_names import read_class_names
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED

MOST_CODES = 256


def number_classes(names: Mapping[int, str]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the classes in the order of their codes, and label code -> class code or `IGNORED`.

    Args:
        names: label code -> name; the name "ignored" is for pixels that nobody annotated.
    """
    ignored = {code for code, name in names.items() if name == "ignored"}
    ordered = [code for code in sorted(names) if code not in ignored and code != 0]
    codes = {0: 0, **{code: number for number, code in enumerate(ordered, start=1)}}
    codes |= dict.fromkeys(ignored, IGNORED)
    return ("background", *(names[code] for code in ordered)), codes


def name_codes(path: Path, found: set[int]) -> dict[int, str]:
    """Return names for the codes that labels hold, such as "class 3".

    Raises:
        InputError: there is no code above 0, or there are too many.
    """
    if not found - {0}:
        expected = "labels with classes, or their names by --classes"
        raise InputError(path, expected, found="none")
    check_number(path, found)
    return {code: f"class {code}" for code in sorted(found - {0})}


def check_number(path: Path, found: set[int]) -> None:
    """Refuse more codes than classes can have.

    Raises:
        InputError: there are too many.
    """
    if len(found) > MOST_CODES:
        expected = "label codes of at most 255 classes, or their names by --classes"
        raise InputError(path, expected, found="more")


def read_numbered(file: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return `number_classes` of a file of names.

    Raises:
        InputError: as `read_class_names`.
    """
    return number_classes(read_class_names(file))
