"""Read the names of label codes: YAML (code: name), CSV (code, name), ITK-SNAP's descriptions."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffrect.checks import regular_file
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED_NAMES
from diffrect.text_files import LONGEST_YAML, parse_yaml, read_text

# Code, red, green, blue, opacity, visibility, visibility in 3-D, name.
_ITK_SNAP = re.compile(r'\s*(\d+)(?:\s+\d+){3}\s+[\d.eE+-]+(?:\s+\d+){2}\s+"(.*)"\s*$')


def read_class_names(file: Path) -> dict[int, str]:
    """Return label code -> name; the name "ignored" is for pixels that nobody annotated.

    YAML may also be a list of names in the order of their codes, or map names to codes. The file
    may be the label descriptions that ITK-SNAP saves.

    Raises:
        InputError: the file is unreadable, a code is not a whole number from 0 to 65535 or is there
            twice, or a name is not text.
    """
    regular_file(file, "names of classes")
    text = read_text(file, "readable text in UTF-8", longest=LONGEST_YAML)
    if file.suffix.lower() == ".csv":
        pairs = _from_csv(file, text)
    else:
        pairs = _from_itk_snap(file, text) or _from_yaml(file, text)
    names: dict[int, str] = {}
    for code, name in pairs:
        if not re.fullmatch(r"\s*\d{1,9}\s*", str(code)) or int(code) > 65535:
            raise InputError(file, "whole codes from 0 to 65535", got=repr(code))
        if int(code) in names:
            raise InputError(file, "each code once", got=f"{int(code)} twice")
        names[int(code)] = _clean(file, name)
    if not any(code and name != "ignored" for code, name in names.items()):
        raise InputError(file, "a name for a code above 0", got="none")
    return names


def _clean(file: Path, name: Any) -> str:
    text = name.strip() if isinstance(name, str) else ""
    if not text:
        raise InputError(file, "names as text", got=repr(name))
    return "ignored" if text.casefold() in IGNORED_NAMES else text


def _from_itk_snap(file: Path, text: str) -> list[tuple[str, str]]:
    """Return code and name of each line, nothing if the first line is of another form.

    Raises:
        InputError: a later line is of another form.
    """
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ITK_SNAP.match(line)
        if match:
            pairs.append((match[1], match[2]))
        elif pairs:
            raise InputError(f"{file}, line {number}", "a label description", got=repr(line))
        else:
            return []
    return pairs


def _from_yaml(file: Path, text: str) -> Iterable[tuple[Any, Any]]:
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise InputError(file, "readable YAML", reason=error) from None
    if isinstance(content, list):
        return list(enumerate(content))
    if not isinstance(content, dict):
        found = type(content).__name__
        raise InputError(file, "lines of the form 'code: name'", got=found)
    turned = all(type(value) is int for value in content.values())
    return [(value, key) if turned else (key, value) for key, value in content.items()]


def _from_csv(file: Path, text: str) -> Iterable[tuple[str, str]]:
    try:
        (_, header), *rows = read_rows(text) or [(1, [])]
    except csv.Error as error:
        raise InputError(file, "a readable table", reason=str(error)) from None
    places = {name.strip().casefold(): number for number, name in enumerate(header)}
    if not {"code", "name"} <= places.keys():
        raise InputError(file, "the columns code and name", got=", ".join(header))
    wide = max(places["code"], places["name"])
    for number, row in rows:
        if len(row) <= wide:
            raise InputError(f"{file}, line {number}", "a code and a name", got=row)
    return [(row[places["code"]], row[places["name"]]) for _, row in rows]


def read_rows(text: str) -> list[tuple[int, list[str]]]:
    """Return line number and fields of each line of a CSV file that is not empty.

    Fields are separated by commas, or by semicolons or tabs if the first line has no comma.
    """
    header = text.partition("\n")[0]
    delimiter = next((one for one in ",;\t" if one in header), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [(lines.line_num, row) for row in lines if any(field.strip() for field in row)]
