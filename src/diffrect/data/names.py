"""Names of the files and folders of a store; `diffrect.data.store` says what they hold."""

from typing import Any

STORE_FILE = "store.json"
PROGRESS_FILE = "prepare.json"
CASES_FOLDER = "cases"
CASE_FILE = "case.json"
IMAGE_FILE = "image.b2nd"
LABEL_FILE = "label.b2nd"


def can_name_folder(case_id: Any) -> bool:
    """Return whether a case's id can be the name of a folder, inside `cases` and nowhere else."""
    if not isinstance(case_id, str) or not case_id or case_id.startswith("."):
        return False  # a leading dot marks what is not finished
    return case_id.isprintable() and not set(case_id) & set('/\\:*?"')
