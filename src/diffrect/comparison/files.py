"""Names, formats and reading of a comparison's files, without anything heavy."""

import json
from pathlib import Path
from typing import Any

from diffrect.errors import InputError

MATRIX_FILE = "matrix.json"
CELL_FORMAT = 1


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object, got {type(content).__name__}")
    return content
