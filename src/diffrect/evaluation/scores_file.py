"""RUN/metrics_SPLIT.json: written with a seal, by which scores that were changed by hand are known.

The seal is a checksum of everything but the paths of run and store, so that a run may be moved. It
shows that a file has changed since; it does not keep anybody from computing another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrect.data.integrity import SEAL, digest
from diffrect.errors import InputError
from diffrect.evaluation.result import Evaluation
from diffrect.json_files import read_json, write_json
from diffrect.runs.names import METRICS_FORMAT

_PATHS = ("run", "store")


def write_scores(result: Evaluation, path: Path) -> None:
    """Write the scores of a run, sealed."""
    write_json(path, sealed(result.to_dict()))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a file of scores with its seal, in place of one that it has."""
    return {
        **{name: value for name, value in content.items() if name != SEAL},
        SEAL: _seal(content),
    }


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Return whether scores carry a seal; those of versions before 0.2 carry none."""
    return SEAL in content


def read_scores(path: Path) -> dict[str, Any]:
    """Return the content of a file of scores.

    Raises:
        InputError: the file cannot be read, is of another format, or has changed since it was
            sealed.
    """
    content = read_json(path)
    if content.get("format") != METRICS_FORMAT:
        got = str(content.get("format"))
        raise InputError(path, f"metrics of format {METRICS_FORMAT}", got=got)
    if is_sealed(content) and content[SEAL] != _seal(content):
        raise InputError(
            path,
            "the scores that evaluate wrote, they have changed",
            hint="evaluate the run again",
        )
    return content


def _seal(content: Mapping[str, Any]) -> str:
    return digest({k: v for k, v in content.items() if k not in (SEAL, *_PATHS)})
