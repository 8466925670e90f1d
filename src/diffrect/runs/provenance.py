"""The provenance of results: the version of the package and the commit of its source."""

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from diffrect.version import package_version


@dataclass(frozen=True)
class CodeVersion:
    """The version of the code that computes.

    Attributes:
        diffrect: version of the package.
        commit: commit of its source, with "+" if the source differs from it; None if unknown.
    """

    diffrect: str
    commit: str | None


@cache
def code_version() -> CodeVersion:
    """Return the version of this package, and the commit of its source if that is known.

    It is that of the process: what was imported does not change with the source.
    """
    return CodeVersion(package_version(), _commit_of_source() or _commit_of_install())


def _commit_of_source() -> str | None:
    """Return HEAD of the repository that holds this package, "+" added if the package differs."""
    folder = Path(__file__).parents[1]
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # not in a repository, or in one that is not the package's
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = commit and _git(folder, "status", "--porcelain", "--", ".")
    return f"{commit}+" if changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, None if it fails or is not there."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit_of_install() -> str | None:
    """Return the commit that pip installed from, if that was a repository."""
    try:
        text = distribution("diffrect").read_text("direct_url.json") or "{}"
        return str(json.loads(text)["vcs_info"]["commit_id"])[:12]
    except (PackageNotFoundError, KeyError, TypeError, ValueError):
        return None
